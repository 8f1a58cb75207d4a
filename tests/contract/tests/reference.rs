//! `docs/reference/steps.md` is what the binaries say of themselves; `SNAPSHOTS=overwrite` writes it anew.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::path::Path;

use step::{EVERY_STEP, Kind, Step};

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

#[test]
fn the_reference_is_what_the_binaries_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/steps.md");
    snapbox::assert_data_eq!(reference(), snapbox::Data::read_from(&file, None).raw());
}
