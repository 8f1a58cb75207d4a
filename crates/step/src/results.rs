//! Tekton results: small files that later tasks and people read.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::text::one_line;

/// How it ended, one word: `ok` or [`crate::Kind::word`].
pub const OUTCOME: &str = "outcome";
/// The last line: what was done, or what went wrong and the way out.
pub const MESSAGE: &str = "message";
/// `true` if the step changed anything that lasts, else `false`.
pub const CHANGED: &str = "changed";
/// The results that every step has.
pub const EVERY_STEP: [&str; 3] = [OUTCOME, MESSAGE, CHANGED];

/// All results of a step together stay below this many bytes: names, values, and what Tekton adds for each. Tekton puts
/// the results of all steps of a pod into termination messages of 4096 bytes (tektoncd/pipeline docs/tasks.md).
pub const LIMIT: usize = 1220;
/// All results of all steps of one task stay below this many bytes, reckoned as Tekton writes them: the kubelet shares 12 KiB
/// among the containers of a pod, and each step's message holds what the steps before it wrote as well. Enough for a pod of
/// five steps and Tekton's init container (2048 bytes each, less the 80 of the start time that Tekton adds).
pub const TASK_LIMIT: usize = 1968;
/// `{"key":"","value":"","type":1},`: what Tekton's JSON adds around each name and value.
const JSON: usize = 31;
/// What Tekton's JSON adds around each name and value in the termination message.
const OVERHEAD: usize = 24;

/// What a message keeps in any case, in bytes: the reason; what comes after it is a hint.
const LEAST_MESSAGE: usize = 200;

/// What the steps before this one left beside `outcome_path`, in bytes, without what will be written anew.
pub(crate) fn there(outcome_path: &Path, values: &BTreeMap<&'static str, String>) -> usize {
    let Ok(entries) = fs::read_dir(folder(outcome_path)) else { return 0 };
    let ours = |name: &str| values.contains_key(name) || name.starts_with('.');
    let size = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap_or_default();
        // what is larger than all results together may be is none of them
        let file =
            entry.metadata().ok().filter(fs::Metadata::is_file).and_then(|f| usize::try_from(f.len()).ok());
        file.filter(|size| *size <= TASK_LIMIT && !ours(&name)).map_or(0, |size| name.len() + size + JSON)
    };
    entries.flatten().map(size).sum()
}

/// Make `values` fit: one line each; the message gives way first, also to the `there` bytes of other steps; then whatever is
/// longest.
pub(crate) fn fit(values: BTreeMap<&'static str, String>, there: usize) -> BTreeMap<&'static str, String> {
    let mut values: BTreeMap<_, _> = values.into_iter().map(|(k, v)| (k, one_line(&v, LIMIT))).collect();
    let over = |values: &BTreeMap<&'static str, String>, each: usize, limit: usize| {
        let used: usize = values.iter().map(|(name, value)| name.len() + value.len() + each).sum();
        used.saturating_sub(limit)
    };
    let too_much = over(&values, OVERHEAD, LIMIT).max(over(&values, JSON, TASK_LIMIT.saturating_sub(there)));
    if let Some(message) = values.get_mut(MESSAGE).filter(|m| too_much > 0 && m.len() > LEAST_MESSAGE) {
        *message = one_line(message, message.len().saturating_sub(too_much).max(LEAST_MESSAGE));
    }
    while over(&values, OVERHEAD, LIMIT) > 0 {
        let half = values.values().map(String::len).max().unwrap_or_default() / 2;
        for value in values.values_mut().filter(|value| value.len() > half) {
            *value = one_line(value, half);
        }
        if half == 0 {
            break;
        }
    }
    values
}

/// Write each value to a file of its name beside `outcome_path`: to a temporary file first, then renamed, so that a
/// reader sees a whole value or none. No newline is added, Tekton would keep it.
pub(crate) fn write(outcome_path: &Path, values: &BTreeMap<&'static str, String>) -> io::Result<()> {
    let folder = folder(outcome_path);
    fs::create_dir_all(folder)?;
    for (name, value) in values {
        let path = if *name == OUTCOME { outcome_path.to_owned() } else { folder.join(name) };
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        // not synced to the disk: a pod does not outlive its node, and twenty results would wait for it twenty times
        fs::write(&temporary, value)?;
        fs::rename(&temporary, path)?;
    }
    Ok(())
}

fn folder(outcome_path: &Path) -> &Path {
    outcome_path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{JSON, LIMIT, MESSAGE, OVERHEAD, TASK_LIMIT, fit, there, write};

    fn size(values: &BTreeMap<&'static str, String>) -> usize {
        values.iter().map(|(k, v)| k.len() + v.len() + OVERHEAD).sum()
    }

    #[test]
    fn the_message_gives_way_and_identifiers_stay_whole() {
        let values = BTreeMap::from([
            (MESSAGE, "m".repeat(5000)),
            ("commit", "c".repeat(40)),
            ("outcome", "failed".to_owned()),
        ]);
        let fitted = fit(values, 0);
        assert!(size(&fitted) <= LIMIT, "{}", size(&fitted));
        assert_eq!(fitted["commit"], "c".repeat(40));
        assert!(fitted[MESSAGE].ends_with('…') && fitted[MESSAGE].len() > 500);
    }

    #[test]
    fn whatever_the_values_are_they_fit() {
        let values: BTreeMap<_, _> = [MESSAGE, "a", "b"].map(|n| (n, "x\n".repeat(2000))).into();
        assert!(size(&fit(values, 0)) <= LIMIT);
    }

    #[test]
    fn steps_of_one_task_share_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = folder.path().join("outcome");
        let first = BTreeMap::from([("outcome", "ok".to_owned()), ("application", "a".repeat(1000))]);
        write(&outcome, &first).unwrap();
        let values = BTreeMap::from([
            ("outcome", "failed".to_owned()),
            ("commit", "c".repeat(40)),
            (MESSAGE, "m".repeat(900)),
        ]);
        let before = there(&outcome, &values);
        assert_eq!(before, 1000 + "application".len() + JSON);
        let fitted = fit(values, before);
        let used: usize = fitted.iter().map(|(k, v)| k.len() + v.len() + JSON).sum();
        assert!(before + used <= TASK_LIMIT, "{before} + {used}");
        assert_eq!(fitted["commit"], "c".repeat(40));
        assert!(fitted[MESSAGE].ends_with('…') && fitted[MESSAGE].len() > 500);
    }

    #[test]
    fn files_hold_the_value_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = folder.path().join("results/outcome");
        write(&outcome, &BTreeMap::from([("outcome", "ok".to_owned()), ("ip", String::new())])).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(outcome.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ip", "outcome"]);
        assert_eq!(std::fs::read_to_string(outcome).unwrap(), "ok");
    }
}
