//! The steps by themselves: size, start, memory, requests rendered, and waits.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bench::event::Bed;
use bench::report::{Budget, MIB, Measure, bytes_in, milliseconds};
use bench::start::{self, Run};
use testbed::control_plane::ControlPlane;

use super::Told;
use crate::image::Built;
use crate::process::{cargo, run};

/// How often a start is measured; the median counts.
const STARTS: u32 = 50;
/// How many requests are rendered.
const RENDERS: &str = "10000";
/// How many machines are waited for.
const MACHINES: u32 = 100;
/// A wait has become quiet after this.
const QUIET: Duration = Duration::from_mins(4);
/// For so long it is then listened to: as long as its longest watch (`cluster`, `watched.rs`).
const LISTEN: Duration = Duration::from_mins(4);

/// The executable and the image, as registries hold it.
pub(super) fn sizes(built: &Built, told: &mut Told) -> Result<()> {
    let executable = fs::metadata(built.binaries.join("vm-lifecycle-tasks"))?.len();
    told.tell(
        Measure::new("all steps in one executable: size", bytes_in(1e6, executable), "MB")
            .within(Budget::AtMost(25.0)),
    );
    let mut gzip = Command::new("gzip")
        .arg("--stdout")
        .stdin(fs::File::open(&built.archive)?)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut packed = gzip.stdout.take().context("no output of gzip")?;
    let size = std::io::copy(&mut packed.by_ref(), &mut std::io::sink())?;
    ensure!(gzip.wait()?.success(), "gzip failed");
    told.tell(
        Measure::new("image, compressed by gzip", bytes_in(1e6, size), "MB").within(Budget::AtMost(12.0)),
    );
    Ok(())
}

/// Each step until it has said its version, and two of them at their work.
pub(super) fn starts(root: &Path, binaries: &Path, told: &mut Told) -> Result<()> {
    let git = start::run(STARTS, |_| command("git", &["--version"]))?;
    let mut names: Vec<_> =
        fs::read_dir(binaries)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    names.retain(|path| path.is_symlink());
    names.sort();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ours = start::run(STARTS, |_| command(&path, &["--version"]))?;
        cost(told, &format!("start of {name}"), ours, Some(("git --version", git)));
    }
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let example = root.join("examples/requests/linux.yaml").display().to_string();
    let validate = |time: u32| {
        let (request, output) =
            (format!("--request-file={example}"), format!("--output={}", at(&time.to_string())));
        command(
            binaries.join("validate-request"),
            &[&request, &output, &format!("--outcome-path={}", at("v/outcome"))],
        )
    };
    cost(told, "validate-request on an example", start::run(STARTS, validate)?, None);
    let render = |time: u32| {
        let (request, output) =
            (format!("--request-file={}", at("0")), format!("--output={}", at(&format!("out-{time}"))));
        let outcome = format!("--outcome-path={}", at("r/outcome"));
        command(
            binaries.join("render-vm"),
            &[&request, &output, &outcome, "--repo-url=https://git.example/vms.git"],
        )
    };
    cost(told, "render-vm on it", start::run(STARTS, render)?, None);
    Ok(())
}

/// Ten thousand requests in one process, those that tests hold valid in turn.
pub(super) fn renders(root: &Path, told: &mut Told) -> Result<()> {
    run(cargo(root).args(["build", "--release", "--package", "renders", "--locked"]))?;
    let requests = root.join("tests/fixtures/requests/valid");
    let output = Command::new(root.join("target/release/renders")).arg(RENDERS).arg(requests).output()?;
    std::io::stderr().write_all(&output.stderr)?;
    ensure!(output.status.success(), "renders ended with {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [checks, renders, files] = numbers[..] else { anyhow::bail!("renders said `{said}`") };
    told.tell(Measure::new(format!("{RENDERS} requests checked"), checks / 1e6, "s"));
    told.tell(
        Measure::new(format!("{RENDERS} requests rendered, {files} files"), renders / 1e6, "s")
            .within(Budget::AtMost(2.0)),
    );
    Ok(())
}

/// Waits on a real API server.
pub(super) async fn waits(binaries: &Path, told: &mut Told) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let wait_synced = binaries.join("wait-synced");
    let bed = Bed::new(&plane, &wait_synced).await?;
    let ours = bed.latencies(MACHINES).await?;
    let kubectl = on_path("kubectl");
    let theirs = match &kubectl {
        Some(kubectl) => bed.latencies_of_kubectl(kubectl, MACHINES).await?,
        None => Vec::new(),
    };
    for (word, share) in [("p50", 50), ("p99", 99)] {
        let at = |times: &[Duration]| times.get(times.len() * share / 100).copied().map(milliseconds);
        let mut measure = Measure::new(
            format!("from event to end of wait-synced, {word}"),
            at(&ours).context("no wait")?,
            "ms",
        );
        if let Some(theirs) = at(&theirs) {
            measure = measure.beside("kubectl wait for the instance", theirs);
        }
        told.tell(if share == 99 { measure.within(Budget::AtMost(200.0)) } else { measure });
    }
    if kubectl.is_none() {
        println!("no kubectl on PATH: `kubectl wait` NOT MEASURED");
    }
    println!("a wait in which nothing happens, for {} min", (QUIET + LISTEN).as_secs() / 60);
    #[expect(clippy::cast_precision_loss, reason = "a few requests")]
    let asked = bed.idle(QUIET, LISTEN).await? as f64 / (LISTEN.as_secs_f64() / 60.0);
    told.tell(Measure::new("requests of an idle wait-synced", asked, "a minute").within(Budget::AtMost(4.0)));
    Ok(())
}

/// Time and memory of a run.
fn cost(told: &mut Told, what: &str, ours: Run, peer: Option<(&str, Run)>) {
    let (time, memory) = (|run: Run| milliseconds(run.took), |run: Run| bytes_in(MIB, run.peak));
    let mut took = Measure::new(what, time(ours), "ms");
    let mut peak = Measure::new(format!("{what}: memory"), memory(ours), "MiB");
    if let Some((peer, run)) = peer {
        took = took.beside(peer, time(run)).within(Budget::AtMost(3.0));
        peak = peak.beside(peer, memory(run)).within(Budget::AtMost(8.0));
    }
    told.tell(took);
    told.tell(peak);
}

fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments);
    command
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
