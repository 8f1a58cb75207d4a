//! Real parts for tests and the demo: Git servers, a control plane, stand-in controllers.
pub mod control_plane;
pub mod files;
pub mod git;
pub mod pipeline;
pub mod argocd;
pub mod cdi;
pub mod kubevirt;
mod standin;
