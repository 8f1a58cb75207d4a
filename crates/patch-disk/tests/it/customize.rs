//! The run itself, with a script in the place of virt-customize. It shows how this program deals with one, and nothing of
//! libguestfs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::{Ended, Run};

/// A disk, a permit, a profile, and a stand-in for virt-customize.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(script: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        stage.permit("granted");
        fs::write(stage.path("disk.img"), "disk\n").unwrap();
        fs::write(
            stage.path("monthly.commands"),
            "# monthly\nupdate\nrun-command register --key s3cret-key\nroot-password password:hunter22\n",
        )
        .unwrap();
        let program = stage.path("virt-customize");
        fs::write(
            &program,
            format!(
                "#!/bin/sh\n# plays virt-customize\nprintf '%s\\n' \"$@\" > {}/arguments\n{script}\n",
                stage.path("").display()
            ),
        )
        .unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn permit(&self, state: &str) {
        let permit = json!({"state": state, "claim": "web01-root", "volumeMode": "Filesystem"});
        fs::write(self.path("permit"), permit.to_string()).unwrap();
    }

    fn state(&self) -> Value {
        serde_json::from_slice::<Value>(&fs::read(self.path("permit")).unwrap()).unwrap()["state"].clone()
    }

    fn begin(&self, flags: &[&str]) -> Run {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let mut all = vec![
            flag("disk", "disk.img"),
            flag("permit", "permit"),
            flag("profiles", ""),
            flag("virt-customize", "virt-customize"),
            "--profile=monthly".to_owned(),
        ];
        all.extend(flags.iter().map(ToString::to_string));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        // it has no token: there is no such kubeconfig
        Run::begin(env!("CARGO_BIN_EXE_patch-disk"), Path::new("/nowhere"), &all)
    }

    async fn run(&self, flags: &[&str]) -> Ended {
        self.begin(flags).end().await
    }

    fn arguments(&self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.path("arguments")).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }
}

const SAYS: &str = "echo '[   0.0] Examining the guest ...'\n\
    echo '[   9.1] Running: register --key s3cret-key'\n\
    echo 'virt-customize: Setting random password of root to Wx9kd7' >&2\n";

