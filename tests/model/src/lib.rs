//! Several clients of the push, one server and a few faults: [`stateright`] visits every state that they can come to, and
//! looks at what has to be true in each.
//!
//! A client is the automaton of [`protocol`], which logs of real runs are held against as well. The server has one branch
//! and takes a commit only while the branch is at its parent; what is sent may arrive long after everybody has stopped
//! waiting for it.

mod promises;
mod setting;

pub use setting::{Action, Flight, Run, Setting, Stage, Update, World};
