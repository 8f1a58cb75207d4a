//! Every policy of `tests/fixtures/policies` through `--policy-check` of the built binary: its whole output and exit code.
//!
//! `SNAPSHOTS=overwrite` writes what is expected anew; review the difference.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use snapbox::Data;
use vm::policy::Rule;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/policies").join(name)
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_validate-request"));
    let ended = command.current_dir(folder).env_remove("RUST_LOG").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

fn policies(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| Path::new(name).extension().is_some_and(|form| form == "yaml")).collect();
    names.sort();
    names
}

#[test]
fn what_is_odd_is_told_in_these_words() {
    let folder = folder("odd");
    let assert = snapbox::Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV);
    let (mut failures, mut examples) = (Vec::new(), Vec::new());
    for name in policies(&folder) {
        let (code, out, err) = run(&folder, &["--policy-check", &format!("--policy={name}")]);
        assert_eq!((code, out.as_str()), (10, ""), "{name}: {err}");
        let expected = folder.join(name.replace(".yaml", ".expected"));
        let compared =
            assert.try_eq(Some(&name), Data::text(err.clone()).raw(), Data::read_from(&expected, None).raw());
        failures.extend(compared.err().map(|error| error.to_string()));
        examples.push((fs::read_to_string(folder.join(&name)).unwrap(), err));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for rule in Rule::ALL {
        let more = rule.explanation();
        let shows = |(policy, told): &&(String, String)| {
            more.policy.lines().all(|line| policy.lines().any(|has| has.trim() == line))
                && told.lines().any(|line| line == more.answer)
        };
        assert!(
            examples.iter().any(|example| shows(&example)),
            "no fixture shows the example of {}",
            rule.word()
        );
    }
}

#[test]
fn what_is_not_odd_is_told_so() {
    for name in policies(&folder("fine")) {
        let ended = run(&folder("fine"), &["--policy-check", &format!("--policy={name}")]);
        assert_eq!(ended, (0, String::new(), format!("done: nothing is odd about policy `{name}`\n")));
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let ended = run(&examples, &["--policy-check", "--policy=."]);
    assert_eq!(ended, (0, String::new(), "done: nothing is odd about policy `./policy.yaml`\n".to_owned()));
}

#[test]
fn it_is_about_a_policy_and_no_request() {
    let folder = folder("fine");
    let (code, _, err) = run(&folder, &["--policy-check"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--policy <FILE>"), "{err}");
    let (code, _, err) = run(&folder, &["--policy-check", "--policy=empty.yaml", "--request={}"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("cannot be used with"), "{err}");
    let (code, _, err) = run(&folder, &["--policy-check", "--policy=absent.yaml"]);
    assert_eq!(
        (code, err.as_str()),
        (2, "error: cannot read `absent.yaml`: No such file or directory (os error 2)\n")
    );
}
