//! The domain, pure: request, policy, names, layout in Git, wanted objects, conditions.

pub mod cloud_init;
pub mod conditions;
pub mod document;
pub mod layout;
pub mod name;
pub mod policy;
pub mod problem;
pub mod quantity;
pub mod request;
pub mod rules;
pub mod schema;
