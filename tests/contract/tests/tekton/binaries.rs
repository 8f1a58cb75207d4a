//! What the binaries say of themselves.

use std::ffi::OsString;

use clap::Arg;
use step::{EVERY_STEP, Step, Timeout};

/// One binary.
pub(crate) struct Binary {
    pub(crate) name: &'static str,
    pub(crate) results: Vec<&'static str>,
    pub(crate) timeout: Timeout,
    command: clap::Command,
    parse: fn(Vec<OsString>) -> Result<(), clap::Error>,
}

/// Every binary of the image.
pub(crate) fn all() -> Vec<Binary> {
    vec![
        binary::<validate_request::Args>("validate-request"),
        binary::<lease_vm::Args>("lease-vm"),
        binary::<fetch_vm::Args>("fetch-vm"),
        binary::<render_vm::Args>("render-vm"),
        binary::<git_push::Args>("git-push"),
        binary::<wait_synced::Args>("wait-synced"),
        binary::<stop_start_vm::Args>("stop-start-vm"),
        binary::<snapshot_vm::Args>("snapshot-vm"),
        binary::<restore_vm::Args>("restore-vm"),
        binary::<verify_vm::Args>("verify-vm"),
        binary::<resolve_image::Args>("resolve-image"),
        binary::<grow_disk::Args>("grow-disk"),
        binary::<patch_disk::Args>("patch-disk"),
        binary::<patch_guest::Args>("patch-guest"),
        binary::<report_outcome::Args>("report-outcome"),
    ]
}

fn binary<A: Step>(name: &'static str) -> Binary {
    Binary {
        name,
        results: EVERY_STEP.iter().chain(A::RESULTS).copied().collect(),
        timeout: A::TIMEOUT,
        command: step::command::<A>(),
        parse: |arguments| step::parse::<A>(arguments).map(drop),
    }
}

/// A flag as Tekton's params have to repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) description: String,
    /// `None`: it has to be given. `Some("")`: it may be left out.
    pub(crate) default: Option<String>,
    pub(crate) value_name: String,
}

impl Binary {
    /// Parse arguments as the binary does.
    pub(crate) fn parse(&self, arguments: &[String]) -> Result<(), String> {
        let all = std::iter::once(self.name)
            .chain(arguments.iter().map(String::as_str))
            .map(OsString::from)
            .collect();
        (self.parse)(all).map_err(|e| e.to_string().lines().collect::<Vec<_>>().join(" "))
    }

    /// Every flag that takes a value, in the order of `--help`.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let ours = |arg: &&Arg| !matches!(arg.get_id().as_str(), "help" | "version");
        self.command.get_arguments().filter(ours).map(flag).collect()
    }

    pub(crate) fn flag(&self, name: &str) -> Option<Flag> {
        self.flags().into_iter().find(|f| f.name == name)
    }
}

fn flag(arg: &Arg) -> Flag {
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    let default = if arg.is_required_set() { None } else { Some(defaults.join(",")) };
    Flag {
        name: arg.get_long().unwrap_or_else(|| arg.get_id().as_str()).to_owned(),
        description: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        default,
        value_name: arg
            .get_value_names()
            .and_then(|n| n.first())
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}
