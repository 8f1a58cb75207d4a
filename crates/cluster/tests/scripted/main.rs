//! Against servers that are scripts: what is watched, and what the verbs make of bad answers.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../standin/mod.rs"]
mod standin;
mod verbs;
mod watched;
