//! One run of the binary, and a repository for it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use testbed::git::{Entry, Server};

pub(crate) const FILE: &str = "vms/in-cluster/team-a/web-1/virtual-machine.yaml";

/// The machine `team-a/<name>` with this strategy.
pub(crate) fn machine(name: &str, strategy: &str) -> String {
    format!(
        "# of team-a\napiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata:\n  name: {name}\n  namespace: team-a\n\
         spec:\n  runStrategy: {strategy} # power\n  template: {{}}\n"
    )
}

/// A repository, and the credentials for it.
pub(crate) struct Git {
    pub(crate) server: Server,
    credentials: TempDir,
}

impl Git {
    pub(crate) async fn with(files: &[(&str, &str)]) -> Self {
        let server = Server::plain().await.unwrap();
        let credentials = tempfile::tempdir().unwrap();
        let (user, password) = server.credentials();
        std::fs::write(credentials.path().join("username"), user).unwrap();
        std::fs::write(credentials.path().join("password"), password).unwrap();
        let git = Self { server, credentials };
        if !files.is_empty() {
            git.commit(files, "files");
        }
        git
    }

    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        let entries: Vec<_> = files.iter().map(|(path, text)| Entry::file(*path, *text)).collect();
        self.server.git().commit(&entries, message).unwrap()
    }

    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8(self.server.git().read("main", path).unwrap()).unwrap()
    }

    pub(crate) fn message(&self, commit: &str) -> String {
        self.server.git().git(&["log", "-1", "--format=%B", commit]).unwrap()
    }

    pub(crate) fn flags(&self) -> [String; 2] {
        [
            format!("--url={}", self.server.url()),
            format!("--basic-auth={}", self.credentials.path().display()),
        ]
    }

    /// A run that changes Git alone.
    pub(crate) fn run(&self, flags: &[&str]) -> Ended {
        self.begin(flags).end(self)
    }

    pub(crate) fn begin(&self, flags: &[&str]) -> Run {
        let mut all = vec!["--wait=false".to_owned()];
        all.extend(self.flags());
        if flags.iter().all(|flag| !flag.starts_with("--vm=")) {
            all.push("--vm=team-a/web-1".to_owned());
        }
        Run::begin(all.iter().map(String::as_str).chain(flags.iter().copied()))
    }
}

/// A binary at work.
pub(crate) struct Run {
    child: Child,
    folder: TempDir,
}

impl Run {
    pub(crate) fn begin<'f>(flags: impl IntoIterator<Item = &'f str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut flags: Vec<_> = flags.into_iter().collect();
        // of two of a kind the last is meant
        let default = |name: &str| flags.iter().filter(|flag| flag.starts_with(name)).count() > 1;
        if default("--vm=") {
            flags.remove(0);
        }
        if flags.iter().all(|flag| !flag.starts_with("--timeout=")) {
            flags.push("--timeout=1m");
        }
        let child = Command::new(env!("CARGO_BIN_EXE_stop-start-vm"))
            .args(flags)
            .arg(format!("--outcome-path={}", folder.path().join("results/outcome").display()))
            .env_clear()
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Until it has said this.
    pub(crate) async fn says(&mut self, words: &str) {
        let wait = async {
            while !log(&self.folder).contains(words) {
                assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", log(&self.folder));
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let said = tokio::time::timeout(std::time::Duration::from_secs(50), wait).await;
        assert!(said.is_ok(), "it never said `{words}`: {}", log(&self.folder));
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn end(self, git: &Git) -> Ended {
        let mut ended = self.ended();
        for line in &mut ended.log {
            *line = line.replace(&git.server.host(), "HOST");
        }
        ended
    }

    pub(crate) fn ended(self) -> Ended {
        let Self { child, folder } = self;
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
        let log = log(&folder).lines().map(str::to_owned).collect();
        Ended { code: output.status.code().unwrap_or(-1), log, folder }
    }
}

fn log(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("log")).unwrap()
}

pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) log: Vec<String>,
    folder: TempDir,
}

impl Ended {
    pub(crate) fn result(&self, name: &str) -> String {
        let path = self.folder.path().join("results").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", Path::display(&path)))
    }

    pub(crate) fn results<const N: usize>(&self, names: [&str; N]) -> [String; N] {
        names.map(|name| self.result(name))
    }

    /// The line that says how it ended.
    pub(crate) fn last(&self) -> &str {
        self.log.iter().rev().find(|l| !l.starts_with("hint: ")).map_or("", String::as_str)
    }

    pub(crate) fn hint(&self) -> &str {
        self.log.last().and_then(|l| l.strip_prefix("hint: ")).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn is(&self, code: i32, last: &str) -> &Self {
        assert_eq!((self.code, self.last()), (code, last), "{:#?}", self.log);
        self
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!(self.code, 0, "{:#?}", self.log);
        self
    }
}
