//! The only user of git2, and of Git's protocol: read the tip, change files with compare-and-swap, push, ancestry.
//!
//! Three promises, whatever the server, the network or other writers do:
//!
//! - what is reported as pushed is on the server: after anything but a clean acknowledgement the branch is read again, and
//!   what it holds decides;
//! - what has landed is found again: a change that is done already is recognised by its marker, with the commit that brought
//!   it;
//! - nothing unseen is overwritten: a file is changed only where the tip holds exactly what the change was made against.
//!
//! Everything here blocks; an async caller wraps it in `spawn_blocking`. libgit2 has the objects that are here, and reaches no
//! server: an address is `https` or `ssh`, or `http` on the loopback
//! address, and nothing else.

mod address;
mod args;
mod bring;
mod change;
mod conflict;
mod credential;
mod exchange;
mod history;
mod library;
mod pace;
mod pack;
mod propose;
mod protocol;
mod proxy;
mod push;
mod remote;
mod secret;
mod sign;
mod smart;
mod ssh;
mod tree;
mod trouble;
mod trust;
mod wire;

pub use address::Address;
pub use args::{Access, RemoteArgs};
pub use change::{Change, File, FilePath, Marker, Message};
pub use credential::Credential;
pub use propose::Proposal;
pub use push::Pushed;
pub use remote::Remote;
pub use secret::Secrets;
pub use sign::SignArgs;
pub use tree::{Edit, Plan};
pub use trust::trust;
