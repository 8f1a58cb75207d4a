//! Every request of `tests/fixtures/requests` through the built binary: its whole output and exit code.
//!
//! `SNAPSHOTS=overwrite` writes what is expected anew; review the difference.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use snapbox::Data;
use tempfile::TempDir;
use vm::problem::{Code, LINE};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/requests").join(name)
}

/// The requests of a folder, without policies and expectations.
fn requests(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_request = |name: &String| {
        let input = name.rsplit_once('.').is_some_and(|(_, form)| matches!(form, "yaml" | "json"));
        input && !name.ends_with(".policy.yaml") && !name.ends_with(".accepted.json")
    };
    let mut names: Vec<String> = names.filter(is_request).collect();
    names.sort();
    names
}

/// The requests of several folders.
fn all_requests(folders: [&str; 2]) -> Vec<(PathBuf, String)> {
    let of = |folder: PathBuf| requests(&folder).into_iter().map(move |name| (folder.clone(), name));
    folders.into_iter().flat_map(|name| of(folder(name))).collect()
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').unwrap().0
}

/// What Git holds for the machine, where the request's first line says `# definition: …`: files below `tests/fixtures`, in
/// each the machine's files behind lines `--- # <path>`.
fn definition(folder: &Path, name: &str) -> Option<TempDir> {
    first_line(folder, name).strip_prefix("# definition: ").map(unpacked)
}

fn first_line(folder: &Path, name: &str) -> String {
    let text = std::fs::read(folder.join(name)).unwrap();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// The site's templates, where the request's first line says `# template-directory: …`, a folder by its path from
/// `tests/fixtures`.
fn template_directory(folder: &Path, name: &str) -> Option<String> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let first = first_line(folder, name);
    let templates = first.strip_prefix("# template-directory: ")?;
    Some(format!("--template-directory={}", fixtures.join(templates).display()))
}

