//! Two requests on one machine's files, in every order in which the server can meet their exchanges.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Child;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use testbed::git::history::History;
use testbed::git::{Entry, Server};

use crate::support::{Case, Ended, folder, request};

/// Each is a number: half of it is the seed of the lots that say at each turn whom the server serves next, the first, the second or both
/// at once; and if it is odd the machine is there and both were rendered against it, else it is new.
const ALL: usize = 10_000;
/// What is pushed into one repository: every push fetches what the others made.
const TOGETHER: usize = 40;
/// So many repositories are worked on at the same time.
const BESIDE: usize = 3;
const USERS: [&str; 2] = ["one", "two"];

/// `INTERLEAVINGS` of them, 16 unless set, at even distances from a random one; or those from one number up to another, `4000..10000`,
/// so that all of them can be run in parts.
fn chosen() -> Vec<usize> {
    let wanted = std::env::var("INTERLEAVINGS").unwrap_or_else(|_| "16".to_owned());
    if let Some((from, to)) = wanted.split_once("..") {
        return (from.parse().unwrap()..to.parse::<usize>().unwrap().min(ALL)).collect();
    }
    let wanted: usize = wanted.parse().unwrap();
    let distance = (ALL / wanted).max(1);
    let first = rand::random_range(0..distance);
    println!("from number {first}");
    (0..wanted.min(ALL)).map(|n| first + n * distance).collect()
}

/// Serve the two runs in the order that lots of this seed give; how they ended, and who was served with what.
fn serve(server: &Server, cases: &[Case; 2], flags: &[&str], seed: usize) -> ([Ended; 2], String) {
    let mut lots = StdRng::seed_from_u64(seed as u64);
    let start = Instant::now();
    let mut runs = [0, 1].map(|n| cases[n].command("results", flags).spawn().unwrap());
    let mut order = String::new();
    loop {
        // each of them is at the door, or has ended
        let here = loop {
            let mut held = server.held();
            held.sort_by_key(|(user, _)| USERS.iter().position(|one| one == user));
            let is_held = |n: usize| held.iter().any(|(user, _)| user == USERS[n]);
            let is_here = |n: usize, run: &mut Child| is_held(n) || run.try_wait().unwrap().is_some();
            if runs.iter_mut().enumerate().all(|(n, run)| is_here(n, run)) {
                break held;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let next = match (&here[..], lots.random_range(0..3)) {
            ([], _) => break,
            ([_, _], 0) => &here[..1],
            ([_, _], 1) => &here[1..],
            _ => &here[..],
        };
        for (user, on) in next {
            server.let_in(user);
            write!(order, "{user} {on:?}, ").unwrap();
        }
        order.push_str("then ");
    }
    let mut runs = cases.iter().zip(runs).map(|(case, run)| case.ended("results", run, start));
    ([runs.next().unwrap(), runs.next().unwrap()], order)
}

/// What was met.
#[derive(Default)]
struct Met {
    /// Whether the machine was there, and who was served with what.
    orders: BTreeSet<(bool, String)>,
    first_won: usize,
    done: usize,
}

/// All of these, one after the other, in one repository.
fn in_one_repository(server: &Server, numbers: &[usize], met: &Mutex<Met>) {
    let there = |n: &usize| {
        let path = |name: &str| format!("{}/{name}", folder(&format!("vm-{n}")));
        let there = request(&format!("r-{n}-0"), &format!("vm-{n}"), 8);
        [Entry::file(path("request.yaml"), there), Entry::file(path("virtual-machine.yaml"), "cpu: 8\n")]
    };
    let entries: Vec<_> = numbers.iter().filter(|n| *n % 2 == 1).flat_map(there).collect();
    let base =
        if entries.is_empty() { server.git().tip() } else { server.git().commit(&entries, "machines") };
    let (base, history) = (base.unwrap(), History::begin(server.git()).unwrap());
    server.hold();
    for n in numbers {
        let cases = [1, 2].map(|m| Case::new(server, &format!("r-{n}-{m}"), &format!("vm-{n}"), m));
        for (case, user) in cases.iter().zip(USERS) {
            case.log_in_as(user, server);
        }
        let base = (n % 2 == 1).then_some(base.as_str());
        let flag = base.map(|base| format!("--base={base}"));
        let flags: Vec<_> = flag.iter().map(String::as_str).collect();
        let (ended, order) = serve(server, &cases, &flags, n / 2);
        for (case, one) in cases.iter().zip(&ended) {
            history.ran(case.told(base, one));
        }
        let [first, second] = &ended;
        let (won, lost) = if first.code == 0 { (first, second) } else { (second, first) };
        let said = || format!("number {n}, {order}: {}{}", first.stderr, second.stderr);
        assert_eq!((won.code, lost.code), (0, 20), "{}", said());
        assert!(won.changed() && !lost.changed(), "{}", said());
        assert!(lost.stderr.contains(&format!("commit `{}` of request", won.commit())), "{}", said());
        let mut met = met.lock().unwrap();
        met.first_won += usize::from(first.code == 0);
        met.orders.insert((base.is_some(), order));
        met.done += 1;
        if met.done.is_multiple_of(500) {
            println!("{} done, at number {n}", met.done);
        }
    }
    assert_eq!(history.check().unwrap(), []);
}

#[test]
fn in_every_order_one_is_pushed_and_one_is_a_conflict() {
    let (chosen, start, met) = (chosen(), Instant::now(), Mutex::new(Met::default()));
    let repositories = Mutex::new(chosen.chunks(TOGETHER));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                while let Some(numbers) = { repositories.lock().unwrap().next() } {
                    let server = runtime.block_on(Server::plain()).unwrap();
                    in_one_repository(&server, numbers, &met);
                }
            });
        }
    });
    let met = met.into_inner().unwrap();
    println!(
        "{} interleavings in {:?}, {} different, the first one's push won {} times",
        chosen.len(),
        start.elapsed(),
        met.orders.len(),
        met.first_won
    );
    assert_eq!(met.done, chosen.len());
    assert!(met.orders.len() > chosen.len() / 2 || chosen.len() > 1000, "most numbers are the same order");
}
