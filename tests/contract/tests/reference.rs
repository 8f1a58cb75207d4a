//! `docs/reference/steps.md` is what the binaries say of themselves, `docs/reference/errors.md` the table of codes;
//! `SNAPSHOTS=overwrite` writes them anew.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use step::{EVERY_STEP, Kind, Step};
use vm::policy::Rule;
use vm::problem::{Class, Code};

const EDGE: [&str; 3] = ["timeout", "log-format", "outcome-path"];

fn section<A: Step>(text: &mut String) {
    let command = step::command::<A>();
    let about = command.get_about().unwrap();
    writeln!(
        text,
        "\n## {}\n\n{about}.\n\n| flag and param | default | what |\n| --- | --- | --- |",
        command.get_name()
    )
    .unwrap();
    for argument in
        command.get_arguments().filter(|a| !EDGE.contains(&a.get_id().as_str()) || a.get_id() == "timeout")
    {
        let Some(name) = argument
            .get_long()
            .filter(|name| !["help", "version", "log-format", "outcome-path"].contains(name))
        else {
            continue;
        };
        let default: Vec<_> = argument.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
        let default = if default.is_empty() { String::new() } else { format!("`{}`", default.join(",")) };
        let required = if argument.is_required_set() { " **Required.**" } else { "" };
        let help = argument.get_help().unwrap().to_string();
        writeln!(text, "| `{name}` | {default} | {}.{required} |", help.replace('|', "\\|")).unwrap();
    }
    let results: Vec<String> = A::RESULTS.iter().map(|name| format!("`{name}`")).collect();
    let results = if results.is_empty() { "none of its own".to_owned() } else { results.join(", ") };
    writeln!(text, "\nResults: {results}.").unwrap();
}

fn reference() -> String {
    let mut text = "# The steps\n\n\
        Written by a test from the binaries' own `--help`; do not edit.\n\n\
        Flag = Tekton param = result, one spelling everywhere. A flag with an empty value counts as absent. Every step has\n\
        `timeout`, `log-format` (`text` or `json`) and `outcome-path` (where the result `outcome` goes; the others beside it),\n"
        .to_owned();
    let every: Vec<String> = EVERY_STEP.iter().map(|name| format!("`{name}`")).collect();
    writeln!(
        text,
        "and the results {}.\n\n## Exit codes\n\n| code | `outcome` |\n| --- | --- |\n| 0 | `ok` |",
        every.join(", ")
    )
    .unwrap();
    for kind in Kind::ALL {
        writeln!(text, "| {} | `{}` |", kind.code(), kind.word()).unwrap();
    }
    section::<validate_request::Args>(&mut text);
    section::<lease_vm::Args>(&mut text);
    section::<fetch_vm::Args>(&mut text);
    section::<render_vm::Args>(&mut text);
    section::<git_push::Args>(&mut text);
    section::<wait_synced::Args>(&mut text);
    section::<stop_start_vm::Args>(&mut text);
    section::<snapshot_vm::Args>(&mut text);
    section::<restore_vm::Args>(&mut text);
    section::<verify_vm::Args>(&mut text);
    section::<resolve_image::Args>(&mut text);
    section::<grow_disk::Args>(&mut text);
    section::<patch_disk::Args>(&mut text);
    section::<patch_guest::Args>(&mut text);
    section::<report_outcome::Args>(&mut text);
    text
}

fn errors() -> String {
    let mut text = "# Errors\n\n\
        Written by a test from the table that `validate-request --explain CODE` prints; do not edit.\n\n\
        What is wrong with a request is told one problem a line: where, as a JSON pointer, the code, what is expected and what is\n\
        there, and a hint where the way out is known. All are found in one pass. The codes stay as they are; the words behind them may\n\
        become better. Every example below is refused so by a test.\n"
        .to_owned();
    for code in Code::ALL {
        let kind = match code.class() {
            Class::Invalid => Kind::Invalid,
            Class::Denied => Kind::Denied,
            Class::Conflict => Kind::Conflict,
            Class::Superseded => Kind::Superseded,
        };
        let more = code.explanation();
        writeln!(
            text,
            "\n## {code}\n\n{} Exit code {} (`{}`).\n",
            code.meaning().trim(),
            kind.code(),
            kind.word()
        )
        .unwrap();
        let under = if more.example.is_empty() { "Under a policy with" } else { "under a policy with" };
        for (before, lines) in [(String::new(), more.example), (format!("{under}\n\n"), more.policy)] {
            if !lines.is_empty() {
                writeln!(text, "{before}```yaml\n{lines}\n```\n").unwrap();
            }
        }
        let told = if more.example.is_empty() && more.policy.is_empty() {
            "Told in these words, for one:"
        } else {
            "is told"
        };
        writeln!(text, "{told}\n\n```text\n{}\n```\n\n{}", more.answer, more.way_out).unwrap();
    }
    text += "\n# What is odd about a policy\n\n\
        `validate-request --policy-check --policy FILE` looks at a policy alone: exit code 0 where nothing is odd, 10 otherwise, with\n\
        one line for each finding. A policy that cannot be read is told the problems above. What is found is so for every request. A\n\
        policy with findings is used as it is, but for one with a default that it does not list itself.\n";
    for rule in Rule::ALL {
        let more = rule.explanation();
        writeln!(
            text,
            "\n## {}\n\n{}\n\n```yaml\n{}\n```\n\nis told\n\n```text\n{}\n```\n\n{}",
            rule.word(),
            rule.meaning(),
            more.policy,
            more.answer,
            more.way_out
        )
        .unwrap();
    }
    text
}

fn is_current(name: &str, text: String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    snapbox::assert_data_eq!(text, snapbox::Data::read_from(&file, None).raw());
}

#[test]
fn the_reference_is_what_the_binaries_say() {
    is_current("steps.md", reference());
}

#[test]
fn errors_are_told_as_the_binary_explains_them() {
    is_current("errors.md", errors());
}

/// Each fixture: what is asked, its policy included, and the lines that it is told.
fn fixtures() -> Vec<(String, Vec<String>)> {
    let mut fixtures: BTreeMap<_, (String, Vec<String>)> = BTreeMap::new();
    for folder in ["invalid", "day-two/invalid"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/requests").join(folder);
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            let stem = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
            let fixture = fixtures.entry((folder, stem)).or_default();
            if path.extension().unwrap() == "expected" {
                fixture.1 = text.lines().map(str::to_owned).collect();
            } else {
                fixture.0 += &text;
            }
        }
    }
    fixtures.into_values().collect()
}

#[test]
fn every_example_of_an_error_is_refused_so() {
    let fixtures = fixtures();
    let mut missing = Vec::new();
    for code in Code::ALL {
        let more = code.explanation();
        assert!(more.answer.contains(&format!(": {code}: ")), "{code}: its answer is that of another code");
        let asks = |text: &str| {
            let mut lines = more.example.lines().chain(more.policy.lines());
            lines.all(|line| text.contains(line.trim_end_matches('…')))
        };
        let told = |lines: &[String]| lines.iter().any(|line| line == more.answer);
        if !fixtures.iter().any(|(text, lines)| asks(text) && told(lines)) {
            missing.push(code.word());
        }
    }
    assert!(missing.is_empty(), "no fixture of tests/fixtures/requests shows the examples of {missing:?}");
}
