//! The shipped pipelines on a real cluster.
