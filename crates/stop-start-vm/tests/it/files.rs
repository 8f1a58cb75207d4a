//! Files in the styles of other repositories, hand-written in `tests/fixtures/power`: off changes one value and no other byte,
//! and on gives the old bytes back.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::Git;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/power")
}

fn cases(list: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures().join("cases.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[list].as_array().unwrap().clone()
}

/// All files of a folder, by their paths from `fixtures`.
fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.parent() != Some(&fixtures()) {
            let name = path.strip_prefix(fixtures()).unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

async fn repository() -> Git {
    let mut found = Vec::new();
    files(&fixtures(), &mut found);
    let found: Vec<_> = found.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    Git::with(&found).await
}

/// The flag that names the case's file or overlay.
fn place(case: &Value) -> String {
    let root = case["case"].as_str().unwrap();
    match (case["file"].as_str(), case["overlay"].as_str()) {
        (Some(file), _) => format!("--file={root}/{file}"),
        (_, Some(overlay)) => format!("--overlay={root}/{overlay}"),
        _ => panic!("{case}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_difference_is_one_value_and_back_again_none() {
    let git = repository().await;
    let cases = cases("changed");
    assert!(cases.len() >= 20, "only {} files", cases.len());
    for case in &cases {
        let (root, place) = (case["case"].as_str().unwrap(), place(case));
        let path = format!("{root}/{}", case["changed"].as_str().unwrap());
        let before = git.read(&path);
        let (from, to) = (case["from"].as_str().unwrap(), case["to"].as_str().unwrap());

        let off = git.run(&["--power=off", &place]);
        off.ok();
        let after = git.read(&path);
        let changed = git.server.git().git(&["diff", "--name-only", "main~1", "main"]).unwrap();
        assert_eq!(changed, path, "{root}: no other file");
        let places = before
            .match_indices(from)
            .map(|(at, _)| [before.get(..at).unwrap(), to, before.get(at + from.len()..).unwrap()].concat());
        assert!(places.into_iter().any(|text| text == after), "{root}: not one value:\n{after}");
        assert_eq!(off.results(["changed", "commit"]), ["true", &git.server.git().tip().unwrap()], "{root}");
        let strategy = match from.trim_matches(['"', '\'']) {
            "true" => "Always",
            strategy => strategy,
        };
        assert_eq!(off.result("previous-run-strategy"), strategy, "{root}");

        let on = git.run(&["--power=on", &place]);
        on.ok();
        assert_eq!(git.read(&path), before, "{root}: and back");
        assert_eq!(on.result("previous-run-strategy"), "Halted", "{root}");
    }
    git.server.git().fsck().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_alone_is_left_as_it_is() {
    let git = repository().await;
    let tip = git.server.git().tip().unwrap();
    for case in cases("refused") {
        let (root, place) = (case["case"].as_str().unwrap(), place(&case));
        let ended = git.run(&["--power=off", &place]);
        let message = case["message"].as_str().unwrap();
        assert_eq!(ended.code, 31, "{root}: {:#?}", ended.log);
        assert!(ended.last().starts_with("error: cannot change the power in `"), "{root}: {}", ended.last());
        assert!(ended.last().ends_with(&format!("`: {message}")), "{root}: {}", ended.last());
        assert!(!ended.hint().is_empty() || message.contains("it has "), "{root}: no way out");
        assert_eq!(ended.results(["changed", "outcome"]), ["false", "refused"]);
    }
    assert_eq!(git.server.git().tip().unwrap(), tip);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_overlay_says_what_to_add() {
    let git = repository().await;
    let ended = git.run(&["--power=off", "--overlay=refused-silent-overlay/overlays/prod"]);
    ended.is(
        31,
        "error: cannot change the power in `refused-silent-overlay/overlays/prod/kustomization.yaml`: it does not set the \
         power of `team-a/web-1`",
    );
    assert_eq!(ended.hint(), "add a patch with `spec.runStrategy` for VirtualMachine `web-1` to it");
}
