//! Where etcd, kube-apiserver and kube-controller-manager come from.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use openssl::sha::Sha256;

/// The Go module that the executable is built from.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../control-plane");
const MAIN: &str = include_str!("../../../control-plane/main.go");
const GO_MOD: &str = include_str!("../../../control-plane/go.mod");
const GO_SUM: &str = include_str!("../../../control-plane/go.sum");
const SETUP_ENVTEST: &str = "sigs.k8s.io/controller-runtime/tools/setup-envtest@v0.25.1";
/// How often a build says that it is still at it.
const PROGRESS: Duration = Duration::from_secs(15);

/// The three programs of a control plane.
#[derive(Debug, Clone)]
pub(super) enum Binaries {
    /// One executable that is told by its first argument which one to be.
    One(PathBuf),
    /// A folder with one executable each; setup-envtest's has no kube-controller-manager.
    Folder(PathBuf),
}

impl Binaries {
    /// A command that runs `program`, or none where this set does not have it.
    pub(super) fn command(&self, program: &str) -> Option<Command> {
        match self {
            Self::One(path) => {
                let mut command = Command::new(path);
                command.arg(program);
                Some(command)
            }
            Self::Folder(folder) => {
                let path = folder.join(program);
                path.is_file().then(|| Command::new(path))
            }
        }
    }
}

/// One way to come by the programs.
type Way = fn(&Search) -> Result<Binaries>;

/// Where to look, and with which programs to build or download.
#[derive(Debug, Clone)]
pub(super) struct Search {
    pub(super) assets: Option<PathBuf>,
    pub(super) cache: PathBuf,
    pub(super) go: OsString,
    pub(super) setup_envtest: OsString,
}

impl Search {
    pub(super) fn from_env() -> Result<Self> {
        Ok(Self {
            assets: env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty()).map(PathBuf::from),
            cache: cache()?.join("control-plane"),
            go: "go".into(),
            setup_envtest: "setup-envtest".into(),
        })
    }

    /// The first of the four ways that works; an error says of each why it did not.
    pub(super) fn find(&self) -> Result<Binaries> {
        let ways: [(&str, Way); 4] = [
            ("KUBEBUILDER_ASSETS", Self::assets),
            ("cache", Self::cached),
            ("go", Self::build),
            ("setup-envtest", Self::download),
        ];
        let mut reasons = String::new();
        for (way, try_it) in ways {
            match try_it(self) {
                Ok(binaries) => return Ok(binaries),
                Err(reason) => write!(reasons, "\n  {way}: {reason:#}")?,
            }
        }
        bail!(
            "no control plane, none of the four ways to get one worked{reasons}\n\
             hint: install Go 1.26 or later to build it (about 3 minutes, once), or set `KUBEBUILDER_ASSETS` to a folder with \
             `etcd`, `kube-apiserver` and `kube-controller-manager` of Kubernetes {}",
            release()?
        )
    }

    fn assets(&self) -> Result<Binaries> {
        folder(self.assets.clone().context("not set")?)
    }

    fn cached(&self) -> Result<Binaries> {
        let path = self.executable();
        ensure!(path.is_file(), "no `{}`", path.display());
        Ok(Binaries::One(path))
    }

    fn executable(&self) -> PathBuf {
        self.cache.join(hash([GO_MOD, GO_SUM, MAIN])).join("control-plane")
    }

    /// Build the executable into the cache. Two processes that want it build it once: the second waits and finds it there.
    fn build(&self) -> Result<Binaries> {
        let version = Command::new(&self.go).args(["env", "GOVERSION"]).current_dir(MODULE).output();
        let version = version.with_context(|| format!("cannot run `{}`", self.go.display()))?;
        ensure!(version.status.success(), "`go env`: {}", String::from_utf8_lossy(&version.stderr).trim());
        let executable = self.executable();
        let ldflags = format!("-s -w -X k8s.io/component-base/version.gitVersion=v{}", release()?);
        build_once(&self.go, MODULE, &ldflags, &executable)?;
        Ok(Binaries::One(executable))
    }

    /// What setup-envtest downloads: etcd and kube-apiserver, without kube-controller-manager.
    fn download(&self) -> Result<Binaries> {
        let minor =
            release()?.rsplit_once('.').map(|(minor, _)| format!("{minor}.x")).context("no release")?;
        let mut reasons = Vec::new();
        let mut go_run = Command::new(&self.go);
        go_run.args(["run", SETUP_ENVTEST]);
        for mut command in [Command::new(&self.setup_envtest), go_run] {
            command.args(["use", &minor, "-p", "path", "--bin-dir"]).arg(self.cache.join("envtest"));
            let program = command.get_program().display().to_string();
            match command.stdin(Stdio::null()).output() {
                Ok(output) if output.status.success() => {
                    return folder(PathBuf::from(String::from_utf8(output.stdout)?.trim()));
                }
                Ok(output) => {
                    let errors = String::from_utf8_lossy(&output.stderr);
                    // `go run` adds the status as a line of its own.
                    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with("exit status");
                    let last = errors.lines().rfind(told).unwrap_or("no message");
                    reasons.push(format!("`{program}`: {}, {}", output.status, last.trim()));
                }
                Err(error) => reasons.push(format!("`{program}`: {error}")),
            }
        }
        bail!("{}", reasons.join("; "))
    }
}