#[tokio::test(flavor = "multi_thread")]
async fn its_words_are_passed_on_without_what_may_be_a_secret() {
    let stage = Stage::new(SAYS);
    let ended = stage.run(&["--selinux-relabel=true", "--network=false"]).await;
    assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
    assert!(ended.last().starts_with("done: patched the disk of claim `web01-root` in "), "{:#?}", ended.log);
    let mut said = ended.log[..3].to_vec();
    said.sort();
    assert_eq!(
        said,
        [
            "[   0.0] Examining the guest ...",
            "[   9.1] Running: register …",
            "virt-customize: Setting random password of root to …"
        ]
    );
    let path = |name: &str| stage.path(name).display().to_string();
    assert_eq!(
        stage.arguments().unwrap(),
        [
            "--format",
            "raw",
            "--add",
            &path("disk.img"),
            "--commands-from-file",
            &path("monthly.commands"),
            "--no-logfile",
            "--selinux-relabel",
            "--no-network"
        ]
    );
    assert_eq!(
        (ended.result("changed"), ended.result("outcome"), stage.state()),
        ("true".to_owned(), "ok".to_owned(), json!("patched"))
    );
    // once
    fs::remove_file(stage.path("arguments")).unwrap();
    stage.run(&[]).await.is(0, "done: disk of claim `web01-root` was patched already");
    assert_eq!(stage.arguments(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_end_is_failed_with_the_last_errors_and_never_run_over() {
    for (script, why) in [
        ("exit 255", "virt-customize ended with exit code 255: it said nothing"),
        (
            "echo 'libguestfs: error: no disk' >&2; exit 254",
            "virt-customize ended with exit code 254: libguestfs: error: no disk",
        ),
        (
            "echo 'virt-customize: error: register --key s3cret-key: command exited with an error' >&2; echo 'If reporting bugs, …' >&2; exit 253",
            "virt-customize ended with exit code 253: virt-customize: error: register …: command exited with an error",
        ),
        ("kill -9 $$", "virt-customize was killed by signal 9: it said nothing"),
    ] {
        let stage = Stage::new(script);
        let ended = stage.run(&[]).await;
        ended.is(40, &format!("error: disk of claim `web01-root` may be half patched: {why}"));
        assert_eq!([ended.result("reason"), ended.result("changed")], ["HalfPatched", "true"]);
        assert_eq!(stage.state(), "begun");
        fs::remove_file(stage.path("arguments")).unwrap();
        stage.run(&[]).await.is(
            40,
            "error: disk of claim `web01-root` may be half patched: an earlier run on it began and did not end",
        );
        assert_eq!(stage.arguments(), None, "it was run twice");
    }
}

/// A script with a child of its own, as virt-customize has its appliance, that ignores SIGTERM.
const STUBBORN: &str = "trap '' TERM\nsleep 600 &\necho appliance $!\nwait; wait; wait\n";

fn gone(pid: &str) -> bool {
    // a process that nobody has waited for yet is gone as well
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
}

async fn ends_with_its_children(flags: &[&str], stop: bool) -> Ended {
    let stage = Stage::new(STUBBORN);
    let run = stage.begin(flags);
    run.says("appliance ").await;
    let began = Instant::now();
    if stop {
        run.terminate();
    }
    let ended = run.end().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let appliance = ended.log.iter().find_map(|l| l.strip_prefix("appliance ")).unwrap();
    assert!(gone(appliance), "its child {appliance} is left");
    assert_eq!(stage.state(), "begun");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_the_deadline_end_it_with_its_children() {
    ends_with_its_children(&[], true).await.is(
        143,
        "error: cancelled by SIGTERM: disk of claim `web01-root` may be half patched: virt-customize was ended by a signal",
    );
    ends_with_its_children(&["--timeout=3s"], false).await.is(
        40,
        "error: disk of claim `web01-root` may be half patched: virt-customize was not done after 3s and was ended",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_02_without_a_permit_nothing_is_run() {
    let stage = Stage::new(SAYS);
    fs::remove_file(stage.path("permit")).unwrap();
    let last = format!("error: no permit to patch: `{}` is not there", stage.path("permit").display());
    stage.run(&[]).await.is(31, &last);
    stage.permit("already");
    stage.run(&[]).await.is(0, "done: disk of claim `web01-root` was patched already");
    assert_eq!(stage.arguments(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_24_the_disk_has_to_be_what_the_claim_says() {
    let stage = Stage::new(SAYS);
    let disk = stage.path("disk.img");
    let permit = json!({"state": "granted", "claim": "web01-root", "volumeMode": "Block"});
    fs::write(stage.path("permit"), permit.to_string()).unwrap();
    let shown = disk.display();
    stage.run(&[]).await.is(
        2,
        &format!(
            "error: cannot use disk `{shown}`: it is not a block device, as the claim `web01-root` says"
        ),
    );
    stage.permit("granted");
    fs::rename(&disk, stage.path("other")).unwrap();
    std::os::unix::fs::symlink(stage.path("other"), &disk).unwrap();
    stage.run(&[]).await.is(
        2,
        &format!("error: cannot use disk `{shown}`: it is not a file, as the claim `web01-root` says"),
    );
    assert_eq!((stage.arguments(), stage.state()), (None, json!("granted")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_started_is_not_half_done() {
    let stage = Stage::new(SAYS);
    fs::remove_file(stage.path("virt-customize")).unwrap();
    let last = format!(
        "error: cannot run `{}`: No such file or directory (os error 2)",
        stage.path("virt-customize").display()
    );
    stage.run(&[]).await.is(2, &last);
    assert_eq!(stage.state(), "granted");
    fs::write(stage.path("monthly.commands"), "# nothing yet\n").unwrap();
    let last = format!("error: commands `{}` hold none", stage.path("monthly.commands").display());
    stage.run(&[]).await.is(2, &last);
}

#[test]
fn it_installs_itself() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("patch-disk");
    let install =
        |program: &Path| Command::new(program).arg(format!("--install={}", copy.display())).output().unwrap();
    // twice: a step may be run again
    for _ in 0..2 {
        let output = install(Path::new(env!("CARGO_BIN_EXE_patch-disk")));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            format!("done: copied this program to `{}`\n", copy.display())
        );
    }
    let version = Command::new(&copy).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("patch-disk {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn one_role_at_a_time() {
    for flags in [&["--disk=/d"][..], &["--install=/x", "--disk=/d", "--permit=/p"], &["--check=before"], &[]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_patch-disk")).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
