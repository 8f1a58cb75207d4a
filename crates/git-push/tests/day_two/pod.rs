//! One run of the four steps, in a folder that ends with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::git::Server;

/// The steps, in their order.
pub(crate) const STEPS: [&str; 4] = ["validate-request", "fetch-vm", "render-vm", "git-push"];
pub(crate) const MACHINE: &str = "vms/in-cluster/team-a/db-01";

/// A repository on a server, and what stands in Git for it.
pub(crate) struct World {
    pub(crate) server: Server,
    auth: TempDir,
    /// The folder with the site's policy, empty where it has none.
    policy: TempDir,
}

/// The folder of one TaskRun.
pub(crate) struct Pod<'a> {
    world: &'a World,
    dir: TempDir,
    request: Value,
    phase: Option<&'static str>,
}

/// How a run of the steps ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// The last line of the last step that was run.
    pub(crate) last: String,
    pub(crate) results: BTreeMap<String, String>,
}

impl World {
    /// A branch with a machine on it, and the commit that brought it.
    pub(crate) async fn with_machine() -> (Self, String) {
        Self::with(provision()).await
    }

    /// As [`Self::with_machine`], for a machine that is of an environment.
    pub(crate) async fn with_machine_of(environment: &str) -> (Self, String) {
        let mut new = provision();
        new["spec"]["lifecycle"]["environment"] = environment.into();
        Self::with(new).await
    }

    async fn with(new: Value) -> (Self, String) {
        let [auth, policy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let world = Self { server: Server::plain().await.unwrap(), auth, policy };
        fs::write(world.auth.path().join(".git-credentials"), world.server.url_with_credentials()).unwrap();
        let ended = world.pod(new, None).run();
        let commit = ended.changed().to_owned();
        (world, commit)
    }

    /// From now on this is what the site allows.
    pub(crate) fn allow(&self, spec: &Value) {
        let policy = json!({"apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMPolicy", "spec": spec});
        fs::write(self.policy.path().join("policy.yaml"), policy.to_string()).unwrap();
    }

    pub(crate) fn pod(&self, request: Value, phase: Option<&'static str>) -> Pod<'_> {
        Pod { world: self, dir: tempfile::tempdir().unwrap(), request, phase }
    }

    /// A phase of an operation on the machine.
    pub(crate) fn publish(&self, id: &str, operation: &str, spec: &Value, phase: &'static str) -> Ended {
        self.pod(day_two(id, operation, spec), Some(phase)).run()
    }

    /// The files at the tip below a folder, by their path in it.
    pub(crate) fn files(&self, folder: &str) -> BTreeMap<String, String> {
        let git = self.server.git();
        let names = git.files("main").unwrap();
        let names = names.iter().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
        let read =
            |name: &str| String::from_utf8(git.read("main", &format!("{folder}/{name}")).unwrap()).unwrap();
        names.map(|name| (name.to_owned(), read(name))).collect()
    }

    /// The machine's files but for the records.
    pub(crate) fn machine(&self) -> BTreeMap<String, String> {
        let mut files = self.files(MACHINE);
        files.retain(|name, _| !name.starts_with("operations/"));
        files
    }
}

impl Pod<'_> {
    /// Run all steps, until one fails.
    pub(crate) fn run(&self) -> Ended {
        for step in STEPS {
            let ended = self.end(step, self.start(step));
            if ended.code != 0 || step == "git-push" {
                return ended;
            }
        }
        unreachable!("git-push is the last step")
    }

    pub(crate) fn start(&self, step: &str) -> Child {
        let mut command = Command::new(binary(step));
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let remote = [
            format!("--url={}", self.world.server.url()),
            format!("--basic-auth={}", self.world.auth.path().display()),
            "--timeout=10m".to_owned(),
        ];
        match step {
            "validate-request" => command
                .arg(format!("--request={}", self.request))
                .arg(format!("--output={}", at("request.json"))),
            "fetch-vm" => command
                .args(remote)
                .arg(format!("--request-file={}", at("request.json")))
                .arg(format!("--output={}", at("definition"))),
            "render-vm" => command
                .arg(format!("--request-file={}", at("request.json")))
                .arg(format!("--definition={}", at("definition")))
                .arg(format!("--phase={}", self.phase.unwrap_or_default()))
                .arg(format!("--output={}", at("files")))
                .arg(format!("--plan={}", at("plan.json")))
                .arg("--repo-url=https://git.example/machines.git"),
            _ => command
                .args(remote)
                .arg(format!("--source={}", at("files")))
                .arg(format!("--plan={}", at("plan.json")))
                .arg("--on-conflict=rerender")
                .arg(format!("--rerender-to={}", at("definition"))),
        };
        let policy = self.world.policy.path();
        if matches!(step, "validate-request" | "render-vm") && policy.join("policy.yaml").exists() {
            command.arg(format!("--policy={}", policy.display()));
        }
        command
            .arg(format!("--outcome-path={}", at("results/outcome")))
            .env_clear()
            .env("TMPDIR", self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    pub(crate) fn end(&self, step: &str, child: Child) -> Ended {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let lines = said.lines().rev().find(|line| !line.starts_with("hint: "));
        let results = fs::read_dir(self.dir.path().join("results")).into_iter().flatten().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        });
        Ended {
            code: output.status.code().unwrap_or(-1),
            last: format!("{step}: {}", lines.unwrap_or_default()).replace(&self.world.server.host(), "HOST"),
            results: results.collect(),
        }
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!((self.code, self.results["outcome"].as_str()), (0, "ok"), "{}", self.last);
        self
    }

    /// The commit that was made now.
    #[track_caller]
    pub(crate) fn changed(&self) -> &str {
        assert_eq!(self.ok().results["changed"], "true", "{}", self.last);
        &self.results["commit"]
    }

    /// The commit that was there.
    #[track_caller]
    pub(crate) fn already(&self) -> &str {
        assert_eq!(self.ok().results["changed"], "false", "{}", self.last);
        &self.results["commit"]
    }

    pub(crate) fn result(&self, name: &str) -> &str {
        &self.results[name]
    }
}

/// A step's binary: this package's own, or that of another, which `cargo test --workspace` builds too.
fn binary(step: &str) -> PathBuf {
    if step == "git-push" {
        return env!("CARGO_BIN_EXE_git-push").into();
    }
    let path = Path::new(env!("CARGO_BIN_EXE_git-push")).with_file_name(step);
    assert!(path.is_file(), "build the binaries first: `cargo build --workspace --bins`");
    path
}

/// A machine with a boot disk and a data disk.
fn provision() -> Value {
    json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {"requestId": "r-0", "requestedBy": "jane@example.org"},
        "spec": {
            "operation": "provision",
            "target": {"name": "db-01", "namespace": "team-a"},
            "compute": {"cpu": 2, "memory": "4Gi"},
            "image": {"source": "http", "url": "https://images.example.org/linux-1.qcow2"},
            "disks": [{"name": "root", "role": "root", "size": "20Gi"}, {"name": "data", "size": "100Gi"}],
            "checks": {"ip": true},
        },
    })
}

pub(crate) fn day_two(id: &str, operation: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {"requestId": id, "requestedBy": "jane@example.org"},
        "spec": {
            "operation": operation,
            "target": {"name": "db-01", "namespace": "team-a"},
            "operationSpec": spec,
        },
    })
}

pub(crate) fn again() -> Value {
    provision()
}
