//! The engine of every step that waits for a machine.
//!
//! Argo CD is asked to look at Git, and watched until our change is live; then the machine itself is watched, on its own
//! cluster, until it is in the wanted state. That our change is live has three witnesses: the Application was compared
//! at our commit; or at a later one that holds our folder unchanged, which Git is asked about; or the machine itself
//! carries our request's digest. What the watches show is read once more before it counts as done.

mod args;
mod history;
mod judge;
mod patience;
mod probe;
mod refresh;
mod sights;
mod wait;
mod wanted;
mod words;

pub use args::{ChangeArgs, PlaceArgs, RequireArgs};
pub use wait::Wait;
pub use wanted::{Connections, Wanted};

/// The commit that Argo CD showed when the machine was in its state: ours or a later one.
pub const REVISION: &str = "revision";
/// KubeVirt's word for the machine, such as `Running`.
pub const VM_STATUS: &str = "vm-status";
/// The node that the machine runs on.
pub const NODE: &str = "node";
/// The machine's first IP address.
pub const IP: &str = "ip";
/// One word for why it is not as wanted, such as `ErrorUnschedulable`; empty when it is.
pub const REASON: &str = "reason";
/// The results that a wait sets as it goes.
pub const RESULTS: [&str; 5] = [REVISION, VM_STATUS, NODE, IP, REASON];
