//! A change as people read it.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use gitops::Edit;
use similar::TextDiff;

/// Print a unified diff of each file; the files of the tip are strangers' text, so nothing in it acts on a terminal.
pub(crate) fn print(edits: &[Edit]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(of(edits).as_bytes())?;
    out.flush()
}

/// A unified diff of each file.
pub(crate) fn of(edits: &[Edit]) -> String {
    edits.iter().map(text).collect()
}

fn text(edit: &Edit) -> String {
    let before = edit.before.as_deref().unwrap_or_default();
    let (old, new) =
        (String::from_utf8_lossy(before), String::from_utf8_lossy(edit.after.as_deref().unwrap_or_default()));
    let from = if edit.before.is_some() { format!("a/{}", edit.path) } else { "/dev/null".to_owned() };
    let to = if edit.after.is_some() { format!("b/{}", edit.path) } else { "/dev/null".to_owned() };
    let diff = TextDiff::from_lines(old.as_ref(), new.as_ref());
    let diff = diff.unified_diff().header(&from, &to).to_string();
    let mut shown = String::with_capacity(diff.len());
    for c in diff.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            // writing to a String cannot fail
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use gitops::Edit;

    use super::text;

    fn edit(before: Option<&str>, after: Option<&str>) -> Edit {
        Edit {
            path: "vms/a.yaml".parse().unwrap(),
            before: before.map(|b| b.as_bytes().to_owned()),
            after: after.map(|a| a.as_bytes().to_owned()),
        }
    }

    #[test]
    fn a_changed_file_a_new_one_and_one_that_goes() {
        assert_eq!(
            text(&edit(Some("a: 1\nb: 2\n"), Some("a: 1\nb: 3\n"))),
            "--- a/vms/a.yaml\n+++ b/vms/a.yaml\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n+b: 3\n"
        );
        assert_eq!(
            text(&edit(None, Some("a: 1\n"))),
            "--- /dev/null\n+++ b/vms/a.yaml\n@@ -0,0 +1 @@\n+a: 1\n"
        );
        assert_eq!(
            text(&edit(Some("a: 1\n"), None)),
            "--- a/vms/a.yaml\n+++ /dev/null\n@@ -1 +0,0 @@\n-a: 1\n"
        );
    }

    #[test]
    fn nothing_acts_on_a_terminal() {
        assert_eq!(
            text(&edit(Some("\u{1b}[2Ja\n"), Some("b\n"))),
            "--- a/vms/a.yaml\n+++ b/vms/a.yaml\n@@ -1 +1 @@\n-\\u{1b}[2Ja\n+b\n"
        );
    }
}
