//! The only user of kube: connect, read, watch until, with deadlines.
//!
//! What callers get is plain JSON and [`Error`]s that know their [`step::Kind`]. Every request has its own deadline, all
//! requests to one API server share one gate that slows them down while it does not answer ([`Cluster`]), and an object
//! is watched by a loop that does not trust any one way of hearing of a change ([`Watched`]).

mod client;
mod connect;
mod error;
mod gate;
mod lease;
mod object;
mod schema;
mod verbs;
mod watched;
mod wide;

pub use client::Cluster;
pub use connect::ClusterArgs;
pub use error::Error;
pub use lease::{
    Attempt, Hold, Holder, LeaseArgs, OPERATION_ANNOTATION, RUNS_ANNOTATION, Released, Taker, VM_ANNOTATION,
    write_lease,
};
pub use object::{
    APPLICATION, CDI_CONFIG, DATA_IMPORT_CRON, DATA_SOURCE, DATA_VOLUME, Kind, LEASE, Name, Object,
    PERSISTENT_VOLUME_CLAIM, PIPELINE_RUN, POD, STORAGE_CLASS, TASK_RUN, VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_INSTANCE, VIRTUAL_MACHINE_RESTORE, VIRTUAL_MACHINE_SNAPSHOT,
    VIRTUAL_MACHINE_SNAPSHOT_CONTENT, VOLUME_SNAPSHOT,
};
pub use verbs::{Created, Deleted};
pub use watched::{Seen, Sight, Trouble, Watched};