/// The folder of the cache that is ours.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => env::home_dir().context("neither `XDG_CACHE_HOME` nor `HOME` is set")?.join(".cache"),
    };
    Ok(cache.join("vm-lifecycle-tasks"))
}

/// What an executable is made of, as the name of a folder in the cache.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
    }
    let mut hash = String::new();
    for byte in digest.finish().iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

/// Build a Go module into the cache. Two processes that want it build it once: the second waits and finds it there.
pub(crate) fn build_once(go: &OsStr, module: &str, ldflags: &str, executable: &Path) -> Result<()> {
    let (folder, name) =
        executable.parent().zip(executable.file_name()).context("an executable needs a folder and a name")?;
    let name = name.to_string_lossy();
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    if lock.try_lock().is_err() {
        say(&format!("waiting for another process that builds {name}"));
        lock.lock()?;
    }
    if executable.is_file() {
        return Ok(());
    }
    let new = folder.join(format!("{name}.new"));
    // Others may be working on this machine.
    let mut nice = Command::new("nice");
    nice.arg("-n10").arg(go).args(["build", "-mod=readonly", "-trimpath", "-ldflags", ldflags, "-o"]);
    nice.arg(&new).arg(".").current_dir(module).env("CGO_ENABLED", "0");
    run(nice, &name, &folder.join("build.log"))?;
    Ok(fs::rename(&new, executable)?)
}

/// The Kubernetes release that the Go module pins, as `1.36.1`.
fn release() -> Result<&'static str> {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
        .context("go.mod of the control plane does not require k8s.io/kubernetes")
}

fn folder(path: PathBuf) -> Result<Binaries> {
    for program in ["etcd", "kube-apiserver"] {
        ensure!(path.join(program).is_file(), "no `{program}` in `{}`", path.display());
    }
    Ok(Binaries::Folder(path))
}

/// Run `command` to its end with a line on standard error now and then.
fn run(mut command: Command, name: &str, log: &Path) -> Result<()> {
    let output = File::create(log)?;
    let start = Instant::now();
    say(&format!("building {name} (once, a few minutes on 2 cores)"));
    let errors = output.try_clone()?;
    let mut child =
        command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().context("cannot start")?;
    let mut said = start;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            say(&format!("building {name}, {} s so far", start.elapsed().as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    };
    ensure!(status.success(), "`go build`: {status}\n{}", last_lines(log, 10));
    say(&format!("built {name} in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// The last lines of a log, indented.
pub(super) fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let last = lines.len().saturating_sub(count);
    lines[last..].iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// One line on standard error: whoever waits for a build must see it, whatever logs there are.
fn say(line: &str) {
    // A closed standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "testbed: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_nothing_is_told_all_four_ways() {
        let empty = tempfile::tempdir().unwrap();
        let search = Search {
            assets: Some(empty.path().to_path_buf()),
            cache: empty.path().to_path_buf(),
            go: "/nonexistent/go".into(),
            setup_envtest: "/nonexistent/setup-envtest".into(),
        };
        let folder = empty.path().display();
        let executable = search.executable();
        let gone = "No such file or directory (os error 2)";
        assert_eq!(
            search.find().unwrap_err().to_string(),
            format!(
                "no control plane, none of the four ways to get one worked\n  \
                 KUBEBUILDER_ASSETS: no `etcd` in `{folder}`\n  \
                 cache: no `{}`\n  \
                 go: cannot run `/nonexistent/go`: {gone}\n  \
                 setup-envtest: `/nonexistent/setup-envtest`: {gone}; `/nonexistent/go`: {gone}\n\
                 hint: install Go 1.26 or later to build it (about 3 minutes, once), or set `KUBEBUILDER_ASSETS` to a folder \
                 with `etcd`, `kube-apiserver` and `kube-controller-manager` of Kubernetes 1.36.1",
                executable.display()
            )
        );
    }

    #[test]
    fn a_folder_without_a_controller_manager_will_do() {
        let assets = tempfile::tempdir().unwrap();
        for program in ["etcd", "kube-apiserver"] {
            fs::write(assets.path().join(program), "").unwrap();
        }
        let search = Search { assets: Some(assets.path().to_path_buf()), ..Search::from_env().unwrap() };
        let found = search.find().unwrap();
        assert!(found.command("etcd").is_some());
        assert!(found.command("kube-controller-manager").is_none());
    }
}
