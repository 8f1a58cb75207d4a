//! One run of the binary: what goes in, what came out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testbed::git::Server;
use testbed::git::history::{Request, Run, Told};
use testbed::syscalls;

/// Every result of the binary.
const RESULTS: [&str; 7] = ["branch", "changed", "commit", "digest", "message", "outcome", "pull-request"];

/// A normalised request for the machine `team-a/<vm>`.
pub(crate) fn request(id: &str, vm: &str, cpu: u16) -> String {
    format!(
        "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMRequest\nmetadata:\n  requestId: {id}\n  requestedBy: jane@example.org\n\
         spec:\n  operation: provision\n  target: {{name: {vm}, namespace: team-a, cluster: in-cluster}}\n\
         \x20 compute: {{cpu: {cpu}, memory: 1Gi}}\n  image: {{source: container-disk, reference: \"quay.io/disks/linux:1\"}}\n"
    )
}

pub(crate) fn folder(vm: &str) -> String {
    format!("vms/in-cluster/team-a/{vm}")
}

/// The folder of one run: source, credentials, results.
pub(crate) struct Case {
    pub(crate) dir: TempDir,
    id: String,
    password: String,
    url: String,
}

impl Case {
    /// A source with the three files that every machine has.
    pub(crate) fn new(server: &Server, id: &str, vm: &str, cpu: u16) -> Self {
        let case = Self { id: id.to_owned(), ..Self::empty(server) };
        case.write(&format!("{}/request.yaml", folder(vm)), &request(id, vm, cpu));
        case.write(&format!("{}/virtual-machine.yaml", folder(vm)), &format!("name: {vm}\ncpu: {cpu}\n"));
        case.write("namespaces/in-cluster/team-a/namespace.yaml", "name: team-a\n");
        case
    }

    /// The same, for the address that a forge has for it.
    pub(crate) fn on_forge(server: &Server, id: &str, vm: &str, cpu: u16) -> Self {
        Self { url: server.forge_url().unwrap(), ..Self::new(server, id, vm, cpu) }
    }

    pub(crate) fn empty(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("source")).unwrap();
        fs::create_dir_all(dir.path().join("auth")).unwrap();
        let lines =
            format!("https://other:unrelated-pass@other.example.org\n{}\n", server.url_with_credentials());
        fs::write(dir.path().join("auth/.git-credentials"), lines).unwrap();
        fs::write(dir.path().join("auth/.gitconfig"), "[credential]\n\thelper = store\n").unwrap();
        Self { dir, id: String::new(), password: server.credentials().1.to_owned(), url: server.url() }
    }

    /// By another user name; the server tells them apart and takes each.
    pub(crate) fn log_in_as(&self, user: &str, server: &Server) {
        let line = server.url_with_credentials().replace(server.credentials().0, user);
        write(&self.path("auth/.git-credentials"), &line);
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the source.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path("source").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The command with the flags that every run has, and results in a folder of their own.
    pub(crate) fn command(&self, results: &str, more: &[&str]) -> Command {
        let mut command = self.bare(results, more);
        command
            .arg(format!("--url={}", self.url))
            .arg(format!("--basic-auth={}", self.path("auth").display()));
        command
    }

    /// Without address and credentials.
    pub(crate) fn bare(&self, results: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_git-push"));
        command
            .arg(format!("--source={}", self.path("source").display()))
            .arg(format!("--outcome-path={}", self.path(results).join("outcome").display()))
            .args(more)
            .env_clear()
            .env("TMPDIR", self.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if more.iter().all(|flag| !flag.starts_with("--timeout")) {
            // no test is about this one: long enough for a starved machine
            command.arg("--timeout=10m");
        }
        command
    }

    /// What the source wants of the branch, and what a run with it was told.
    pub(crate) fn told(&self, base: Option<&str>, ended: &Ended) -> Run {
        let mut paths = vec![self.path("source")];
        let (mut files, mut kept) = (BTreeMap::new(), BTreeMap::new());
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let name = path.strip_prefix(self.path("source")).unwrap().to_str().unwrap();
            let place = if name.starts_with("namespaces/") { &mut kept } else { &mut files };
            place.insert(name.to_owned(), fs::read(&path).unwrap());
        }
        let request = Request { id: self.id.clone(), base: base.map(str::to_owned), files, kept };
        let told = Told::new((ended.code != -1).then_some(ended.code), ended.commit());
        Run { request, told, began: ended.began, ended: ended.began + ended.took }
    }

    pub(crate) fn run(&self, more: &[&str]) -> Ended {
        self.end("results", &mut self.command("results", more))
    }

    pub(crate) fn end(&self, results: &str, command: &mut Command) -> Ended {
        let start = Instant::now();
        let child = command.spawn().unwrap();
        self.ended(results, child, start)
    }

    /// Wait for the end, and look for the password in all that came out.
    pub(crate) fn ended(&self, results: &str, child: Child, start: Instant) -> Ended {
        self.left(results, child.wait_with_output().unwrap(), start)
    }

    /// Kill it when it begins the system call of this number; how many it began, and what it left.
    pub(crate) fn traced(&self, results: &str, command: &mut Command, at: Option<usize>) -> (usize, Ended) {
        let start = Instant::now();
        let traced = syscalls::run(command, at).unwrap();
        (traced.calls, self.left(results, traced.output, start))
    }

    fn left(&self, results: &str, output: Output, start: Instant) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let folder = self.path(results);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let ended = Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            results: RESULTS.iter().map(|name| ((*name).to_owned(), read(name))).collect(),
            began: start,
            took: start.elapsed(),
        };
        let all = format!("{}{}{:?}", ended.stdout, ended.stderr, ended.results);
        for secret in [self.password.as_str(), "unrelated-pass", "Authorization"] {
            assert!(!all.contains(secret), "a secret came out: {all}");
        }
        ended
    }
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) results: BTreeMap<String, String>,
    pub(crate) began: Instant,
    pub(crate) took: Duration,
}

impl Ended {
    /// Exit code and the line that says how it ended, with what differs from run to run replaced.
    pub(crate) fn last(&self, server: &Server) -> (i32, String) {
        let line = self.stderr.lines().rev().find(|l| !l.starts_with("hint: ")).unwrap_or_default();
        let repository = server.repository().display().to_string();
        (self.code, line.replace(&server.host(), "HOST").replace(&repository, "REPOSITORY"))
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!((self.code, self.results["outcome"].as_str()), (0, "ok"), "{}", self.stderr);
        self
    }

    pub(crate) fn commit(&self) -> &str {
        &self.results["commit"]
    }

    pub(crate) fn changed(&self) -> bool {
        self.results["changed"] == "true"
    }
}

/// The commits that brought the request of this machine, which must be one, on a linear history in a sound repository.
#[track_caller]
pub(crate) fn one_commit(server: &Server, vm: &str) -> String {
    let log = server.git().log_of(&format!("{}/request.yaml", folder(vm))).unwrap();
    assert_eq!(log.len(), 1, "{vm}: {log:?}");
    assert_eq!(server.git().not_linear().unwrap(), 1, "the first commit alone has no parent");
    log[0].clone()
}

/// How git says that somebody else holds the lock of the branch.
pub(crate) const LOCKED: &str = "failed to update ref: error: cannot lock ref 'refs/heads/main': Unable to create \
                                 'REPOSITORY/./refs/heads/main.lock': File exists";

pub(crate) fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}
