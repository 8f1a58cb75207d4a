//! `cargo xtask image`: the image of the Containerfile as an OCI archive, without pulling anything.
//!
//! The last stage of the Containerfile is carried out as it is written ([`containerfile`]) on binaries that cargo builds here;
//! the archive ([`archive`]) is the same to the byte for the same binaries.

mod archive;
mod containerfile;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::process;
use archive::Image;
use containerfile::Stage;

/// The image that `tekton/` names. The host is nobody's, so that a name nobody pushed is never pulled from a stranger.
const NAME: &str = concat!("registry.local/vm-lifecycle-tasks:", env!("CARGO_PKG_VERSION"));
/// Where systems keep the CA certificates that they trust, in one file.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Arguments of `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to write the OCI archive
    #[arg(long, value_name = "FILE", default_value = "target/image.tar")]
    pub(crate) output: PathBuf,
    /// The name that the archive gives to the image
    #[arg(long, value_name = "NAME", default_value = NAME)]
    pub(crate) name: String,
}

/// What was built.
pub(crate) struct Built {
    /// The archive.
    pub(crate) archive: PathBuf,
    /// The folder with the binaries that are in it.
    pub(crate) binaries: PathBuf,
}

/// Build the binaries, static and for size, and write the archive.
pub(crate) fn image(root: &Path, options: &Options) -> Result<Built> {
    let stage = containerfile::last_stage(&fs::read_to_string(root.join("Containerfile"))?)?;
    let built = build(root, &stage)?;
    let files = stage.files.iter().map(|file| {
        let from = match file.binary() {
            Some(name) => built.join(name),
            None => on_this_machine(&file.from)?,
        };
        let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        Ok((file.to.clone(), if file.binary().is_some() { 0o755 } else { 0o644 }, bytes))
    });
    let image = Image { stage: &stage, files: files.collect::<Result<_>>()?, architecture: architecture()? };
    let output = root.join(&options.output);
    let (size, digest) = archive::write(&image, &options.name, &output)?;
    println!("{}: {} of {} MiB, {digest}", output.display(), options.name, size >> 20);
    Ok(Built { archive: output, binaries: built })
}

impl Default for Options {
    fn default() -> Self {
        Self { output: "target/image.tar".into(), name: NAME.to_owned() }
    }
}

/// Build what the stage copies from the build stage; the folder of the binaries.
fn build(root: &Path, stage: &Stage) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = process::cargo(root);
    cargo.args(["build", "--locked", "--release", "--bins", "--target", &target]);
    cargo.args(
        stage.files.iter().filter_map(containerfile::File::binary).flat_map(|name| ["--package", name]),
    );
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    process::run(&mut cargo)?;
    Ok(root.join("target").join(target).join("release"))
}

/// A file that the build stage gets from its system: here, from this one.
fn on_this_machine(path: &str) -> Result<PathBuf> {
    if path != CERTIFICATES[0] {
        bail!("the Containerfile copies `{path}`, of which `cargo xtask image` knows nothing");
    }
    let found = CERTIFICATES.iter().map(PathBuf::from).find(|p| p.is_file());
    found.with_context(|| {
        format!("no CA certificates in {}; install the package `ca-certificates`", CERTIFICATES.join(", "))
    })
}

/// This machine's architecture as images name it.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("images for `{other}` have not been tried"),
    }
}
