//! cargo xtask: demo, test, check, image, e2e, bench, soak.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal")]

mod bench;
mod check;
mod demo;
mod e2e;
mod image;
mod process;
mod soak;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

/// Everything this repository can do for the people who work on it
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Show a flow in about a minute; the main one unless said: a machine is provisioned, and a bad request refused
    Demo(demo::Options),
    /// Run every test below e2e: unit, binaries as processes, real Git, a real control plane, contracts
    Test {
        /// Arguments for `cargo test`, such as `-p git-push`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Formatting, lints, documents and dependencies, as CI checks them
    Check,
    /// Build the image as an OCI archive, without pulling anything
    Image(image::Options),
    /// Run the shipped pipelines on the cluster of KUBECONFIG, with real Tekton, Argo CD and KubeVirt
    E2e(e2e::Options),
    /// Let many writers race for one branch, and a loop of `git` beside them
    Bench(bench::Options),
    /// Push from many clients to one branch, over HTTP and SSH, with random faults and kills; then check the history
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let root = root();
    let ended = match Task::parse() {
        Task::Demo(options) => demo::demo(&root, &options),
        Task::Test { arguments } => test::test(&root, &arguments),
        Task::Check => check::check(&root),
        Task::Image(options) => image::image(&root, &options).map(drop),
        Task::Bench(options) => bench::bench(&root, &options),
        Task::E2e(options) => e2e::e2e(&root, options),
        Task::Soak(options) => soak::soak(&root, &options),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: two folders above this crate.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.clone(), PathBuf::from)
}
