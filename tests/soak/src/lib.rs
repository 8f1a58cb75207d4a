//! Many clients on one branch for a long time, with random faults and kills; afterwards the history is checked.
//!
//! A client sends one request after the other, each by processes of the real binary, over HTTP or SSH, through a proxy that
//! loses what it carries. Requests are for new machines, or change the client's own; some are sent twice at once, and some
//! have a rival for the same machine. A process that is killed, or cannot tell what became of its request, is run again.
#![expect(clippy::print_stdout, reason = "its product is a report for people")]

mod client;
pub mod race;
mod requests;
pub mod size;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::git::history::History;
use testbed::proxy::{Chances, Doors};

use client::Client;

/// How often progress is printed.
const PROGRESS: Duration = Duration::from_secs(10);
/// Shares of what is drawn by lot: of the connections those with a fault, of the accepted pushes those without an answer.
const CHANCES: (f64, f64) = (0.05, 0.1);
/// So many anomalies are printed.
const SHOWN: usize = 20;

/// What a run needs to know.
#[derive(Debug)]
pub struct Options {
    /// `git-push`.
    pub binary: PathBuf,
    /// How long requests are begun; those under way are then brought to their end without further faults.
    pub time: Duration,
    /// Clients at the same time.
    pub clients: u32,
    /// The share of faults and lost answers that are a silence, which holds a client up for a minute, over SSH for four.
    pub silence: f64,
    /// The same seed draws the same lots; in which order they fall is the machine's.
    pub seed: u64,
}

/// What is done and has been met.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    runs: AtomicU64,
    kills: AtomicU64,
    conflicts: AtomicU64,
}

/// What all clients share.
#[derive(Debug)]
struct World {
    binary: PathBuf,
    doors: Doors,
    history: History,
    counts: Counts,
    /// What a client was told and should not have been.
    wrong: Mutex<Vec<String>>,
    until: Instant,
}

impl World {
    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn progress(&self, start: Instant) -> Result<()> {
        let (met, count) = (self.doors.proxy.met(), |n: &AtomicU64| n.load(Ordering::Relaxed));
        println!(
            "{:>4} s: {} requests ({} refused for a rival), {} runs, {} killed; {} commits; {} connections, {} with a fault, {} \
             answers lost",
            start.elapsed().as_secs(),
            count(&self.counts.requests),
            count(&self.counts.conflicts),
            count(&self.counts.runs),
            count(&self.counts.kills),
            self.doors.server.git().log()?.len() - 1,
            met.connections,
            met.faults,
            met.losses,
        );
        Ok(())
    }
}

/// Soak; how many requests were settled, or an error if anything is found that must not be.
pub fn run(options: &Options, doors: Doors) -> Result<u64> {
    println!("soak: {} clients, {} s, seed {}", options.clients, options.time.as_secs(), options.seed);
    let start = Instant::now();
    let history = History::begin(doors.server.git())?;
    let (faults, losses) = CHANCES;
    doors.proxy.draw(Some(Chances::new(options.seed, faults, losses, options.silence)));
    let world = World {
        binary: options.binary.clone(),
        doors,
        history,
        counts: Counts::default(),
        wrong: Mutex::default(),
        until: start + options.time,
    };
    let (alive, ended) = mpsc::channel::<()>();
    let ended = std::thread::scope(|scope| {
        let clients = (0..options.clients).map(|n| {
            let (world, alive) = (&world, alive.clone());
            scope.spawn(move || {
                let ended = Client::new(world, n, options.seed)?.run();
                drop(alive);
                ended
            })
        });
        let clients: Vec<_> = clients.collect();
        drop(alive);
        while ended.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Timeout) {
            if Instant::now() >= world.until {
                world.doors.proxy.draw(None);
            }
            world.progress(start)?;
        }
        clients.into_iter().try_for_each(|client| {
            client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client has panicked")))
        })
    });
    world.progress(start)?;
    let wrong = world.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    let anomalies = world.history.check()?.into_iter().map(|anomaly| format!("{anomaly:?}"));
    let all: Vec<_> = wrong.into_iter().chain(anomalies).collect();
    all.iter().take(SHOWN).for_each(|one| println!("ANOMALY: {one}"));
    let requests = world.counts.requests.into_inner();
    println!("soak: {} anomalies in {requests} requests", all.len());
    ended?;
    ensure!(all.is_empty(), "{} anomalies, with seed {}", all.len(), options.seed);
    Ok(requests)
}
