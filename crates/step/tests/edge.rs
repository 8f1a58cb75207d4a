//! How every binary begins and ends, seen from outside: last line, results, exit code.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use snapbox::str;

/// `examples/probe.rs`, which cargo builds with the tests.
fn probe() -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let mut command = Command::new(folder.join("examples/probe"));
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    command
}

struct Ran {
    folder: tempfile::TempDir,
    output: Output,
}

impl Ran {
    fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outcome = format!("--outcome-path={}", folder.path().join("outcome").display());
        let output = probe().args(arguments).arg(outcome).output().unwrap();
        Self { folder, output }
    }

    /// Exit code, results, then standard error.
    fn told(&self) -> String {
        assert_eq!(String::from_utf8_lossy(&self.output.stdout), "", "standard output belongs to products");
        told(self.output.status.code(), self.folder.path(), &String::from_utf8_lossy(&self.output.stderr))
    }
}

fn told(code: Option<i32>, folder: &Path, stderr: &str) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let result = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        format!("{name}={}\n", std::fs::read_to_string(path).unwrap())
    };
    format!("{}\n{}--\n{stderr}", code.unwrap(), files.iter().map(result).collect::<String>())
}

#[test]
fn success() {
    snapbox::assert_data_eq!(
        Ran::with(&[]).told(),
        str![[r#"
0
changed=false
commit=1a2b3c
ip=
message=all is well
outcome=ok
--
at work with /u{1b}[31m`ok`
done: all is well

"#]]
    );
}

#[test]
fn an_empty_value_counts_as_absent() {
    assert_eq!(Ran::with(&["--end="]).told(), Ran::with(&[]).told());
}

#[test]
fn a_change_is_said() {
    assert!(Ran::with(&["--end=changed"]).told().starts_with("0\nchanged=true\n"));
}

#[test]
fn failure() {
    snapbox::assert_data_eq!(
        Ran::with(&["--end=fail"]).told(),
        str![[r#"
20
changed=false
commit=1a2b3c
ip=
message=cannot change `x`, somebody else did; hint: send a new request
outcome=conflict
--
at work with /u{1b}[31m`fail`
first detail
second/u{7} detail
error: cannot change `x`, somebody else did
hint: send a new request

"#]]
    );
}

#[test]
fn wrong_arguments() {
    snapbox::assert_data_eq!(
        Ran::with(&["--timeout=soon"]).told(),
        str![[r#"
2
changed=false
commit=
ip=
message=invalid value 'soon' for '--timeout <DURATION>': expected hours, minutes and seconds such as `90s`, `10m` or `1h30m`; hint: `probe --help` lists every flag
outcome=usage
--
error: invalid value 'soon' for '--timeout <DURATION>': expected hours, minutes and seconds such as `90s`, `10m` or `1h30m`
hint: `probe --help` lists every flag

"#]]
    );
}

#[test]
fn a_panic_is_a_bug_and_says_where_but_not_what() {
    let told = Ran::with(&["--end=panic"]).told();
    assert!(told.starts_with("70\nchanged=false\ncommit=1a2b3c\n"), "{told}");
    assert!(told.contains("error: panicked at crates/step/examples/probe.rs:"), "{told}");
    assert!(told.ends_with(
        "error: this program has a bug; the line above says where\nhint: report it with the log of this step\n"
    ));
    assert!(!told.contains("index out of bounds"), "{told}");
}

#[test]
fn results_stay_below_their_limit() {
    let ran = Ran::with(&["--end=long"]);
    let files = std::fs::read_dir(ran.folder.path()).unwrap();
    let total: u64 = files.map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!((500..step::LIMIT as u64).contains(&total), "{total}");
}

#[test]
fn results_that_cannot_be_written_are_told() {
    let output = probe().arg("--outcome-path=/proc/nowhere/outcome").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: cannot write results: "), "{stderr}");
}

/// Start, wait for the line that says it is at work, send the signal, and see how it ends.
fn signalled(end: &str, signal: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let outcome = format!("--outcome-path={}", folder.path().join("outcome").display());
    let mut child = probe().args([&format!("--end={end}"), &outcome]).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    stderr.read_line(&mut text).unwrap();
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    stderr.read_to_string(&mut text).unwrap();
    told(child.wait().unwrap().code(), folder.path(), &text)
}

#[test]
fn a_signal_lets_work_end_and_is_told() {
    snapbox::assert_data_eq!(
        signalled("stop", "-TERM"),
        str![[r#"
143
changed=false
commit=1a2b3c
ip=
message=cancelled by SIGTERM when done: stopped between two attempts; hint: run it again: what is done already is found and kept
outcome=cancelled
--
at work with /u{1b}[31m`stop`
error: cancelled by SIGTERM when done: stopped between two attempts
hint: run it again: what is done already is found and kept

"#]]
    );
}

#[test]
fn a_signal_ends_work_that_does_not_listen() {
    let told = signalled("sleep", "-INT");
    assert!(told.starts_with("130\nchanged=false\ncommit=1a2b3c\n"), "{told}");
    assert!(told.contains("error: cancelled by SIGINT while still at work\n"), "{told}");
}

#[test]
fn a_deadline_ends_work_that_does_not_look_at_it() {
    let told = Ran::with(&["--end=sleep", "--timeout=1s"]).told();
    assert!(told.starts_with("60\n"), "{told}");
    assert!(told.ends_with("error: not done after 1s\n"), "{told}");
}
