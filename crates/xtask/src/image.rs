//! `cargo xtask image`.
