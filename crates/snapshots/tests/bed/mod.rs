//! A machine with disks, snapshots and restores in memory, and the built binaries beside it.

mod controllers;
pub(crate) mod server;
pub(crate) mod world;

use std::process::{Child, Command, Output, Stdio};

use world::World;

/// A binary at work.
pub(crate) struct Run {
    child: Child,
    folder: tempfile::TempDir,
}

/// What it ended with.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: Vec<String>,
    pub(crate) output: String,
    folder: tempfile::TempDir,
}

impl Run {
    /// Begin with these flags.
    pub(crate) fn begin(program: &str, world: &World, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(&config, world.server.kubeconfig()).unwrap();
        let child = Command::new(program)
            .arg(format!("--kubeconfig={}", config.display()))
            .arg(format!("--outcome-path={}", folder.path().join("results/outcome").display()))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// End it at once.
    pub(crate) fn kill(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
    }

    /// Ask it to end.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Wait for its end.
    pub(crate) async fn end(self) -> Ended {
        let Self { child, folder } = self;
        let id = child.id().to_string();
        let output = tokio::task::spawn_blocking(move || child.wait_with_output());
        let output = tokio::time::timeout(std::time::Duration::from_secs(90), output).await;
        let Ok(output) = output else {
            Command::new("kill").args(["-9", &id]).status().unwrap();
            panic!("it does not end");
        };
        let output = output.unwrap().unwrap();
        let Output { status, stdout, stderr } = output;
        let log = String::from_utf8(stderr).unwrap().lines().map(without_time).collect();
        Ended { code: status.code(), log, output: String::from_utf8(stdout).unwrap(), folder }
    }
}

impl Ended {
    pub(crate) fn result(&self, name: &str) -> String {
        let path = self.folder.path().join("results").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The last line but hints.
    pub(crate) fn last(&self) -> &str {
        self.log.iter().rev().find(|l| !l.starts_with("hint: ")).map_or("", String::as_str)
    }

    #[track_caller]
    pub(crate) fn is(&self, code: i32, last: &str) {
        assert_eq!((self.code, self.last()), (Some(code), last), "{:#?}", self.log);
    }
}

/// `…, 29m40s left` differs from run to run.
fn without_time(line: &str) -> String {
    match line.rsplit_once(", ") {
        Some((line, time)) if time.ends_with(" left") => line.to_owned(),
        _ => line.to_owned(),
    }
}
