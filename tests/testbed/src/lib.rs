//! Real parts for tests and the demo: Git servers, a control plane, stand-in controllers.
pub mod files;
