//! The push that `gitops` makes, as an automaton.
//!
//! [`Client`] is one run of it, step by step as `crates/gitops/src/push.rs` takes them. It is written once and used twice:
//! `tests/model` puts several of them, a server and faults together and visits every state that they can come to, and
//! [`Replay`] takes one along the log of a real run (`RUST_LOG=gitops::protocol=debug`, as JSON).
//!
//! What is left out: the depth of a fetch (a look at the history may fail as the fetch of a tip may), several files in one
//! commit (one stands for all of them: they are compared and written together), and whoever takes commits off the branch by
//! force.

mod branch;
mod client;
mod replay;

pub use branch::{Commit, Mark, Request};
pub use client::{At, Client, Event, Flaw, Offer, Outcome, Plan, Trouble, Verdict};
pub use replay::{Ending, History, Replay};
