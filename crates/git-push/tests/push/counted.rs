//! What is refused and what passes: the exit code, the one line, how much is asked of the server meanwhile, and when it ends.
//!
//! Rows 8 to 10 of the promises, each over HTTP and, where it has a meaning there, over SSH. Each test prints its part of the table:
//! row, what is wrong, exit code, last line, requests (connections over SSH), seconds in all and over the time that it had.

use std::fs;
use std::time::{Duration, Instant};

use testbed::git::{Fault, On};
use testbed::proxy::{self, After, Doors, Ending, Over};

use crate::support::{Case, LOCKED, one_commit};

/// The most requests of a push that meets no trouble: three or four to see what is there, two to push; and two to look what became of it.
const PUSH: usize = 8;
/// As many again for the attempt that follows soon after the first trouble. From then on it is one a second.
const SOON: usize = 8;
/// How long a refusal may take, and how much longer than to its deadline a run that gives up.
const LATE: Duration = Duration::from_secs(5);
/// So much more is for a machine that has other things to do, as far as it had.
const BUSY: Duration = Duration::from_secs(15);
/// Seconds until the deadline of a run that gives up. The first will do, but on a starved machine it may be over before the server has
/// heard of the run; and whatever is too slow is tried again.
const DEADLINES: [u64; 4] = [6, 18, 54, 162];
/// The same for a run that has to end before it.
const NEVER: u64 = 120;
/// Rows that run at once, most of them waiting.
const BESIDE: usize = 8;
/// More faults than any run meets.
const ALWAYS: usize = 1000;

/// What is wrong with the server.
#[derive(Debug, Clone)]
enum Wrong {
    /// So many requests of this kind meet this.
    Request(On, Fault, usize),
    /// So many connections do.
    Connection(proxy::Fault, usize),
    /// The same, by TLS.
    Handshake(proxy::Fault, usize),
    /// Its name leads nowhere.
    Name,
    /// A hook of this name says these words, and no.
    Hook(&'static str, &'static str),
    /// Its Git is configured so.
    Config(&'static str, &'static str),
    /// Over SSH it lets us read alone, and says these words.
    OnlyRead(&'static str),
    /// Over SSH it does not know the key.
    Key,
    /// Somebody else holds the lock of the branch for so many seconds, or for ever.
    Lock(Option<u64>),
}

/// How a run has to end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// By one attempt, with this code and these words.
    Refused(i32, &'static str, &'static str),
    /// It is pushed all the same.
    Pushed,
    /// It is pushed, as is found at its deadline.
    Found,
    /// At its deadline, with this code and these words.
    GivesUp(i32, &'static str, &'static str),
}

// how the line begins, to the reason
const READ: &str = "cannot read branch `main` at `HOST`: ";
const TO: &str = "cannot push to branch `main` at `HOST`: ";
const TELL: &str = "cannot tell whether the push to branch `main` at `HOST` was accepted: ";

/// What a reset is seen as, and what it may be where our kernel hears of the end before.
const RESET: &str = "Connection reset by peer";
const ENDED: &str = "the connection was closed in the midst of an answer";

#[derive(Debug, Clone)]
struct Row(u8, Over, Wrong, End);

/// A server with what is wrong with it, and what a run needs to reach it.
struct World {
    doors: Doors,
    host: String,
    flags: Vec<String>,
}

impl World {
    async fn of(Row(_, over, wrong, _): &Row) -> Self {
        let secure = matches!(wrong, Wrong::Handshake(..));
        let doors = if secure { Doors::secure().await } else { Doors::open().await }.unwrap();
        let (git, mut flags) = (doors.server.git(), doors.flags(*over).unwrap().to_vec());
        let mut host = doors.host(*over);
        match wrong {
            Wrong::Request(on, fault, times) => {
                (0..*times).for_each(|_| doors.server.fault(*on, fault.clone()));
            }
            Wrong::Connection(fault, times) | Wrong::Handshake(fault, times) => {
                (0..*times).for_each(|_| doors.proxy.fault(Some(*fault)));
            }
            Wrong::Name => {
                // RFC 6761: there is no such host anywhere
                "machines.invalid".clone_into(&mut host);
                flags[0] = format!("--url=https://{host}/machines.git");
            }
            Wrong::Hook(name, words) => {
                git.hook(name, &format!("#!/bin/sh\necho '{words}' >&2\nexit 1\n")).unwrap();
            }
            Wrong::Config(name, value) => drop(git.git(&["config", name, value]).unwrap()),
            Wrong::OnlyRead(words) => doors.only_read(words).unwrap(),
            Wrong::Key => doors.refuse_key().unwrap(),
            Wrong::Lock(_) => git.hold_lock(true).unwrap(),
        }
        if secure {
            flags.push(doors.authorities());
        }
        Self { doors, host, flags }
    }

