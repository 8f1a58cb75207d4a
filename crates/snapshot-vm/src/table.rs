//! What there is, for people.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use cluster::VIRTUAL_MACHINE_SNAPSHOT;
use jiff::Timestamp;
use serde_json::Value;
use snapshots::{Work, text};
use step::{Done, Failure, Kind};
use vm::conditions::snapshot::{included_volumes, indications};

use crate::wanted::{Wanted, is_of};
use crate::{INCLUDED_VOLUMES, INDICATIONS, SNAPSHOT_NAME, SNAPSHOT_UID};

const HEAD: [&str; 6] = ["NAME", "STATUS", "READY", "AGE", "VOLUMES", "INDICATIONS"];

/// Print the machine's snapshots, the newest first.
pub(crate) async fn list(work: &Work, wanted: &Wanted, output: Option<&Path>) -> Result<Done, Failure> {
    let all = work.list(VIRTUAL_MACHINE_SNAPSHOT, wanted.vm.namespace()).await?;
    let mut mine: Vec<&Value> = all.iter().filter(|s| is_of(s, wanted.vm.name())).collect();
    mine.sort_by_key(|s| std::cmp::Reverse(text(s, "/metadata/creationTimestamp")));
    let ready = |s: &&&Value| s.pointer("/status/readyToUse") == Some(&Value::Bool(true));
    if let Some(newest) = mine.iter().find(ready) {
        result(work, newest);
    }
    let now = Timestamp::now();
    let rows: Vec<[String; 6]> = mine.iter().map(|s| row(s, now)).collect();
    print(output, &table(&rows))?;
    Ok(Done::new(format!("virtual machine `{}` has {} snapshots", wanted.vm, mine.len())))
}

/// Tell of one snapshot in the results.
pub(crate) fn result(work: &Work, snapshot: &Value) {
    let words: Vec<String> = indications(snapshot).into_iter().map(|(word, _)| word).collect();
    work.context.result(SNAPSHOT_NAME, text(snapshot, "/metadata/name"));
    work.context.result(SNAPSHOT_UID, text(snapshot, "/metadata/uid"));
    work.context.result(INDICATIONS, words.join(","));
    work.context.result(INCLUDED_VOLUMES, included_volumes(snapshot).join(","));
}

fn row(snapshot: &Value, now: Timestamp) -> [String; 6] {
    let word = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let ready = snapshot.pointer("/status/readyToUse") == Some(&Value::Bool(true));
    let words: Vec<String> = indications(snapshot).into_iter().map(|(word, _)| word).collect();
    [
        word(text(snapshot, "/metadata/name")),
        word(text(snapshot, "/status/phase")),
        ready.to_string(),
        age(text(snapshot, "/metadata/creationTimestamp"), now),
        word(&included_volumes(snapshot).join(",")),
        word(&words.join(",")),
    ]
}

/// As `kubectl` has it: one unit, the largest.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "-".to_owned() };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        s if s < 120 => format!("{s}s"),
        s if s < 2 * 3600 => format!("{}m", s / 60),
        s if s < 48 * 3600 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

fn table(rows: &[[String; 6]]) -> String {
    let head = HEAD.map(str::to_owned);
    let rows: Vec<&[String; 6]> = std::iter::once(&head).chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|r| r.get(column)).map(String::len).max().unwrap_or_default();
            // writing to a String cannot fail
            let _ = write!(line, "{cell:<width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Write to the file, or to standard output.
pub(crate) fn print(output: Option<&Path>, text: &str) -> Result<(), Failure> {
    let written = match output {
        Some(path) => std::fs::write(path, text),
        None => std::io::stdout().write_all(text.as_bytes()),
    };
    let to = output.map_or_else(|| "standard output".to_owned(), |path| format!("`{}`", path.display()));
    written.map_err(|e| Failure::new(Kind::Usage, format!("cannot write to {to}: {e}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{age, row, table};

    #[test]
    fn the_table_has_a_line_a_snapshot() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let one = json!({
            "metadata": {"name": "web01-1a2b3c4d5e", "creationTimestamp": "2026-11-21T11:00:00Z"},
            "status": {"phase": "Succeeded", "readyToUse": true, "snapshotVolumes": {"includedVolumes": ["root", "data"]},
                "indications": ["NoGuestAgent", "Online"]}
        });
        let new = json!({"metadata": {"name": "new", "creationTimestamp": "2026-11-21T12:00:00Z"}});
        assert_eq!(
            table(&[row(&one, now), row(&new, now)]),
            "NAME               STATUS      READY   AGE   VOLUMES     INDICATIONS\n\
             web01-1a2b3c4d5e   Succeeded   true    60m   root,data   NoGuestAgent,Online\n\
             new                -           false   0s    -           -\n"
        );
    }

    #[test]
    fn an_age_has_one_unit() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        for (since, word) in [
            ("2026-11-21T11:58:30Z", "90s"),
            ("2026-11-21T10:30:00Z", "90m"),
            ("2026-11-19T18:00:00Z", "42h"),
            ("2026-10-22T12:00:00Z", "30d"),
            ("2026-11-21T12:00:05Z", "0s"),
            ("", "-"),
        ] {
            assert_eq!(age(since, now), word, "{since}");
        }
    }
}