fn unpacked(definitions: &str) -> TempDir {
    let written = tempfile::tempdir().unwrap();
    for definition in definitions.split(' ') {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let text = std::fs::read_to_string(fixtures.join(definition)).unwrap();
        for (path, file) in text.split("--- # ").skip(1).filter_map(|part| part.split_once('\n')) {
            let path = written.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
    }
    written
}

fn run(folder: &Path, name: &str, arguments: &[String]) -> Output {
    let definition = definition(folder, name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_validate-request"));
    command.current_dir(folder).env_remove("RUST_LOG").arg(format!("--request-file={name}")).args(arguments);
    if folder.join(format!("{}.policy.yaml", stem(name))).exists() {
        command.arg(format!("--policy={}.policy.yaml", stem(name)));
    }
    command.args(template_directory(folder, name));
    if let Some(definition) = &definition {
        command.arg(format!("--definition={}", definition.path().display()));
    }
    command.output().unwrap()
}

fn compare(failures: &mut Vec<String>, actual: String, expected: &Path) {
    let assert = snapbox::Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV);
    let name = expected.file_name().unwrap().to_string_lossy().into_owned();
    if let Err(error) =
        assert.try_eq(Some(&name), Data::text(actual).raw(), Data::read_from(expected, None).raw())
    {
        failures.push(error.to_string());
    }
}

#[test]
fn what_is_wrong_is_refused_in_these_words() {
    let (mut failures, mut seen) = (Vec::new(), String::new());
    let all = all_requests(["invalid", "day-two/invalid"]);
    assert!(all.len() >= 350, "only {} requests", all.len());
    for (folder, name) in &all {
        let written = tempfile::tempdir().unwrap();
        let output = written.path().join("request.json");
        let ended = run(folder, name, &[format!("--output={}", output.display())]);
        let lines = String::from_utf8(ended.stderr).unwrap();
        for line in lines.lines().filter(|line| !line.starts_with("error: ") && !line.starts_with("hint: ")) {
            assert!(line.len() <= LINE && !line.contains(char::is_control), "{name}: {line:?}");
            assert!(!line.ends_with('…'), "{name}: a message that is cut helps nobody: {line}");
        }
        assert!(ended.stdout.is_empty() && !output.exists(), "{name}: something was written");
        assert_eq!(
            std::fs::read_dir(written.path()).unwrap().count(),
            0,
            "{name}: something was left behind"
        );
        let text = format!("exit {}\n{lines}", ended.status.code().unwrap());
        compare(&mut failures, text.clone(), &folder.join(format!("{}.expected", stem(name))));
        seen += &text;
    }
    let missing: Vec<&str> =
        Code::ALL.iter().map(|c| c.word()).filter(|c| !seen.contains(&format!(": {c}: "))).collect();
    assert!(missing.is_empty(), "no fixture shows {missing:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_is_right_is_accepted_with_every_default_explicit() {
    let mut failures = Vec::new();
    for (folder, name) in all_requests(["valid", "day-two/valid"]) {
        let ended = run(&folder, &name, &[]);
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
        let accepted = String::from_utf8(ended.stdout).unwrap();
        compare(&mut failures, accepted.clone(), &folder.join(format!("{}.accepted.json", stem(&name))));

        let again = tempfile::tempdir().unwrap();
        std::fs::write(again.path().join(&name), &accepted).unwrap();
        let policy = format!("{}.policy.yaml", stem(&name));
        if folder.join(&policy).exists() {
            std::fs::copy(folder.join(&policy), again.path().join(&policy)).unwrap();
        }
        let ended = run(again.path(), &name, &[]);
        assert_eq!(String::from_utf8(ended.stdout).unwrap(), accepted, "{name}: accepted twice");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_a_template_has_defaults_for_is_filled_in() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/templates");
    let flags =
        [format!("--template-directory={}", templates.display()), "--policy=../policy.yaml".to_owned()];
    let ended = run(&templates, "request.yaml", &flags);
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    let accepted = String::from_utf8(ended.stdout).unwrap();
    let mut failures = Vec::new();
    compare(&mut failures, accepted.clone(), &folder("../templates/hardened.accepted.json"));
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let again = tempfile::tempdir().unwrap();
    std::fs::write(again.path().join("request.json"), &accepted).unwrap();
    let ended = run(again.path(), "request.json", &flags[..1]);
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), accepted, "accepted twice");
}

/// What the platform team got wrong is never the requester's fault: `usage`, with the file and the reason.
#[test]
fn a_schema_that_cannot_be_used_says_why() {
    let property = |text: &str| {
        format!("{{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {{{text}}}}}")
    };
    for (schema, why) in [
        ("{".to_owned(), "document: E_JSON: line 1, column 1: EOF while parsing an object"),
        ("{}".to_owned(), "it needs `\"type\": \"object\"` and `\"additionalProperties\": false`"),
        (property(r#""a": {"default": 1}"#), "`/properties/a`: it needs a `description`"),
        (
            property(r#""a": {"description": "x"}"#),
            "`/properties/a`: neither in `required` nor with a `default`",
        ),
        (
            property(r#""a": {"description": "x", "default": {"b": 1}}"#),
            "`/properties/a`: its `default` is neither text, a whole number, a boolean nor a list of texts",
        ),
        (
            property(r#""A": {"description": "x", "default": 1}"#),
            "`/properties/A`: 1 to 63 letters and digits, the first a small letter, such as `cpuModel`",
        ),
        (
            property(r#""a": {"description": "x", "type": "integer", "minimum": 2, "default": 1}"#),
            "a default is wrong: /spec/template/parameters/a: E_RANGE: expected at least 2, got 1",
        ),
        (
            property(r#""a": {"description": "x", "enum": [1, 2], "default": 3}"#),
            "a default is wrong: /spec/template/parameters/a: E_ENUM: expected one of [1,2]",
        ),
        (
            property(r#""a": {"description": "x", "pattern": "(", "default": "x"}"#),
            "the schema does not compile: \"(\" is not a \"regex\"",
        ),
        (
            property(r#""a": {"description": "x", "$ref": "https://example.com/a.json", "default": "x"}"#),
            "the schema does not compile: ",
        ),
    ] {
        let site = tempfile::tempdir().unwrap();
        std::fs::write(site.path().join("own.yaml.j2"), "").unwrap();
        let path = site.path().join("own.schema.json");
        std::fs::write(&path, &schema).unwrap();
        let request = std::fs::read_to_string(folder("invalid/denied-template-by-default.yaml")).unwrap();
        std::fs::write(site.path().join("request.yaml"), request.replace("hardened", "own")).unwrap();
        let ended =
            run(site.path(), "request.yaml", &[format!("--template-directory={}", site.path().display())]);
        let said = String::from_utf8(ended.stderr).unwrap();
        let expected = format!("error: cannot use `{}` of `--template-directory`: {why}", path.display());
        assert!(said.starts_with(&expected), "{schema}: {said}");
        assert!(said.ends_with("\nhint: the platform team mends the schema\n"), "{said}");
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{schema}");
    }
}

#[test]
fn no_expectation_without_its_request() {
    for (name, suffix) in [
        ("invalid", ".expected"),
        ("valid", ".accepted.json"),
        ("day-two/invalid", ".expected"),
        ("day-two/valid", ".accepted.json"),
    ] {
        let folder = folder(name);
        let mut stems: Vec<String> = requests(&folder).iter().map(|name| stem(name).to_owned()).collect();
        let files = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        for file in files {
            let Some(of) = file.strip_suffix(suffix).or_else(|| file.strip_suffix(".policy.yaml")) else {
                continue;
            };
            assert!(stems.iter().any(|stem| stem == of), "{file} belongs to no request");
        }
        stems.dedup();
        assert_eq!(stems.len(), requests(&folder).len(), "two requests of one name");
    }
}

#[test]
fn examples_are_accepted_by_the_example_policy_and_by_none() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/requests");
    let names = requests(&folder);
    let expected = [
        "deprovision-vm.yaml",
        "linux-from-snapshot.yaml",
        "linux-golden.yaml",
        "linux-pvc.yaml",
        "linux-registry.yaml",
        "linux.yaml",
        "minimal.json",
        "patch-guest-vm.yaml",
        "patch-vm.yaml",
        "repave-vm.yaml",
        "resize-vm.yaml",
        "restart-vm.yaml",
        "restore-vm.yaml",
        "snapshot-vm.yaml",
        "start-vm.yaml",
        "stop-vm.yaml",
        "undelete-vm.yaml",
    ];
    assert_eq!(names, expected);
    for name in names {
        let ended = run(&folder, &name, &["--policy=../policy.yaml".to_owned()]);
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
        // tiers exist only by a policy
        if name != "linux-golden.yaml" {
            let ended = run(&folder, &name, &[]);
            assert_eq!(ended.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
        }
    }
}

#[test]
fn examples_fit_the_machines_of_the_other_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/requests");
    let accepted = |name: &str| {
        let ended = run(&folder, name, &[]);
        vm::request::Accepted::parse(&String::from_utf8(ended.stdout).unwrap()).unwrap()
    };
    let mut tried = 0;
    for name in requests(&folder).iter().filter(|name| name.ends_with("-vm.yaml")) {
        let machine = match (accepted(name).target().name.as_str(), name.as_str()) {
            (_, "undelete-vm.yaml") => "requests/definitions/removed.yaml",
            ("pay-batch-01", _) => "manifests/examples/linux.yaml",
            ("pay-db-01", _) => "manifests/examples/linux-golden.yaml",
            (other, _) => panic!("{name}: no example provisions `{other}`"),
        };
        let definition = unpacked(machine);
        let ended = run(&folder, name, &[format!("--definition={}", definition.path().display())]);
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
        tried += 1;
    }
    // one for each operation, and one for the other method of a patch
    assert_eq!(tried, vm::day_two::Operation::WORDS.len() + 1);
    let restore = accepted("restore-vm.yaml");
    let vm::day_two::Operation::Restore(restore) = &restore.day_two().unwrap().spec.operation else {
        panic!()
    };
    assert_eq!(restore.snapshot.as_str(), vm::snapshot_name(&accepted("snapshot-vm.yaml")));
}

#[test]
fn every_operation_has_its_fixtures() {
    let of = |name: &str, word: &str| {
        let folder = folder(name);
        let holds = |file: &String| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            text.lines().any(|line| line == format!("  operation: {word}"))
        };
        requests(&folder).iter().filter(|file| holds(file)).count()
    };
    for word in vm::day_two::Operation::WORDS {
        let (valid, invalid) = (of("day-two/valid", word), of("day-two/invalid", word));
        assert!(valid >= 3 && invalid >= 8, "{word}: {valid} valid, {invalid} invalid");
    }
}
