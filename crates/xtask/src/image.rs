//! `cargo xtask image`: the image of the Containerfile as an OCI archive, without pulling anything.
//!
//! The last stage of the Containerfile is carried out as it is written ([`containerfile`]) on binaries that cargo builds here;
//! the archive ([`archive`]) is the same to the byte for the same binaries.

mod archive;
mod containerfile;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;
use archive::Image;

/// The image that `tekton/` names. The host is nobody's, so that a name nobody pushed is never pulled from a stranger.
const NAME: &str = concat!("registry.local/vm-lifecycle-tasks:", env!("CARGO_PKG_VERSION"));
/// The program in the image that e2e patches disks with: no image of libguestfs is pulled.
const STAND_IN: &str = "stand-in-for-virt-customize";
/// The one executable; the steps are links to it.
const EXECUTABLE: &str = "vm-lifecycle-tasks";
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
    let binaries = build(root)?;
    let mut image =
        Image { stage: &stage, files: Vec::new(), links: Vec::new(), architecture: architecture()? };
    for file in &stage.files {
        if file.binaries() {
            let bytes = fs::read(binaries.join(EXECUTABLE))?;
            image.files.push((format!("{}{EXECUTABLE}", file.to), 0o755, bytes));
            image
                .links
                .extend(names(&binaries)?.into_iter().map(|name| (format!("{}{name}", file.to), EXECUTABLE)));
        } else {
            let from = on_this_machine(&file.from)?;
            let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            image.files.push((file.to.clone(), 0o644, bytes));
        }
    }
    let output = root.join(&options.output);
    let (size, digest) = archive::write(&image, &options.name, &output)?;
    println!("{}: {} of {} MiB, {digest}", output.display(), options.name, size >> 20);
    Ok(Built { archive: output, binaries })
}

/// Build the image that stands in for one of libguestfs; the archive.
pub(crate) fn stand_in(root: &Path) -> Result<PathBuf> {
    let stage = containerfile::last_stage("FROM scratch\nENV PATH=\"/usr/bin\"\nUSER 107:107\n")?;
    let program = fs::read(executable(root, STAND_IN)?)?;
    let files = vec![("/usr/bin/virt-customize".to_owned(), 0o755, program)];
    let image = Image { stage: &stage, files, links: Vec::new(), architecture: architecture()? };
    let output = root.join("target/stand-in.tar");
    archive::write(&image, e2e::LIBGUESTFS, &output)?;
    Ok(output)
}

impl Default for Options {
    fn default() -> Self {
        Self { output: "target/image.tar".into(), name: NAME.to_owned() }
    }
}

/// Build an executable as the build stage does: static, and for size.
fn executable(root: &Path, package: &str) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = process::cargo(root);
    cargo.args([
        "rustc",
        "--locked",
        "--release",
        "--target",
        &target,
        "--package",
        package,
        "--bin",
        package,
    ]);
    cargo.args(["--message-format=json-render-diagnostics", "--", "-C", "target-feature=+crt-static"]);
    process::messages(&mut cargo)?.iter().try_for_each(threaded)?;
    Ok(root.join("target").join(target).join("release").join(package))
}

/// OpenSSL leaves out its locks where it is compiled with `-static` (its `Configure`), as it is where every crate is built for a static C
/// library. Steps speak to Git and to Kubernetes in two threads: without locks one in a hundred broke down in `free`.
fn threaded(message: &Value) -> Result<()> {
    let of_openssl = message["package_id"].as_str().is_some_and(|id| id.contains("#openssl-sys@"));
    if message["reason"] != "build-script-executed" || !of_openssl {
        return Ok(());
    }
    let folder = Path::new(message["out_dir"].as_str().context("a build without a folder")?);
    let file = folder.join("openssl-build/install/include/openssl/configuration.h");
    let configuration = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    if !configuration.contains("define OPENSSL_THREADS") {
        bail!("OpenSSL was built without threads: see {}", file.display());
    }
    Ok(())
}

/// Build the executable with a link to it for each step; the folder that they are in.
fn build(root: &Path) -> Result<PathBuf> {
    let built = executable(root, EXECUTABLE)?;
    let folder = root.join("target/image");
    fs::create_dir_all(&folder)?;
    fs::copy(built, folder.join(EXECUTABLE))?;
    for name in names(&folder)? {
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(EXECUTABLE, link)?;
        }
    }
    Ok(folder)
}

/// The names of the steps, as the executable in this folder says them.
fn names(folder: &Path) -> Result<Vec<String>> {
    let output = Command::new(folder.join(EXECUTABLE)).output()?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
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
