//! The only user of kube: connect, read, watch until, with deadlines.
//!
//! What callers get is plain JSON and [`Error`]s that know their [`step::Kind`]. Every request has its own deadline, all
//! requests to one API server share one gate that slows them down while it does not answer ([`Cluster`]), and an object
//! is watched by a loop that does not trust any one way of hearing of a change ([`Watched`]).

mod client;
mod connect;
mod error;
mod gate;
mod object;
mod watched;

pub use client::Cluster;
pub use connect::ClusterArgs;
pub use error::Error;
pub use object::{APPLICATION, DATA_VOLUME, Kind, Name, Object, VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE};
pub use watched::{Seen, Sight, Trouble, Watched};