    /// What the server was asked by HTTP, of which some never comes so far; over SSH how often.
    fn asked(&self) -> usize {
        let connections = usize::try_from(self.doors.proxy.met().connections).unwrap();
        self.doors.server.seen().len().max(connections)
    }

    fn pushes(&self) -> usize {
        self.doors.server.seen().iter().filter(|seen| seen.on == On::Push).count()
    }
}

/// For how long something on this machine has waited for a processor so far; `None` where the system does not count it.
fn pressed() -> Option<Duration> {
    // the kernel's accounting/psi.rst: microseconds, at the end of the first line
    let text = fs::read_to_string("/proc/pressure/cpu").ok()?;
    let total = text.lines().next()?.rsplit_once("total=")?.1.parse().ok()?;
    Some(Duration::from_micros(total))
}

/// Run it once. What is true of every run is checked; whether it ended as it has to, and in time, is the answer.
fn run(row: &Row, world: &World, deadline: u64) -> bool {
    let (Row(number, over, wrong, end), server) = (row, &world.doors.server);
    let case = Case::new(server, "r-1", "web", 1);
    let mut command = case.bare("results", &[&format!("--timeout={deadline}s")]);
    let (start, before) = (Instant::now(), pressed());
    let child = command.args(&world.flags).spawn().unwrap();
    let ended = std::thread::scope(|scope| {
        if let Wrong::Lock(Some(held)) = *wrong {
            scope.spawn(move || {
                // the time is what is promised
                std::thread::sleep(Duration::from_secs(held));
                server.git().hold_lock(false).unwrap();
            });
        }
        case.ended("results", child, start)
    });
    let errors: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), usize::from(ended.code != 0), "{row:?}: {}", ended.stderr);
    let line = ended.last(server).1.replace(&world.host, "HOST");
    let refused = matches!(end, End::Refused(..));
    let over_time =
        if refused { ended.took } else { ended.took.saturating_sub(Duration::from_secs(deadline)) };
    let asked = world.asked();
    println!(
        "{number} | {over:?} {wrong:?} | {} | {line} | {asked} | {:.1} | {:.1}",
        ended.code,
        ended.took.as_secs_f64(),
        over_time.as_secs_f64()
    );
    let seconds = usize::try_from(ended.took.as_secs()).unwrap();
    let most = if refused { PUSH } else { PUSH + SOON + seconds };
    assert!(asked <= most, "{row:?}: {asked} requests in {seconds} s: {}", ended.stderr);
    let commits = server.git().log().unwrap().len() - 1;
    let busy = before.zip(pressed()).map_or(BUSY, |(before, now)| now.saturating_sub(before).min(BUSY));
    let in_time = over_time <= LATE + busy;
    let ends = |code: i32, begin: &str, words: &str| {
        assert_eq!(commits, 0, "{row:?}: {}", ended.stderr);
        let wanted = format!("error: {begin}{words}");
        // what a system says of a name differs
        let same = if words.ends_with(": ") { line.starts_with(&wanted) } else { line == wanted };
        // a reset may be seen as soon as there is a connection, or where it ends
        let reset = (words.ends_with(RESET) || words == ENDED)
            && line.starts_with(&format!("error: {begin}"))
            && line.ends_with(RESET);
        ended.code == code && (same || reset)
    };
    in_time
        && match *end {
            End::Refused(code, begin, words) => {
                assert!(world.pushes() <= 1, "{row:?}: {} pushes", world.pushes());
                ends(code, begin, words)
            }
            End::GivesUp(code, begin, words) => {
                assert!([50, 51].contains(&ended.code), "{row:?}: {}", ended.stderr);
                ends(code, begin, words)
            }
            End::Pushed | End::Found => ended.code == 0 && one_commit(server, "web") == ended.commit(),
        }
}

