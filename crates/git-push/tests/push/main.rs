//! The built binary against a real Git server over HTTP.

mod contention;
mod faults;
mod files;
mod killed;
mod refused;
mod support;
mod trust;
