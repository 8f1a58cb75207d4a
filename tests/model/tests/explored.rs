//! Every state that the clients of a setting can come to. `FAULTS` and `KILLS` in the environment say how much may go wrong
//! in one of them, 1 each without: 2 and 2 are some two million states.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which tells how many states it saw")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use model::{Setting, World};
use protocol::{Flaw, Plan, Request};
use stateright::{Checker as _, HasDiscoveries, Model};

const ACKNOWLEDGED: &str = "what is acknowledged is on the branch, once";
const TWICE: &str = "no request is on the branch twice";
const FAILED: &str = "who failed left nothing on the branch";
const CONFLICT: &str = "a conflict is told only of what is not on the branch";
const SEEN: &str = "nothing unseen is overwritten";
const GROWS: &str = "the branch only grows, one commit at a time";

/// What may happen, and does somewhere.
const EVERYBODY: &str = "everybody is told that it is on the branch";
const EARLIER: &str = "what an earlier run pushed is found";
const LOST: &str = "what was pushed without an answer is found";
const TOLD: &str = "somebody is told of a conflict";
const REPLACED: &str = "somebody is told that a later request took his place";

/// Clients with these requests of the table.
fn setting<const N: usize>(table: [Request; N], clients: &[u8]) -> Setting {
    let bound = |name: &str| std::env::var(name).map_or(1, |text| text.parse().unwrap());
    Setting {
        plan: Plan { table: table.to_vec(), flaw: None },
        clients: clients.to_vec(),
        faults: bound("FAULTS"),
        kills: bound("KILLS"),
    }
}

/// Two requests for one file, and one for another.
fn rivals() -> Setting {
    setting([Request::new(0), Request::new(1), Request::new(0)], &[0, 1, 2])
}

/// Two copies of one request, and another one.
fn copies() -> Setting {
    setting([Request::new(0), Request::new(1)], &[0, 0, 1])
}

/// Visit every state: what was found, examples of what may happen and counterexamples to what must not.
#[track_caller]
fn explore(setting: Setting, wanted: &[&str]) {
    let start = Instant::now();
    let checker = setting.checker().spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), start.elapsed());
    println!("{states} states by {} steps, {took:?}", checker.state_count());
    let found: BTreeMap<_, _> = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| (name, format!("{:?}", path.into_actions())))
        .collect();
    // not ended because there was nothing left to find: every state was seen
    assert!(checker.is_done() && found.len() < checker.model().properties().len());
    assert!(states > 10_000, "{states} states");
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), wanted.iter().copied().collect(), "{found:?}");
}

#[test]
fn rivals_for_one_file_are_kept_apart() {
    explore(rivals(), &[EARLIER, LOST, TOLD]);
}

#[test]
fn copies_of_one_request_are_one_commit() {
    explore(copies(), &[EVERYBODY, EARLIER, LOST]);
}

#[test]
fn a_later_request_takes_the_place_of_an_earlier_one() {
    explore(
        setting([Request::new(0), Request::new(0).after(0)], &[0, 0, 1]),
        &[EVERYBODY, EARLIER, LOST, TOLD, REPLACED],
    );
}

#[test]
fn what_the_server_refuses_stays_out() {
    explore(setting([Request::new(0).forbidden(), Request::new(1)], &[0, 0, 1]), &[EARLIER, LOST]);
}

/// A flaw breaks this promise, among others.
#[track_caller]
fn breaks(setting: Setting, flaw: Flaw, promise: &'static str) {
    let setting = Setting { plan: Plan { flaw: Some(flaw), ..setting.plan }, ..setting };
    let found = HasDiscoveries::AnyOf(BTreeSet::from([promise]));
    let checker = setting.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(promise).unwrap();
    println!("{flaw:?}: {promise}, but {:#?}", path.into_actions());
}

#[test]
fn without_the_read_back_a_failure_is_told_of_what_lands() {
    breaks(rivals(), Flaw::SkipReadBack, FAILED);
}

#[test]
fn without_the_compare_and_swap_of_the_file_a_change_is_overwritten() {
    breaks(rivals(), Flaw::SkipFileCompare, SEEN);
    breaks(rivals(), Flaw::SkipFileCompare, TWICE);
}

#[test]
fn without_the_compare_and_swap_of_the_branch_an_acknowledged_commit_is_lost() {
    breaks(rivals(), Flaw::ForcePush, ACKNOWLEDGED);
    breaks(rivals(), Flaw::ForcePush, GROWS);
}

#[test]
fn with_any_ok_believed_what_was_refused_is_told_as_pushed() {
    breaks(rivals(), Flaw::BelieveOk, ACKNOWLEDGED);
}

#[test]
fn with_another_id_for_each_run_the_own_commit_is_a_conflict() {
    breaks(copies(), Flaw::RandomId, CONFLICT);
}

/// A push that broke off may be under way still while the next one of the same commit is turned away for good, by something
/// that would not have turned away the first: a proxy whose opinion of us changed.
#[test]
fn with_a_refusal_believed_of_what_is_under_way_a_failure_is_told_of_what_lands() {
    let one = setting([Request::new(0)], &[0]);
    breaks(Setting { faults: 2, kills: 0, ..one }, Flaw::BelieveRefusal, FAILED);
}

/// "Everybody has an answer" is looked at in the last states of all ways; there are no others than ways that end.
#[test]
fn no_state_leads_back_to_itself() {
    let setting = copies();
    // by how many steps each state is reached
    let mut steps: HashMap<World, usize> =
        setting.init_states().into_iter().map(|world| (world, 0)).collect();
    let mut queue: Vec<World> = steps.keys().cloned().collect();
    while let Some(world) = queue.pop() {
        for next in setting.next_states(&world) {
            let seen = steps.entry(next).or_insert_with_key(|next| {
                queue.push(next.clone());
                0
            });
            *seen += 1;
        }
    }
    // a state is done when all that leads to it is; what leads back to itself never is
    let (mut done, mut ready) = (0, setting.init_states());
    while let Some(world) = ready.pop() {
        done += 1;
        for next in setting.next_states(&world) {
            let left = steps.get_mut(&next).unwrap();
            *left -= 1;
            if *left == 0 {
                ready.push(next);
            }
        }
    }
    assert_eq!(done, steps.len());
}
