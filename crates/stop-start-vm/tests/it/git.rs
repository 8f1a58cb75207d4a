//! What is committed, what is not, and what is said.

use testbed::git::{Ending, Entry, Fault, On};

use crate::support::{FILE, Git, Run, machine};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_one_commit_that_says_who_and_why() {
    let git = Git::with(&[(FILE, &machine("web-1", "Always"))]).await;
    let ended = git.run(&[
        "--power=off",
        "--request-id=r-1",
        "--requested-by=jane@example.org",
        "--reason=night\nReboot: no",
    ]);
    let tip = git.server.git().tip().unwrap();
    ended.is(0, &format!("done: stopped vm `team-a/web-1` by commit `{tip}` on branch `main` at `HOST`"));
    assert_eq!(git.read(FILE), machine("web-1", "Halted"));
    assert_eq!(
        git.message(&tip),
        format!(
            "stop vm team-a/web-1\n\nRequest-Id: r-1\nRequested-By: jane@example.org\nReason: night_Reboot: no\n\
             Operation: stop\nVirtual-Machine: team-a/web-1\nFile: {FILE}\nPrevious-Run-Strategy: Always"
        )
    );
    assert_eq!(
        ended.results([
            "outcome",
            "changed",
            "commit",
            "previous-run-strategy",
            "restarted",
            "revision",
            "node"
        ]),
        ["ok", "true", &tip, "Always", "false", "", ""]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_what_is_declared_already_is_no_commit() {
    let git = Git::with(&[(FILE, &machine("web-1", "Halted"))]).await;
    let tip = git.server.git().tip().unwrap();
    let ended = git.run(&["--power=off", "--request-id=r-1"]);
    ended.is(
        0,
        &format!("done: nothing to do, `team-a/web-1` is declared Halted already in `{FILE}` on branch `main` at `HOST`"),
    );
    assert_eq!(ended.results(["changed", "commit", "previous-run-strategy"]), ["false", &tip, "Halted"]);
    assert_eq!(git.server.git().tip().unwrap(), tip);
    for strategy in ["Always", "Once", "RerunOnFailure"] {
        let tip = git.commit(&[(FILE, &machine("web-1", strategy))], "on");
        let ended = git.run(&["--power=on"]);
        ended.ok();
        assert_eq!(ended.results(["changed", "commit", "previous-run-strategy"]), ["false", &tip, strategy]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_request_that_was_undone_is_not_done_again() {
    let git = Git::with(&[(FILE, &machine("web-1", "Always"))]).await;
    let stop = git.run(&["--power=off", "--request-id=r-1"]);
    git.run(&["--power=on", "--request-id=r-2"]).ok();
    let tip = git.server.git().tip().unwrap();
    let ended = git.run(&["--power=off", "--request-id=r-1"]);
    ended.is(
        21,
        &format!(
            "error: commit `{}` made this change on branch `main` at `HOST`, and a later one replaced it",
            stop.result("commit")
        ),
    );
    assert_eq!(ended.hint(), "a new request needs a request id of its own");
    assert_eq!(git.server.git().tip().unwrap(), tip);
    git.run(&["--power=off", "--request-id=r-3"]).ok();
    assert_eq!(git.read(FILE), machine("web-1", "Halted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_finds_the_strategy_of_the_stop_below_other_commits() {
    let other = "vms/in-cluster/team-a/web-2/virtual-machine.yaml";
    let git =
        Git::with(&[(FILE, &machine("web-1", "RerunOnFailure")), (other, &machine("web-2", "Once"))]).await;
    git.run(&["--power=off"]).ok();
    git.run(&["--power=off", "--vm=team-a/web-2"]).ok();
    for n in 0..70 {
        git.commit(&[("notes.txt", &format!("{n}\n"))], "other");
    }
    git.run(&["--power=on"]).ok();
    assert_eq!(git.read(FILE), machine("web-1", "RerunOnFailure"));
    git.run(&["--power=on", "--vm=team-a/web-2"]).ok();
    assert_eq!(git.read(other), machine("web-2", "Once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stop_of_ours_a_start_is_always() {
    let git = Git::with(&[(FILE, &machine("web-1", "Halted"))]).await;
    // words of somebody else, and of a machine that Git does not start
    git.commit(&[("x", "x")], "talk of\n\nPrevious-Run-Strategy: Once");
    let forged = format!(
        "stop vm team-a/web-1\n\nOperation: stop\nVirtual-Machine: team-a/web-1\nFile: {FILE}\nPrevious-Run-Strategy: Manual"
    );
    git.commit(&[("x", "y")], &forged);
    git.run(&["--power=on"]).ok();
    assert_eq!(git.read(FILE), machine("web-1", "Always"));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_15_power_that_git_leaves_open_is_not_taken() {
    let git = Git::with(&[(FILE, &machine("web-1", "Manual"))]).await;
    for power in ["--power=off", "--power=on"] {
        let ended = git.run(&[power]);
        ended.is(
            31,
            &format!(
                "error: `{FILE}` declares run strategy `Manual`: Git does not own the power of `team-a/web-1`"
            ),
        );
        assert_eq!(ended.hint(), "use `--via api`, or declare another run strategy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_lead_nowhere_are_told() {
    let git = Git::with(&[(FILE, &machine("web-1", "Always"))]).await;
    let nowhere = |path: &str| format!("error: there is no `{path}` on branch `main` at `HOST`");
    for (flags, last) in [
        (&["--power=off", "--file=vm.yaml"][..], nowhere("vm.yaml")),
        (&["--power=off", "--overlay=overlays/prod"], nowhere("overlays/prod")),
        (&["--power=off", "--cluster-name=b"], nowhere("vms/b/team-a/web-1/virtual-machine.yaml")),
        (&["--power=off", "--branch=other"], "error: there is no branch `other` at `HOST`".to_owned()),
        (&["--power=restart"], "error: nothing to do: this power changes nothing in Git".to_owned()),
        (
            &["--power=off", "--via=api"],
            "error: `--via api` without waiting cannot be told from doing nothing".to_owned(),
        ),
        (
            &["--power=off", "--file=a", "--overlay=b"],
            "error: the argument '--file <PATH>' cannot be used with '--overlay <PATH>'".to_owned(),
        ),
        (
            &["--power=off", "--commit=9f8e7d6000000000000000000000000000000000"],
            "error: `--commit` names the commit that is live, and `--url` has this step make another"
                .to_owned(),
        ),
    ] {
        git.run(flags).is(2, &last);
    }
    Run::begin(["--power=off", "--wait=false", "--vm=a/b"])
        .ended()
        .is(2, "error: nothing to do: neither a repository to change nor a machine to wait for");
    assert_eq!(git.read(FILE), machine("web-1", "Always"));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_entries_in_the_repository_are_not_followed() {
    let git = Git::with(&[("real.yaml", &machine("web-1", "Always"))]).await;
    git.server.git().commit(&[Entry::link("link.yaml", "real.yaml")], "link").unwrap();
    git.server.git().commit(&[Entry::file("latin-1.yaml", b"# \xe4\n".to_vec())], "bytes").unwrap();
    git.run(&["--power=off", "--file=link.yaml"])
        .is(2, "error: there is no `link.yaml` on branch `main` at `HOST`");
    git.run(&["--power=off", "--file=latin-1.yaml"])
        .is(31, "error: cannot read `latin-1.yaml`: it is not UTF-8");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_is_lost_is_found_again() {
    let git = Git::with(&[(FILE, &machine("web-1", "Always"))]).await;
    git.server.fault(On::Push, Fault::Accepted(Ending::Close));
    let ended = git.run(&["--power=off", "--request-id=r-1"]);
    let tip = git.server.git().tip().unwrap();
    ended.is(0, &format!("done: stopped vm `team-a/web-1` by commit `{tip}` on branch `main` at `HOST`"));
    assert_eq!(ended.results(["changed", "commit"]), ["true", &tip]);
    assert_eq!(git.server.git().log_of(FILE).unwrap().len(), 2);
}
