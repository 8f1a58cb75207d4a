//! Until the cluster shows what was pushed.
