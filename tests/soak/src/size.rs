//! What one push costs, by the size of the repository that it goes into.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::proxy::{Doors, Over};
use testbed::usage;

use crate::requests::{git_push, lay_out, machine_in, with_git};

/// A namespace that [`testbed::git::Repository::fill`] has put machines into.
const NAMESPACE: &str = "team-0";
/// The least that people do with `git` today for one change: what is not changed is neither fetched nor checked out.
const SPARSE: &str = "git clone --quiet --depth 1 --filter=blob:none --sparse \"$URL\" clone && cd clone && \
                      git sparse-checkout set \"vms/in-cluster/team-0/$ID\" && cp -r ../source/. . && \
                      git add --sparse --all && git commit --quiet --message \"$ID\" && git push --quiet";

/// One push, the median of several; the memory is that of one more.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From the start of the process to its end.
    pub took: Duration,
    /// The most memory that the process had at once, in bytes.
    pub peak: u64,
    /// What went to the server and came from it, in bytes, those of HTTP or SSH among them.
    pub moved: u64,
    /// What of it the server's Git takes to see that a commit is whole (`connected.c`): it reads every folder of the commit before it.
    pub check: Duration,
}

/// So many pushes of a new machine by `git-push`, one after the other.
pub fn ours(binary: &Path, doors: &Doors, over: Over, pushes: u32) -> Result<Cost> {
    let flags = doors.flags(over)?;
    each(doors, "ours", pushes, |place| {
        let mut command = git_push(binary, &place.join("source"), &place.join("results"));
        command.args(&flags).env("TMPDIR", place);
        command
    })
}

/// So many pushes of a new machine with `git`, each into a clone that leaves out whatever can be.
pub fn theirs(doors: &Doors, over: Over, pushes: u32) -> Result<Cost> {
    let (url, ssh) = (doors.url(over)?, doors.ssh_command());
    each(doors, "git", pushes, |place| with_git(SPARSE, place, &url, &ssh))
}

fn each(doors: &Doors, whose: &str, pushes: u32, command: impl Fn(&Path) -> Command) -> Result<Cost> {
    let folder = tempfile::tempdir()?;
    let (mut took, mut peak, mut moved, mut check) = (Vec::new(), 0, Vec::new(), Vec::new());
    // once more than is measured: to look at its memory takes time
    for n in 0..=pushes {
        let name = format!("{whose}-{n}");
        let place = folder.path().join(&name);
        let request = machine_in(NAMESPACE, &name, &name, 1, None);
        lay_out(&request, &place.join("source"))?;
        fs::create_dir_all(place.join("results"))?;
        let (before, start) = (doors.proxy.carried(), Instant::now());
        let output = if n < pushes {
            let output = command(&place).stdin(Stdio::null()).output()?;
            took.push(start.elapsed());
            output
        } else {
            let (output, most) = usage::run(&mut command(&place))?;
            peak = most;
            output
        };
        moved.push(doors.proxy.carried() - before);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{name}` ended with {}:\n{said}", output.status);
        let start = Instant::now();
        doors.server.git().git(&["rev-list", "--objects", "--quiet", "main", "--not", "main~1"])?;
        check.push(start.elapsed());
        let tip = doors.server.git().tip()?;
        for (path, bytes) in &request.files {
            ensure!(
                doors.server.git().read(&tip, path)? == *bytes,
                "`{path}` is not what `{name}` has pushed"
            );
        }
    }
    Ok(Cost { took: median(took)?, peak, moved: median(moved)?, check: median(check)? })
}

fn median<T: Copy + Ord>(mut values: Vec<T>) -> Result<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied().ok_or_else(|| anyhow::anyhow!("there was no push"))
}
