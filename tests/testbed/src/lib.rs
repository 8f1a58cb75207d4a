//! Real parts for tests and the demo: Git servers, a control plane, stand-in controllers.

pub mod argocd;
pub mod cdi;
pub mod conformance;
pub mod control_plane;
pub mod disks;
pub mod files;
pub mod git;
pub mod kubevirt;
mod layout_tools;
pub mod pipeline;
pub mod proxy;
mod said;
pub mod scenario;
pub mod sshd;
pub mod stage;
mod standin;
pub mod syscalls;
pub mod usage;
mod virt_api;

pub use layout_tools::{helm, kustomize};
