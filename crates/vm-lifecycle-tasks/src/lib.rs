//! Every step in one executable: which one it is says the name that it is called by.
//!
//! Static executables carry Git, TLS and the Kubernetes client with them; fifteen of them would carry them fifteen times. The
//! image holds this one, with a link for each name.

use std::process::ExitCode;

/// A step: its name, and its `main`.
pub type Program = (&'static str, fn() -> ExitCode);

/// Every step, by name.
pub const PROGRAMS: [Program; 15] = [
    ("fetch-vm", || step::run(fetch_vm::fetch_vm)),
    ("git-push", || step::run(git_push::git_push)),
    ("grow-disk", || step::run(grow_disk::grow_disk)),
    ("lease-vm", || step::run(lease_vm::lease_vm)),
    ("patch-disk", || step::run(patch_disk::patch_disk)),
    ("patch-guest", || step::run(patch_guest::patch_guest)),
    ("render-vm", || {
        step::run(async |args: render_vm::Args, context| render_vm::render_vm(&args, &context).await)
    }),
    ("report-outcome", || {
        step::run(async |args, context| report_outcome::report_outcome(&args, &context).await)
    }),
    ("resolve-image", || step::run(resolve_image::resolve_image)),
    ("restore-vm", || step::run(restore_vm::restore_vm)),
    ("snapshot-vm", || step::run(snapshot_vm::snapshot_vm)),
    ("stop-start-vm", || step::run(stop_start_vm::stop_start_vm)),
    ("validate-request", || step::run(validate_request::validate_request)),
    ("verify-vm", || step::run(verify_vm::verify_vm)),
    ("wait-synced", || step::run(wait_synced::wait_synced)),
];

/// The step of this name.
pub fn program(name: &str) -> Option<fn() -> ExitCode> {
    PROGRAMS.iter().find(|(known, _)| *known == name).map(|(_, main)| *main)
}
