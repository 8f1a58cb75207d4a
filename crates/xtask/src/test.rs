//! `cargo xtask test`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::process::{cargo, messages, run};

/// How many test executables run side by side: much of what one does is wait, for a server, a deadline or a lock. With more of them two
/// cores are too slow for the deadlines of flows.
const SIDE_BY_SIDE: usize = 2;

/// So many failed tests are tried once more; where more fail, something is wrong.
const CHANCES: usize = 5;

/// Build every binary (tests of flows run them all), then test: with `arguments` as `cargo test` has them, else everything, all that
/// fails being seen in one run.
pub(crate) fn test(root: &Path, arguments: &[String]) -> Result<()> {
    run(cargo(root).args(["build", "--workspace", "--bins", "--locked"]))?;
    if !arguments.is_empty() {
        return run(cargo(root).args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(arguments));
    }
    let mut failed = again(all(built(root)?)?)?;
    if run(cargo(root).args(["test", "--workspace", "--locked", "--doc", "--no-fail-fast"])).is_err() {
        failed.push("examples in documents".to_owned());
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// A test executable as cargo built it.
struct Suite {
    /// Such as `git-push push`.
    name: String,
    executable: PathBuf,
    /// The folder of its package, where cargo runs it.
    folder: PathBuf,
}

/// Build every test executable; those of `tests/`, which take longest, first.
fn built(root: &Path) -> Result<VecDeque<Suite>> {
    let mut command = cargo(root);
    command.args(["test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    let mut suites = Vec::new();
    for message in messages(&mut command)? {
        let (Some(executable), Some(manifest)) =
            (message["executable"].as_str(), message["manifest_path"].as_str())
        else {
            continue;
        };
        if message["profile"]["test"] == true {
            let folder = Path::new(manifest).parent().context("a manifest in no folder")?.to_owned();
            let package = folder.file_name().unwrap_or_default().to_string_lossy();
            let target = message["target"]["name"].as_str().unwrap_or_default();
            suites.push(Suite { name: format!("{package} {target}"), executable: executable.into(), folder });
        }
    }
    suites.sort_by_key(|suite| (!suite.folder.starts_with(root.join("tests")), suite.name.clone()));
    Ok(suites.into())
}

/// Tests of one executable that failed; none named where it did not come to say which.
type Failed = (Suite, Vec<String>);

/// Run them all; what failed.
fn all(suites: VecDeque<Suite>) -> Result<Vec<Failed>> {
    let queue = Mutex::new(suites);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> Result<Vec<Failed>> {
        let mut failed = Vec::new();
        while let Some(suite) = next() {
            if let Some(tests) = one(&suite, &[])? {
                failed.push((suite, tests));
            }
        }
        Ok(failed)
    };
    thread::scope(|scope| {
        let workers = [(); SIDE_BY_SIDE].map(|()| scope.spawn(work));
        let failed = workers.map(|w| w.join().unwrap_or_else(|_| bail!("a worker has panicked")));
        Ok(failed.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// Run the failed tests once more, nothing beside them: on a machine that is busy with something else a deadline may pass that is no
/// fault. The names of those that fail again; what passes now is named as well, for it is to be looked at.
fn again(failed: Vec<Failed>) -> Result<Vec<String>> {
    if failed.iter().map(|(_, tests)| tests.len().max(1)).sum::<usize>() > CHANCES {
        return Ok(failed.into_iter().map(|(suite, _)| suite.name).collect());
    }
    let (mut lasting, mut passing) = (Vec::new(), Vec::new());
    for (suite, tests) in failed {
        println!("{}: once more, alone: {}", suite.name, tests.join(", "));
        let kept = if one(&suite, &tests)?.is_none() { &mut passing } else { &mut lasting };
        kept.push(format!("{} ({})", suite.name, tests.join(", ")));
    }
    if !passing.is_empty() {
        println!("PASSED ONLY ALONE, to be looked at: {}", passing.join("; "));
    }
    Ok(lasting)
}

/// Run one, all of it or these tests, and print what it said, whole; which tests failed, if any did.
fn one(suite: &Suite, tests: &[String]) -> Result<Option<Vec<String>>> {
    println!("{}: begins", suite.name);
    let begun = Instant::now();
    let mut command = Command::new(&suite.executable);
    if !tests.is_empty() {
        command.arg("--exact").args(tests);
    }
    let output = command
        .current_dir(&suite.folder)
        .env("CARGO_MANIFEST_DIR", &suite.folder)
        .output()
        .with_context(|| format!("cannot start `{}`", suite.executable.display()))?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!(
        "{}: {} after {}s\n{}{}",
        suite.name,
        if output.status.success() { "passed" } else { "FAILED" },
        begun.elapsed().as_secs(),
        complained.trim_end(),
        said.trim_end_matches('\n')
    );
    Ok((!output.status.success()).then(|| named(&said)))
}

/// The tests that libtest lists at its end as failed.
fn named(said: &str) -> Vec<String> {
    let Some((_, list)) = said.rsplit_once("\nfailures:\n") else { return Vec::new() };
    list.lines().map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn the_failed_tests_are_those_of_the_last_list() {
        let said = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n    x\n\nfailures:\n    a::b\n    c\n\ntest result: FAILED.\n";
        assert_eq!(named(said), ["a::b", "c"]);
        assert_eq!(named("killed"), [""; 0]);
    }
}
