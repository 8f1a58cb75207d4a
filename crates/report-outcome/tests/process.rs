//! The built binary as a process.

use std::fs;

use snapbox::cmd::{Command, cargo_bin};

#[test]
fn a_failed_flow_is_reported_and_the_step_itself_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = folder.path().join("outcome");
    Command::new(cargo_bin!("report-outcome"))
        .args([
            "--publish-outcome=invalid",
            "--publish-message=/spec/cpu: \u{1b}[31mnot a number\n",
            "--await-outcome=",
        ])
        .args(["--publish-reason=StepFailed", "--await-message=", "--await-reason="])
        .arg(format!("--outcome-path={}", outcome.display()))
        .assert()
        .code(0)
        .stderr_eq("[..]invalid: /spec/cpu: [..]not a number[..]\ndone: reported `invalid`\n");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let results: Vec<String> =
        ["outcome", "message", "changed", "flow-outcome", "flow-message"].map(read).into();
    assert_eq!(
        results,
        ["ok", "reported `invalid`", "false", "invalid", "/spec/cpu: \\u{1b}[31mnot a number"]
    );
}

#[test]
fn a_flag_it_does_not_know_is_refused() {
    Command::new(cargo_bin!("report-outcome")).arg("--publish-outcom=ok").assert().code(2).stderr_eq(
        "error: unexpected argument '--publish-outcom' found tip: a similar argument exists: '--publish-outcome'\n\
         hint: `report-outcome --help` lists every flag\n",
    );
}
