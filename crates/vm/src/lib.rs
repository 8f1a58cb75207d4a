//! The domain, pure: request, policy, names, layout in Git, wanted objects, conditions.

pub mod chart;
pub mod cloud_init;
pub mod conditions;
pub mod day_two;
pub mod definition;
pub mod document;
pub mod edit;
pub mod layout;
pub mod name;
pub mod operation;
pub mod plan;
pub mod policy;
pub mod preview;
pub mod problem;
pub mod quantity;
pub mod request;
pub mod rules;
pub mod schema;
pub mod yaml;

pub use layout::snapshot_name;
