//! The repository on the server's disk, by way of git's plumbing and a hermetic configuration.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// No configuration of the machine or its user reaches git, and every commit made here has the same author and time.
pub(super) const ENVIRONMENT: [(&str, &str); 9] = [
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_AUTHOR_NAME", "somebody"),
    ("GIT_AUTHOR_EMAIL", "somebody@example.org"),
    ("GIT_AUTHOR_DATE", "1700000000 +0000"),
    ("GIT_COMMITTER_NAME", "somebody"),
    ("GIT_COMMITTER_EMAIL", "somebody@example.org"),
    ("GIT_COMMITTER_DATE", "1700000000 +0000"),
    ("LC_ALL", "C"),
];

/// A bare repository.
#[derive(Debug, Clone)]
pub struct Repository {
    folder: PathBuf,
}

/// A change to one path of a tree.
#[derive(Debug, Clone)]
pub struct Entry {
    mode: &'static str,
    path: String,
    content: Vec<u8>,
}

impl Entry {
    /// A plain file.
    pub fn file(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { mode: "100644", path: path.into(), content: content.into() }
    }

    /// An executable file.
    pub fn executable(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { mode: "100755", ..Self::file(path, content) }
    }

    /// A symbolic link.
    pub fn link(path: impl Into<String>, target: &str) -> Self {
        Self { mode: "120000", ..Self::file(path, target) }
    }

    /// A submodule, at a commit that is not here.
    pub fn submodule(path: impl Into<String>) -> Self {
        Self { mode: "160000", path: path.into(), content: Vec::new() }
    }

    /// Nothing there any more.
    pub fn absent(path: impl Into<String>) -> Self {
        Self { mode: "0", path: path.into(), content: Vec::new() }
    }
}

impl Repository {
    pub(super) fn create(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let repository = Self { folder };
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."])?;
        for (name, value) in [
            ("http.receivepack", "true"),
            // what forges allow as well; a fetch by commit id is not needed, a deeper fetch is
            ("receive.fsckObjects", "true"),
            // as forges do: a fetch may leave out files and folders
            ("uploadpack.allowFilter", "true"),
            // a repack in the middle of a test would only make its time uneven
            ("gc.auto", "0"),
            ("receive.autogc", "false"),
        ] {
            repository.git(&["config", name, value])?;
        }
        Ok(repository)
    }

    /// One that is there already.
    pub(super) const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Run git in it; what it printed, without the last newline.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments, &[], b"")?;
        Ok(String::from_utf8(output)?.trim_end().to_owned())
    }

    pub(super) fn run(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
        input: &[u8],
    ) -> Result<Vec<u8>> {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(&self.folder)
            .envs(ENVIRONMENT)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `git`")?;
        child.stdin.take().context("no pipe to git")?.write_all(input)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            // `fsck` says on standard output what is wrong
            let said = [output.stderr, output.stdout].concat();
            bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&said).trim());
        }
        Ok(output.stdout)
    }

    /// The commit that `main` is at.
    pub fn tip(&self) -> Result<String> {
        self.git(&["rev-parse", "--verify", "main"])
    }

    /// The commits of `main`, newest first.
    pub fn log(&self) -> Result<Vec<String>> {
        Ok(self.git(&["rev-list", "main"])?.lines().map(str::to_owned).collect())
    }

    /// The commits of `main` that changed `path`, newest first.
    pub fn log_of(&self, path: &str) -> Result<Vec<String>> {
        Ok(self.git(&["rev-list", "main", "--", path])?.lines().map(str::to_owned).collect())
    }

    /// Commits of `main` that have not exactly one parent, the first one included.
    pub fn not_linear(&self) -> Result<usize> {
        let merges = self.git(&["rev-list", "--count", "--min-parents=2", "main"])?;
        let roots = self.git(&["rev-list", "--count", "--max-parents=0", "main"])?;
        Ok(merges.parse::<usize>()? + roots.parse::<usize>()?)
    }

    /// Every path at a commit.
    pub fn files(&self, commit: &str) -> Result<Vec<String>> {
        Ok(self.git(&["ls-tree", "-r", "--name-only", commit])?.lines().map(str::to_owned).collect())
    }

    /// A file at a commit.
    pub fn read(&self, commit: &str, path: &str) -> Result<Vec<u8>> {
        self.run(&["cat-file", "blob", &format!("{commit}:{path}")], &[], b"")
    }

    /// Every object is whole and well formed.
    pub fn fsck(&self) -> Result<()> {
        self.git(&["fsck", "--strict", "--full"]).map(drop)
    }

    /// Install a hook.
    pub fn hook(&self, name: &str, script: &str) -> Result<()> {
        let path = self.folder.join("hooks").join(name);
        fs::create_dir_all(self.folder.join("hooks"))?;
        fs::write(&path, script)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    /// Hold or let go of the lock of `main`, as a push of somebody else does while it is at work.
    pub fn hold_lock(&self, held: bool) -> Result<()> {
        let lock = self.folder.join("refs/heads/main.lock");
        if held { Ok(fs::write(lock, "")?) } else { Ok(fs::remove_file(lock)?) }
    }

    /// A commit on `main` by somebody else; its id.
    pub fn commit(&self, entries: &[Entry], message: &str) -> Result<String> {
        let parent = self.tip().ok();
        let folder = tempfile::tempdir()?;
        let index = folder.path().join("index");
        let index = [("GIT_INDEX_FILE", index.to_str().context("a path that is not UTF-8")?)];
        if let Some(parent) = &parent {
            self.run(&["read-tree", parent], &index, b"")?;
        }
        let mut changes = String::new();
        for Entry { mode, path, content } in entries {
            let id = match *mode {
                "0" => "0".repeat(40),
                "160000" => "1".repeat(40),
                _ => text(self.run(&["hash-object", "-w", "--stdin"], &[], content)?)?,
            };
            changes.extend([mode, " ", &id, "\t", path, "\n"]);
        }
        self.run(&["update-index", "--index-info"], &index, changes.as_bytes())?;
        let tree = text(self.run(&["write-tree"], &index, b"")?)?;
        let mut arguments = vec!["commit-tree", &tree, "-m", message];
        arguments.extend(parent.iter().flat_map(|p| ["-p", p]));
        let commit = self.git(&arguments)?;
        let old = parent.unwrap_or_else(|| "0".repeat(40));
        self.git(&["update-ref", "refs/heads/main", &commit, &old])?;
        Ok(commit)
    }
}

fn text(output: Vec<u8>) -> Result<String> {
    Ok(String::from_utf8(output)?.trim_end().to_owned())
}
