//! The domain, pure: request, policy, names, layout in Git, wanted objects, conditions.

pub mod conditions;
pub mod layout;
pub mod name;
pub mod quantity;
pub mod request;