/// Each row, several at once; what is not as it has to be is tried again with more time.
async fn all(rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for rows in rows.chunks(BESIDE) {
        let mut left = rows.to_vec();
        for deadline in DEADLINES {
            let mut worlds = Vec::new();
            for row in left {
                worlds.push((World::of(&row).await, row));
            }
            left = std::thread::scope(|scope| {
                let run = |(world, row): &(World, Row)| {
                    let ends_before = matches!(row.3, End::Refused(..) | End::Pushed);
                    run(row, world, if ends_before { NEVER } else { deadline })
                };
                let runs: Vec<_> = worlds.iter().map(|one| scope.spawn(move || run(one))).collect();
                let ends = runs.into_iter().map(|run| run.join().unwrap());
                ends.zip(&worlds).filter(|(well, _)| !well).map(|(_, (_, row))| row.clone()).collect()
            });
        }
        wrong.extend(left);
    }
    assert!(wrong.is_empty(), "{} rows end otherwise: {wrong:#?}", wrong.len());
}

#[tokio::test]
async fn row_8_refused_is_refused_at_once() {
    const GH006: &str = "error: GH006: Protected branch update failed for refs/heads/main.";
    let mut rows = Vec::new();
    for over in Over::ALL {
        let hook = "pre-receive hook declined: no machines on Fridays";
        let branch = "hook declined: error: GH006: Protected branch update failed for refs/heads/main. error: hook declined to \
                      update refs/heads/main";
        let quota = "unpacker error: fatal: pack exceeds maximum allowed size";
        rows.extend([
            Row(8, over, Wrong::Hook("pre-receive", "no machines on Fridays"), End::Refused(31, TO, hook)),
            Row(8, over, Wrong::Hook("update", GH006), End::Refused(31, TO, branch)),
            Row(8, over, Wrong::Config("receive.maxInputSize", "100"), End::Refused(31, TO, quota)),
        ]);
    }
    rows.push(Row(8, Over::Ssh, Wrong::Key, End::Refused(30, READ, "it refuses the key")));
    for (on, begin) in [(On::FetchRefs, READ), (On::Fetch, READ), (On::PushRefs, TO), (On::Push, TO)] {
        let wrong = |status| Wrong::Request(on, Fault::Status(status, None), ALWAYS);
        let (denied, large) = ("http status 403, access denied", "http status 413, too large");
        rows.push(Row(8, Over::Http, wrong(403), End::Refused(30, begin, denied)));
        rows.push(Row(8, Over::Http, wrong(413), End::Refused(31, begin, large)));
    }
    all(rows).await;
}

#[tokio::test]
async fn row_8_over_ssh_a_server_that_lets_us_read_alone_is_heard() {
    let rows = [
        (
            "ERROR: This repository was archived so it is read-only.",
            "the server says: ERROR: This repository was archived so it is read-only.",
        ),
        ("ERROR: Permission denied to deploy key", "the server says: ERROR: Permission denied to deploy key"),
    ];
    let refused = |(said, line)| Row(8, Over::Ssh, Wrong::OnlyRead(said), End::Refused(30, TO, line));
    all(rows.map(refused).to_vec()).await;
}

