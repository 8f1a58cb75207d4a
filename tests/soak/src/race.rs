//! Many writers on one branch at once, each with one request: ours, and the loop that people write with `git` today.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use testbed::git::history::{History, Request, Run, Told};
use testbed::proxy::{Doors, Over};

use crate::requests::{git_push, lay_out, machine, with_git};

/// What each writer of a loop does: a change of one machine committed, then pulled and pushed until it is there.
const LOOP: &str = "git clone --quiet --depth 1 \"$URL\" clone && cd clone && cp -r ../source/. . && git add --all && \
                    git commit --quiet --message \"$ID\" || exit 1\n\
                    until git push --quiet; do echo again; git pull --quiet --rebase || git rebase --abort; done";

/// How a race ended.
#[derive(Debug)]
pub struct Finish {
    /// From the start of the first writer to the end of the last.
    pub took: Duration,
    /// How often each writer tried, in ascending order.
    pub attempts: Vec<usize>,
    /// How long each took, in ascending order.
    pub times: Vec<Duration>,
}

impl Finish {
    fn new(took: Duration, each: impl IntoIterator<Item = (usize, Duration)>) -> Self {
        let (mut attempts, mut times): (Vec<_>, Vec<_>) = each.into_iter().unzip();
        attempts.sort_unstable();
        times.sort_unstable();
        Self { took, attempts, times }
    }

    /// Half of them needed no more than this, 95 of 100 no more than that, none more than the last.
    pub fn quantiles<T: Copy>(ascending: &[T]) -> Option<[T; 3]> {
        let at =
            |percent: usize| ascending.get((ascending.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some([at(50)?, at(95)?, at(100)?])
    }
}

/// So many processes of `git-push` at once, each with a machine of its own; an error if one of them does not get its commit, or the
/// history is not as they were told.
pub fn ours(binary: &Path, doors: &Doors, over: Over, writers: u32) -> Result<Finish> {
    let history = History::begin(doors.server.git())?;
    let folder = tempfile::tempdir()?;
    let requests = requests("ours", folder.path(), writers)?;
    let flags = doors.flags(over)?;
    let start = Instant::now();
    let ended = at_once(&requests, folder.path(), |place| {
        let mut command = git_push(binary, &place.join("source"), &place.join("results"));
        command.arg("--timeout=30m").args(&flags).env("TMPDIR", place);
        command
    });
    let took = start.elapsed();
    let mut each = Vec::new();
    for (request, ended) in requests.into_iter().zip(ended) {
        let (output, began, ended) = ended?;
        let said = String::from_utf8_lossy(&output.stderr);
        each.push((1 + said.lines().filter(|line| line.contains(" to push: ")).count(), ended - began));
        let commit = fs::read_to_string(folder.path().join(&request.id).join("results/commit"))?;
        history.ran(Run { told: Told::new(output.status.code(), &commit), request, began, ended });
    }
    let anomalies = history.check()?;
    ensure!(anomalies.is_empty(), "not as they were told: {anomalies:?}");
    Ok(Finish::new(took, each))
}

/// So many loops of `git pull --rebase` and `git push` at once, each with a machine of its own; an error if one of them does not get
/// its commit.
pub fn loops(doors: &Doors, over: Over, writers: u32) -> Result<Finish> {
    let folder = tempfile::tempdir()?;
    let requests = requests("loop", folder.path(), writers)?;
    let (url, ssh) = (doors.url(over)?, doors.ssh_command());
    let before = doors.server.git().log()?.len();
    let start = Instant::now();
    let ended = at_once(&requests, folder.path(), |place| with_git(LOOP, place, &url, &ssh));
    let took = start.elapsed();
    let mut each = Vec::new();
    for ended in ended {
        let (output, began, ended) = ended?;
        let again = String::from_utf8_lossy(&output.stdout).lines().count();
        each.push((1 + again, ended - began));
    }
    let made = doors.server.git().log()?.len() - before;
    ensure!(made == writers as usize, "{made} commits of {writers} loops");
    Ok(Finish::new(took, each))
}

/// A request for a new machine for each, with its files laid out in a folder of its name.
fn requests(whose: &str, folder: &Path, writers: u32) -> Result<Vec<Request>> {
    (0..writers)
        .map(|n| {
            let request = machine(&format!("{whose}-{n}"), &format!("{whose}-{n}"), 1, None);
            lay_out(&request, &folder.join(&request.id).join("source"))?;
            fs::create_dir_all(folder.join(&request.id).join("results"))?;
            Ok(request)
        })
        .collect()
}

/// Run the command of each, which is told its folder, all at once; what each left, when it was begun and when it ended. One that fails
/// is an error.
fn at_once(
    requests: &[Request],
    folder: &Path,
    command: impl Fn(&Path) -> Command + Sync,
) -> Vec<Result<(Output, Instant, Instant)>> {
    let run = |id: &str| {
        let mut command = command(&folder.join(id));
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output();
        let (output, ended) = (output.with_context(|| format!("cannot start `{id}`"))?, Instant::now());
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{id}` ended with {}:\n{said}", output.status);
        Ok((output, began, ended))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = requests.iter().map(|request| scope.spawn(|| run(&request.id))).collect();
        let ended = threads.into_iter().map(|t| t.join().unwrap_or_else(|_| bail!("a writer has panicked")));
        ended.collect()
    })
}
