//! Many writers, one branch.

use std::collections::BTreeSet;

use crate::support::{FILE, Git, machine};

#[tokio::test(flavor = "multi_thread")]
async fn eight_machines_at_once_are_eight_commits() {
    let file = |n: usize| format!("vms/in-cluster/team-a/vm-{n}/virtual-machine.yaml");
    let files: Vec<_> = (0..8).map(|n| (file(n), machine(&format!("vm-{n}"), "Always"))).collect();
    let entries: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let git = Git::with(&entries).await;
    let before = git.server.git().log().unwrap().len();
    let runs: Vec<_> = (0..8)
        .map(|n| git.begin(&["--power=off", &format!("--vm=team-a/vm-{n}"), &format!("--request-id=r-{n}")]))
        .collect();
    let commits: BTreeSet<_> = runs.into_iter().map(|run| run.end(&git).ok().result("commit")).collect();
    assert_eq!(commits.len(), 8);
    for n in 0..8 {
        assert_eq!(git.read(&file(n)), machine(&format!("vm-{n}"), "Halted"));
    }
    assert_eq!(git.server.git().log().unwrap().len(), before + 8);
    git.server.git().fsck().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn six_machines_of_one_file_at_once_are_six_commits() {
    let all = |strategy: &str| -> String {
        (0..6).flat_map(|n| ["---\n".to_owned(), machine(&format!("vm-{n}"), strategy)]).collect()
    };
    let git = Git::with(&[("all.yaml", &all("Always"))]).await;
    let before = git.server.git().log().unwrap().len();
    let runs: Vec<_> = (0..6)
        .map(|n| git.begin(&["--power=off", "--file=all.yaml", &format!("--vm=team-a/vm-{n}")]))
        .collect();
    for run in runs {
        run.end(&git).ok();
    }
    assert_eq!(git.read("all.yaml"), all("Halted"), "each changed its own, none undid another's");
    assert_eq!(git.server.git().log().unwrap().len(), before + 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_machine_twice_at_once_is_one_commit() {
    let git = Git::with(&[(FILE, &machine("web-1", "Always"))]).await;
    for round in 0..3 {
        let before = git.server.git().log().unwrap().len();
        let (power, strategy) = if round % 2 == 0 { ("off", "Halted") } else { ("on", "Always") };
        // without ids of their own the two would make one and the same commit, bit for bit, and both be right
        let runs: Vec<_> = (0..2)
            .map(|n| git.begin(&[&format!("--power={power}"), &format!("--request-id=r-{round}-{n}")]))
            .collect();
        let ended: Vec<_> = runs.into_iter().map(|run| run.end(&git)).collect();
        let changed: Vec<_> = ended.iter().map(|e| e.ok().result("changed")).collect();
        assert_eq!(changed.iter().filter(|c| *c == "true").count(), 1, "{changed:?}");
        assert_eq!(git.read(FILE), machine("web-1", strategy));
        assert_eq!(git.server.git().log().unwrap().len(), before + 1);
    }
}
