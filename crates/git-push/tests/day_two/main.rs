//! Operations on machines as a pod carries them out, step by step, on a real Git server over HTTP: the built binaries
//! `validate-request`, `fetch-vm`, `render-vm` and `git-push`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod beside;
mod environment;
mod flows;
mod killed;
mod pod;
