//! What is to be committed.

use std::fmt;
use std::str::FromStr;

use git2::Oid;
use step::{Failure, Kind};

/// The path of a file from the repository's root: parts of `A-Z a-z 0-9 . _ -`, joined by `/`.
///
/// No part is `.` or `..` or begins with `.git` in any case: that covers every spelling by which some file system or Git
/// client takes a name for Git's own folder or settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FilePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > 1000 {
            return Err("a path has 1 to 1000 characters");
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." || part.len() > 255 {
                return Err("a path is relative, without empty parts, `.` and `..`");
            }
            if part.as_bytes().get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b".git")) {
                return Err("no part of a path begins with `.git`");
            }
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
                return Err("a path has no characters but `A-Z a-z 0-9 . _ - /`");
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// A file and what it has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: FilePath,
    /// The whole content.
    pub bytes: Vec<u8>,
}

/// The file that tells whether the change was made already.
#[derive(Debug, Clone)]
pub struct Marker {
    /// Where it is; one of the change's files.
    pub path: FilePath,
    /// The id of the request that the change carries out.
    pub request_id: String,
    /// Reads the request id from such a file; `None` if it is no such file.
    pub read_id: fn(&[u8]) -> Option<String>,
}

/// The files of one commit.
#[derive(Debug, Clone)]
pub struct Change {
    /// The files, each path once.
    pub files: Vec<File>,
    /// Files to remove, none of them among the files to write: each has to be still as it was at the base, or gone.
    pub remove: Vec<FilePath>,
    /// Folders or files that have to be, with all that is in them, as they were at the base: what the change was made from
    /// without writing to all of it.
    pub unchanged: Vec<FilePath>,
    /// Files, and folders whose files, are only added: what is there stays as it is, whatever it holds.
    pub keep: Vec<FilePath>,
    /// How to tell that it was made already; without one it was made if every file is as it has to be, or gone.
    pub marker: Option<Marker>,
    /// The commit (40 hex digits) that the change was made against: a file may be replaced if it is still as it was there.
    /// Without one every file has to be new, and nothing is removed.
    pub base: Option<String>,
    /// What the commit says.
    pub message: Message,
    /// Seconds since 1970 for the commit's time, so that the same change on the same parent is the same commit; without one
    /// it is the parent's.
    pub time: Option<i64>,
}

impl Change {
    /// Every path that it says something about.
    pub(crate) fn paths(&self) -> Vec<&str> {
        let written = self.files.iter().map(|file| &file.path);
        written.chain(&self.remove).chain(&self.unchanged).map(FilePath::as_str).collect()
    }
}

/// One line and trailers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(String);

impl Message {
    /// The longest subject, in bytes.
    const SUBJECT: usize = 200;

    /// A message of one line and `Name: value` trailers. Control and invisible characters are refused in the line; in the
    /// value of a trailer whatever is not `A-Z a-z 0-9 . _ : / @ + = , -` or a space becomes `_`, and it is cut after 200
    /// characters.
    pub fn new(subject: &str, trailers: &[(&'static str, &str)]) -> Result<Self, Failure> {
        let subject = subject.trim();
        // `one_line` leaves a text alone only if every character of it can be shown
        let plain =
            !subject.contains(['\n', '\r', '\t']) && step::one_line(subject, Self::SUBJECT) == subject;
        if subject.is_empty() || !plain {
            let why = "the commit message is not one line of 1 to 200 printable characters";
            return Err(Failure::new(Kind::Usage, why));
        }
        let mut text = format!("{subject}\n");
        for (n, &(name, value)) in trailers.iter().enumerate() {
            let safe = |c: char| if c.is_ascii_alphanumeric() || " ._:/@+=,-".contains(c) { c } else { '_' };
            let value: String = value.trim().chars().take(200).map(safe).collect();
            text.push_str(if n == 0 { "\n" } else { "" });
            text.extend([name, ": ", &value, "\n"]);
        }
        Ok(Self(text))
    }

    /// The whole message.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A commit's id in full, lower case.
pub(crate) fn commit_id(text: &str) -> Option<Oid> {
    let full = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    full.then(|| Oid::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{FilePath, Message};

    #[test]
    fn paths() {
        for text in
            ["a", "vms/in-cluster/team-a/web-1/request.yaml", ".argocd-source.yaml", "a..b/c_d", "A/.gi/t"]
        {
            assert_eq!(text.parse::<FilePath>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
        let (empty, relative, git, characters) = (
            "a path has 1 to 1000 characters",
            "a path is relative, without empty parts, `.` and `..`",
            "no part of a path begins with `.git`",
            "a path has no characters but `A-Z a-z 0-9 . _ - /`",
        );
        for (text, why) in [
            ("", empty),
            ("/etc/passwd", relative),
            ("a//b", relative),
            ("a/", relative),
            ("./a", relative),
            ("a/../b", relative),
            (".git/config", git),
            ("a/.GIT/config", git),
            (".Git", git),
            (".git./config", git),
            (".gitmodules", git),
            (".gitattributes", git),
            (".git /config", git),
            ("git~1/config", characters),
            (".g\u{200c}it/config", characters),
            ("a\\b", characters),
            ("a b", characters),
            ("a\nb", characters),
            ("ä", characters),
            ("a:b", characters),
        ] {
            assert_eq!(text.parse::<FilePath>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_message_is_one_line_and_trailers() {
        let trailers = [("Request-Id", "r-1"), ("Requested-By", "Jörg <j@example.org>\nRequest-Id: x")];
        assert_eq!(
            Message::new("provision vm a/b", &trailers).unwrap().as_str(),
            "provision vm a/b\n\nRequest-Id: r-1\nRequested-By: J_rg _j@example.org__Request-Id: x\n"
        );
        assert_eq!(Message::new("only a subject", &[]).unwrap().as_str(), "only a subject\n");
        for subject in ["", " ", "two\nlines", "a\u{1b}[31m", "a\u{2028}b", "a\u{202e}b", &"x".repeat(201)] {
            assert_eq!(
                Message::new(subject, &[]).unwrap_err().message(),
                "the commit message is not one line of 1 to 200 printable characters",
                "{subject:?}"
            );
        }
    }
}
