//! What the steps cost in time and memory, beside a peer in the same run.

pub mod chart;
pub mod event;
pub mod report;
pub mod start;
