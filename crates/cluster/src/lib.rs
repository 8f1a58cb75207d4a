//! The only user of kube: connect, read, watch until, with deadlines.
