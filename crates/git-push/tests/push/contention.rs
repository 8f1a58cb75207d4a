//! Many pushers, one branch.

use std::time::Instant;

use testbed::git::Server;
use testbed::git::history::History;

use crate::support::{Case, folder};

#[tokio::test]
async fn thirty_two_at_once_all_arrive() {
    const PUSHERS: usize = 32;
    let server = Server::plain().await.unwrap();
    let history = History::begin(server.git()).unwrap();
    let cases: Vec<_> =
        (0..PUSHERS).map(|n| Case::new(&server, &format!("r-{n}"), &format!("vm-{n}"), 1)).collect();
    let start = Instant::now();
    // they take turns: the last needs as long as all of them
    let children: Vec<_> =
        cases.iter().map(|c| c.command("results", &["--timeout=30m"]).spawn().unwrap()).collect();
    let ended: Vec<_> =
        cases.iter().zip(children).map(|(c, child)| c.ended("results", child, start)).collect();
    for (case, one) in cases.iter().zip(&ended) {
        assert!(one.ok().changed());
        history.ran(case.told(None, one));
    }
    assert_eq!(history.check().unwrap(), []);
    assert_eq!(server.git().log().unwrap().len(), PUSHERS + 1);
    let slowest = ended.iter().map(|e| e.took).max().unwrap();
    println!("{PUSHERS} pushers, the last after {slowest:?}, {} requests", server.seen().len());
}

#[tokio::test]
async fn two_requests_for_one_machine_are_one_push_and_one_conflict() {
    let server = Server::plain().await.unwrap();
    let history = History::begin(server.git()).unwrap();
    for round in 0..4 {
        let vm = format!("vm-{round}");
        let cases = [1, 2].map(|n| Case::new(&server, &format!("r-{round}-{n}"), &vm, n));
        let children: Vec<_> = cases.iter().map(|c| c.command("results", &[]).spawn().unwrap()).collect();
        let start = Instant::now();
        let ended: Vec<_> =
            cases.iter().zip(children).map(|(c, child)| c.ended("results", child, start)).collect();
        for (case, one) in cases.iter().zip(&ended) {
            history.ran(case.told(None, one));
        }
        let (won, lost) = if ended[0].code == 0 { (0, &ended[1]) } else { (1, &ended[0]) };
        assert!(ended[won].ok().changed());
        let path = folder(&vm);
        assert_eq!(
            lost.last(&server),
            (
                20,
                format!(
                    "error: cannot change branch `main` at `HOST`: `{path}/request.yaml` is there already, with other \
                     content, from commit `{}` of request `r-{round}-{}` (and 1 more)",
                    ended[won].commit(),
                    won + 1
                )
            )
        );
        assert_eq!(lost.results["changed"], "false");
    }
    assert_eq!(history.check().unwrap(), []);
}

#[tokio::test]
async fn two_changes_from_one_base_are_one_push_and_one_conflict() {
    let server = Server::plain().await.unwrap();
    let base = Case::new(&server, "r-0", "web", 1).run(&[]).ok().commit().to_owned();
    let history = History::begin(server.git()).unwrap();
    let cases = [2, 4].map(|cpu| Case::new(&server, &format!("r-{cpu}"), "web", cpu));
    let flag = format!("--base={base}");
    let children: Vec<_> = cases.iter().map(|c| c.command("results", &[&flag]).spawn().unwrap()).collect();
    let start = Instant::now();
    let ended: Vec<_> =
        cases.iter().zip(children).map(|(c, child)| c.ended("results", child, start)).collect();
    for (case, one) in cases.iter().zip(&ended) {
        history.ran(case.told(Some(&base), one));
    }
    let (won, lost) = if ended[0].code == 0 { (0, &ended[1]) } else { (1, &ended[0]) };
    assert!(ended[won].ok().changed());
    let line = format!(
        "error: cannot change branch `main` at `HOST`: `{}/request.yaml` is not as it was at commit `{base}`, changed by commit \
         `{}` of request `r-{}` (and 1 more)",
        folder("web"),
        ended[won].commit(),
        [2, 4][won]
    );
    assert_eq!(lost.last(&server), (20, line));
    assert_eq!(history.check().unwrap(), []);
}

#[tokio::test]
async fn eight_copies_of_one_request_are_one_commit() {
    let server = Server::plain().await.unwrap();
    let history = History::begin(server.git()).unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let names: Vec<_> = (0..8).map(|n| format!("results-{n}")).collect();
    let start = Instant::now();
    let children: Vec<_> = names.iter().map(|name| case.command(name, &[]).spawn().unwrap()).collect();
    let ended: Vec<_> =
        names.iter().zip(children).map(|(name, child)| case.ended(name, child, start)).collect();
    for one in &ended {
        history.ran(case.told(None, one.ok()));
    }
    assert!(ended.iter().any(crate::support::Ended::changed));
    assert_eq!(history.check().unwrap(), []);
}
