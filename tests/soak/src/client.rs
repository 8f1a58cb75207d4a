//! One client: a request, the processes that carry it out, the next.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use testbed::git::history::{Request, Run, Told};
use testbed::proxy::Over;

use crate::World;
use crate::requests::{git_push, lay_out, machine};

/// The share of runs that are killed, and how long the luckiest of those live.
const KILLED: f64 = 0.15;
const LIFE: Duration = Duration::from_secs(4);
/// A request that is not settled after so many runs never will be.
const RUNS: usize = 50;
/// How soon the end of a process, or the moment to kill it, is seen.
const GLANCE: Duration = Duration::from_millis(20);

/// How a request ended for good.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// By this commit.
    Made(String),
    /// Exit code 20.
    Conflict,
    /// Anything else, with the last line.
    Other(String),
}

/// A machine that is this client's alone.
struct Machine {
    name: String,
    cpu: u16,
    commit: String,
}

pub(crate) struct Client<'a> {
    world: &'a World,
    number: u32,
    random: StdRng,
    folder: TempDir,
    machines: Vec<Machine>,
    sent: u32,
}

impl<'a> Client<'a> {
    pub(crate) fn new(world: &'a World, number: u32, seed: u64) -> Result<Self> {
        let random = StdRng::seed_from_u64(seed.wrapping_add(u64::from(number) + 1));
        Ok(Self { world, number, random, folder: tempfile::tempdir()?, machines: Vec::new(), sent: 0 })
    }

    /// One request after the other until the time is over.
    pub(crate) fn run(mut self) -> Result<()> {
        while Instant::now() < self.world.until {
            self.sent += 1;
            let (id, name) =
                (format!("r-{}-{}", self.number, self.sent), format!("vm-{}-{}", self.number, self.sent));
            match self.random.random_range(0..10) {
                0 => self.rivals(&id, &name)?,
                1 => self.twice(&machine(&id, &name, 1, None))?,
                2..=5 if !self.machines.is_empty() => self.change(&id)?,
                _ => self.create(&id, name)?,
            }
        }
        Ok(())
    }

    /// A new machine.
    fn create(&mut self, id: &str, name: String) -> Result<()> {
        let [outcome] = self.settle([machine(id, &name, 1, None)])?;
        match outcome {
            Outcome::Made(commit) => self.machines.push(Machine { name, cpu: 1, commit }),
            other => self.world.wrong(format!("request `{id}` for a new machine: {other:?}")),
        }
        Ok(())
    }

    /// One of our machines, once more.
    fn change(&mut self, id: &str) -> Result<()> {
        let index = self.random.random_range(0..self.machines.len());
        let Machine { name, cpu, commit } = &self.machines[index];
        let cpu = cpu + 1;
        let request = machine(id, name, cpu, Some(commit));
        let [outcome] = self.settle([request])?;
        match outcome {
            Outcome::Made(commit) => {
                let machine = &mut self.machines[index];
                (machine.cpu, machine.commit) = (cpu, commit);
            }
            other => self.world.wrong(format!("request `{id}` for a machine of one's own: {other:?}")),
        }
        Ok(())
    }

    /// The same request by two processes at once.
    fn twice(&mut self, request: &Request) -> Result<()> {
        let outcomes = self.settle([request.clone(), request.clone()])?;
        if !matches!(&outcomes, [Outcome::Made(one), Outcome::Made(other)] if one == other) {
            self.world.wrong(format!("request `{}` twice at once: {outcomes:?}", request.id));
        }
        Ok(())
    }

    /// Two requests for one new machine: one is made, the other told.
    fn rivals(&mut self, id: &str, name: &str) -> Result<()> {
        let request = |letter, cpu| machine(&format!("{id}-{letter}"), name, cpu, None);
        let outcomes = self.settle([request('a', 1), request('b', 2)])?;
        match outcomes {
            [Outcome::Made(_), Outcome::Conflict] | [Outcome::Conflict, Outcome::Made(_)] => {
                self.world.counts.conflicts.fetch_add(1, Ordering::Relaxed);
            }
            other => self.world.wrong(format!("requests `{id}-a` and `{id}-b` for one machine: {other:?}")),
        }
        Ok(())
    }

    /// Run each, all at once, until it is told for good.
    fn settle<const N: usize>(&mut self, requests: [Request; N]) -> Result<[Outcome; N]> {
        let mut runs = requests.map(|request| (request, StdRng::seed_from_u64(self.random.random())));
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let (world, folder) = (self.world, folder.path());
        let outcomes = std::thread::scope(|scope| {
            let mut number = 0;
            let threads = runs.each_mut().map(|(request, random)| {
                number += 1;
                let place = folder.join(number.to_string());
                scope.spawn(move || settle(world, request, random, &place))
            });
            threads.map(|thread| thread.join().unwrap_or_else(|_| bail!("a client has panicked")))
        });
        self.world.counts.requests.fetch_add(N as u64, Ordering::Relaxed);
        let outcomes: Vec<Outcome> = outcomes.into_iter().collect::<Result<_>>()?;
        outcomes.try_into().map_err(|_| anyhow::anyhow!("not an outcome each"))
    }
}

/// Run one request until it is told for good.
fn settle(world: &World, request: &Request, random: &mut StdRng, folder: &Path) -> Result<Outcome> {
    lay_out(request, &folder.join("source"))?;
    for n in 0..RUNS {
        let (code, commit, last) = once(world, request, random, folder, &folder.join(n.to_string()))?;
        match code {
            Some(0) => return Ok(Outcome::Made(commit)),
            Some(20) => return Ok(Outcome::Conflict),
            None | Some(50 | 51) => {}
            Some(code) => return Ok(Outcome::Other(format!("{code}: {last}"))),
        }
    }
    Ok(Outcome::Other(format!("not settled in {RUNS} runs")))
}

/// One process: its exit code (none if it was killed), the commit and the last line that it wrote.
fn once(
    world: &World,
    request: &Request,
    random: &mut StdRng,
    folder: &Path,
    results: &Path,
) -> Result<(Option<i32>, String, String)> {
    let over = Over::ALL.choose(random).copied().unwrap_or(Over::Http);
    let life = random.random_bool(KILLED).then(|| LIFE.mul_f64(random.random()));
    fs::create_dir_all(results)?;
    let log = fs::File::create(results.join("log"))?;
    let mut command = git_push(&world.binary, &folder.join("source"), results);
    command
        .arg("--timeout=10m")
        .args(request.base.iter().map(|base| format!("--base={base}")))
        .args(world.doors.flags(over)?)
        .env("TMPDIR", results)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", world.binary.display()))?;
    let mut killed = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if !killed && life.is_some_and(|life| began.elapsed() >= life) {
            child.kill()?;
            killed = true;
        }
        std::thread::sleep(GLANCE);
    };
    let ended = Instant::now();
    world.counts.runs.fetch_add(1, Ordering::Relaxed);
    world.counts.kills.fetch_add(u64::from(status.code().is_none()), Ordering::Relaxed);
    let commit = fs::read_to_string(results.join("commit")).unwrap_or_default();
    let log = fs::read_to_string(results.join("log"))?;
    let last = log.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default().to_owned();
    let told = Told::new(status.code(), &commit);
    world.history.ran(Run { request: request.clone(), told, began, ended });
    // what a killed process leaves in its folder is not needed any more
    fs::remove_dir_all(results)?;
    Ok((status.code(), commit, last))
}