#[tokio::test]
async fn row_9_what_passes_is_waited_for() {
    let mut rows = Vec::new();
    for over in Over::ALL {
        rows.push(Row(9, over, Wrong::Lock(Some(20)), End::Pushed));
        for after in [After::Up(0), After::Down(0), After::Down(1000)] {
            let cut = |ending| Wrong::Connection(proxy::Fault::Cut(after, ending), 3);
            rows.extend([Ending::Reset, Ending::Close].map(|ending| Row(9, over, cut(ending), End::Pushed)));
        }
    }
    for after in [After::Up(0), After::Down(0), After::Down(100)] {
        let cut = Wrong::Handshake(proxy::Fault::Cut(after, Ending::Close), 3);
        rows.push(Row(9, Over::Http, cut, End::Pushed));
    }
    for on in [On::FetchRefs, On::Fetch, On::PushRefs, On::Push] {
        let mut faults = [500, 502, 503, 504].map(|status| Fault::Status(status, None)).to_vec();
        faults.extend([Fault::Status(429, Some(1)), Fault::Reset]);
        rows.extend(faults.into_iter().map(|f| Row(9, Over::Http, Wrong::Request(on, f, 3), End::Pushed)));
    }
    all(rows).await;
}

#[tokio::test]
async fn row_9_what_does_not_pass_ends_with_the_time() {
    let status = |on, status| Wrong::Request(on, Fault::Status(status, None), ALWAYS);
    let mut rows = vec![Row(9, Over::Http, Wrong::Name, End::GivesUp(50, TO, "failed to connect to HOST: "))];
    for (code, words) in [
        (429, "http status 429, too busy"),
        (500, "http status 500, server error"),
        (503, "http status 503, server error"),
    ] {
        rows.push(Row(9, Over::Http, status(On::FetchRefs, code), End::GivesUp(50, TO, words)));
        // what is not taken is not taken; of the others a proxy may have said so
        let end = if code == 429 { End::GivesUp(50, TO, words) } else { End::GivesUp(51, TELL, words) };
        rows.push(Row(9, Over::Http, status(On::Push, code), end));
    }
    rows.push(Row(
        9,
        Over::Http,
        Wrong::Request(On::FetchRefs, Fault::Reset, ALWAYS),
        End::GivesUp(50, TO, ENDED),
    ));
    rows.push(Row(
        9,
        Over::Http,
        Wrong::Request(On::Push, Fault::Reset, ALWAYS),
        End::GivesUp(51, TELL, ENDED),
    ));
    let cut = proxy::Fault::Cut(After::Down(0), Ending::Reset);
    let handshake = "TLS handshake: Connection reset by peer";
    rows.push(Row(9, Over::Http, Wrong::Handshake(cut, ALWAYS), End::GivesUp(50, TO, handshake)));
    for (over, words) in [(Over::Http, RESET), (Over::Ssh, "SSH handshake: Failed getting banner")] {
        rows.push(Row(9, over, Wrong::Connection(cut, ALWAYS), End::GivesUp(50, TO, words)));
        rows.push(Row(9, over, Wrong::Lock(None), End::GivesUp(50, TO, LOCKED)));
    }
    all(rows).await;
}

#[tokio::test]
async fn row_10_silence_ends_with_the_time() {
    let (late, nothing) = ("no answer in time", "could not read from socket: timed out");
    let mut rows = Vec::new();
    for (on, end) in [
        (On::FetchRefs, End::GivesUp(50, TO, late)),
        (On::Fetch, End::GivesUp(50, TO, late)),
        (On::PushRefs, End::GivesUp(50, TO, nothing)),
        (On::Push, End::GivesUp(51, TELL, nothing)),
    ] {
        rows.push(Row(10, Over::Http, Wrong::Request(on, Fault::Silence, ALWAYS), end));
        // drop by drop, it has pushed it
        let end = if on == On::Push { End::Found } else { end };
        rows.push(Row(10, Over::Http, Wrong::Request(on, Fault::Drip, ALWAYS), end));
    }
    for over in Over::ALL {
        for fault in [
            proxy::Fault::Cut(After::Up(0), Ending::Silence),
            proxy::Fault::Cut(After::Down(0), Ending::Silence),
            proxy::Fault::Cut(After::Down(1500), Ending::Silence),
            proxy::Fault::Drip,
        ] {
            rows.push(Row(10, over, Wrong::Connection(fault, ALWAYS), End::GivesUp(50, TO, late)));
        }
    }
    let silent = proxy::Fault::Cut(After::Down(0), Ending::Silence);
    rows.push(Row(10, Over::Http, Wrong::Handshake(silent, ALWAYS), End::GivesUp(50, TO, late)));
    all(rows).await;
}
