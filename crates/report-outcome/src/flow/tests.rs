//! Every ending has its line.

use serde_json::{Value, json};

use super::{Ended, Flow};

/// A TaskRun as Tekton leaves it: name, second of its start, condition, results.
fn task(name: &str, second: u32, status: &str, reason: &str, results: &[(&str, &str)]) -> Value {
    let results: Vec<Value> =
        results.iter().map(|(n, v)| json!({"name": n, "type": "string", "value": v})).collect();
    let said = "\"step-git-push\" exited with code 20";
    let condition = json!({"type": "Succeeded", "status": status, "reason": reason, "message": said});
    json!({
        "metadata": {
            "labels": {"tekton.dev/pipelineTask": name, "tekton.dev/memberOf": "tasks"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "status": {
            "startTime": format!("2026-01-01T00:00:{second:02}Z"),
            "conditions": [condition],
            "results": results,
        },
    })
}

fn well(name: &str, second: u32, results: &[(&str, &str)]) -> Value {
    task(name, second, "True", "Succeeded", results)
}

fn ignored(mut task: Value) -> Value {
    task["metadata"]["annotations"]["pipeline.tekton.dev/pipeline-task-on-error"] = "continue".into();
    task
}

fn line(run: &Value, tasks: &[Value]) -> String {
    let Ended { outcome, message, shown } = Flow::new(run, tasks).ended();
    format!("{outcome}{}: {message}", if shown { " (shown)" } else { "" })
}

fn published() -> Value {
    well("publish-vm", 1, &[("outcome", "ok"), ("message", "pushed `abc`"), ("commit", "abc")])
}

#[test]
fn a_flow_that_went_well_has_the_words_of_the_cluster() {
    let awaited = well("await-vm", 2, &[("outcome", "ok"), ("message", "`web` is ready")]);
    let cleaned =
        well("publish-cleanup", 3, &[("outcome", "ok"), ("message", "pushed `def`"), ("commit", "def")]);
    assert_eq!(line(&Value::Null, &[awaited.clone(), published()]), "ok: `web` is ready");
    assert_eq!(line(&Value::Null, &[published(), awaited, cleaned]), "ok: `web` is ready");
    assert_eq!(line(&Value::Null, &[published()]), "ok: pushed `abc`");
}

#[test]
fn the_first_failure_decides() {
    let refused =
        task("publish-vm", 1, "False", "Failed", &[("outcome", "invalid"), ("message", "2 problems")]);
    assert_eq!(line(&Value::Null, &[refused]), "invalid (shown): 2 problems");
    let failed =
        task("await-vm", 2, "False", "StepFailed", &[("outcome", "failed"), ("message", "no image")]);
    assert_eq!(line(&Value::Null, &[failed, published()]), "failed (shown): no image");
}

#[test]
fn what_was_done_about_a_failure_is_told_before_the_way_out() {
    let failed = ignored(task(
        "power-vm",
        2,
        "False",
        "FailureIgnored",
        &[("outcome", "failed"), ("message", "no boot; hint: look at the console")],
    ));
    let back =
        well("publish-rollback", 3, &[("outcome", "ok"), ("message", "pushed `def`"), ("commit", "def")]);
    let up = well("power-rollback", 4, &[("outcome", "ok"), ("message", "`web` is ready")]);
    assert_eq!(
        line(&Value::Null, &[published(), failed.clone(), back.clone(), up]),
        "failed: no boot; rolled back: `web` is ready; hint: a new attempt needs a request with an id of its own"
    );
    let down =
        task("power-rollback", 4, "False", "Failed", &[("outcome", "timeout"), ("message", "is starting")]);
    assert_eq!(
        line(&Value::Null, &[published(), failed.clone(), back, down]),
        "failed (shown): no boot; rolling back failed: is starting; hint: look at the console"
    );
    let lost = ignored(task("publish-rollback", 3, "False", "TaskRunTimeout", &[]));
    assert_eq!(
        line(&Value::Null, &[published(), failed, lost]),
        "failed: no boot; rolling back failed: `publish-rollback` was ended by Tekton's own timeout; hint: the change is \
         in Git and will be applied; the same request may be run again to wait for it"
    );
}

#[test]
fn a_task_that_could_not_speak_is_spoken_for() {
    let lost = |reason: &str, results: &[(&str, &str)]| {
        line(&Value::Null, &[published(), task("await-vm", 2, "False", reason, results)])
    };
    let again =
        "hint: the change is in Git and will be applied; the same request may be run again to wait for it";
    assert_eq!(
        lost("TaskRunCancelled", &[]),
        format!(
            "cancelled (shown): `await-vm` was cancelled, by somebody or by the timeout of the run; {again}"
        )
    );
    assert_eq!(
        lost("TaskRunTimeout", &[("outcome", "ok"), ("message", "the first step's")]),
        format!("timeout (shown): `await-vm` was ended by Tekton's own timeout; {again}")
    );
    assert_eq!(
        lost("StepOOM", &[]),
        format!("unknown (shown): `await-vm` ended without a word: StepOOM; {again}")
    );
    assert_eq!(
        line(&Value::Null, &[ignored(task("power-vm", 1, "False", "FailureIgnored", &[]))]),
        "unknown: `power-vm` ended without a word: \"step-git-push\" exited with code 20; hint: the same request may be run \
         again: what is done already is found and kept"
    );
    let mut running = task("power-vm", 1, "Unknown", "", &[]);
    running["status"]["startTime"].take();
    assert_eq!(
        line(&Value::Null, &[running]),
        "unknown (shown): `power-vm` has not ended; hint: the same request may be run again: what is done already is found \
         and kept"
    );
}

#[test]
fn a_run_that_was_cut_short_is_no_success() {
    let cut = |reason: &str, tasks: &[Value]| {
        line(&json!({"status": {"skippedTasks": [{"name": "await-vm", "reason": reason}]}}), tasks)
    };
    assert_eq!(cut("When Expressions evaluated to false", &[published()]), "ok: pushed `abc`");
    assert_eq!(
        cut("PipelineRun was gracefully stopped", &[published()]),
        "cancelled: the run was stopped before its last task; so far: pushed `abc`"
    );
    assert_eq!(
        cut("PipelineRun was gracefully cancelled", &[]),
        "cancelled: the run was cancelled before its last task; nothing was done"
    );
    assert_eq!(
        cut("PipelineRun Tasks timeout has been reached", &[published()]),
        "timeout: the time of the run was over before its last task; so far: pushed `abc`"
    );
    assert_eq!(line(&Value::Null, &[]), "unknown: no task was run; the PipelineRun's status says why");
    let failed = [("outcome", "failed"), ("message", "half patched")];
    let failed = ignored(task("patch-disk", 2, "False", "FailureIgnored", &failed));
    let restored = well("restore-vm", 3, &[("outcome", "ok"), ("message", "restored")]);
    assert_eq!(
        cut("PipelineRun was gracefully stopped", &[published(), failed, restored]),
        "failed: half patched; rolling back was not finished, so far: restored; hint: run the same request again: it goes on \
         where this run ended"
    );
}

#[test]
fn a_machine_that_was_stopped_for_it_and_not_brought_back_is_told_of() {
    let stop = |until: &str| {
        let results = [("outcome", "ok"), ("message", "pushed `abc`"), ("commit", "abc"), ("until", until)];
        well("publish-stop", 1, &results)
    };
    let failed = |name: &str, operation: &str| {
        let results =
            [("outcome", "failed"), ("message", "no such volume; hint: look"), ("operation", operation)];
        task(name, 2, "False", "StepFailed", &results)
    };
    let again = "run the same request again";
    for (operation, way_out) in [
        ("deprovision", format!("{again}, or ask for `start`")),
        ("restore", format!("{again}, or restore a snapshot")),
        ("patch", format!("{again}, or restore a snapshot")),
        ("", again.to_owned()),
    ] {
        let tasks = [stop("stopped"), failed("restore-vm", operation)];
        assert_eq!(
            line(&Value::Null, &tasks),
            format!("failed (shown): no such volume; the machine stays declared stopped; hint: {way_out}")
        );
    }
    // one that was removed before, or that an earlier run has brought back
    for until in ["absent", "ready"] {
        let tasks = [stop(until), failed("restore-vm", "restore")];
        assert_eq!(line(&Value::Null, &tasks), "failed (shown): no such volume; hint: look");
    }
    let mut finished = stop("stopped");
    let results = finished["status"]["results"].as_array_mut().unwrap();
    results.push(json!({"name": "finished", "type": "string", "value": "true"}));
    let tasks = [finished, failed("power-finished", "")];
    assert_eq!(line(&Value::Null, &tasks), "failed (shown): no such volume; hint: look");
    // a stop that was asked for is no surprise
    let asked = [("message", "m"), ("commit", "abc"), ("until", "stopped")];
    let tasks = [well("publish-vm", 1, &asked), failed("power-vm", "")];
    assert_eq!(line(&Value::Null, &tasks), "failed (shown): no such volume; hint: look");

    // nothing was pushed after it, or it was, or nobody knows
    let start = |outcome: &str, status: &str| {
        let results = [("outcome", outcome), ("message", "the server is away"), ("until", "ready")];
        task("publish-start", 3, status, "StepFailed", &results)
    };
    let told = |start: Value| line(&Value::Null, &[stop("stopped"), start]);
    assert_eq!(
        told(start("transient", "False")),
        "transient (shown): the server is away; the machine stays declared stopped; hint: run the same request again"
    );
    assert_eq!(told(start("unknown", "False")), "unknown (shown): the server is away");
    let up =
        task("power-vm", 4, "False", "StepFailed", &[("outcome", "timeout"), ("message", "is starting")]);
    let tasks = [stop("stopped"), start("ok", "True"), up];
    assert_eq!(line(&Value::Null, &tasks), "timeout (shown): is starting");

    // the way back failed as well: one hint
    let patch = ignored(failed("patch-disk", "patch"));
    let back = ignored(failed("restore-vm", "patch"));
    let mut back = back;
    back["status"]["startTime"] = "2026-01-01T00:00:03Z".into();
    assert_eq!(
        line(&Value::Null, &[stop("stopped"), patch, back]),
        "failed: no such volume; rolling back failed: no such volume; the machine stays declared stopped; hint: run the same \
         request again, or restore a snapshot"
    );
    // ended between two tasks
    let cut =
        json!({"status": {"skippedTasks": [{"name": "x", "reason": "PipelineRun was gracefully stopped"}]}});
    assert_eq!(
        line(&cut, &[stop("stopped")]),
        "cancelled: the run was stopped before its last task; so far: pushed `abc`; the machine stays declared stopped; hint: \
         run the same request again"
    );
}

#[test]
fn what_is_in_finally_is_left_out_and_the_lease_is_found() {
    let mut own = task("report-outcome", 9, "Unknown", "Running", &[]);
    own["metadata"]["labels"]["tekton.dev/memberOf"] = "finally".into();
    let taken = well(
        "snapshot-vm",
        1,
        &[("message", "m"), ("lease", "flows/c.n.web"), ("holder", "REQ1"), ("request-id", "REQ1")],
    );
    let tasks = [own, well("other", 0, &[("lease", ""), ("message", "x")]), taken];
    let flow = Flow::new(&Value::Null, &tasks);
    assert_eq!(flow.lease(), Some(("flows/c.n.web", "REQ1")));
    assert_eq!(line(&Value::Null, &tasks), "ok: m");

    let held = [("message", "m"), ("lease", "flows/c.n.web"), ("holder", "REQ0"), ("request-id", "REQ1")];
    let held = [task("publish-vm", 1, "False", "Failed", &held)];
    assert_eq!(Flow::new(&Value::Null, &held).lease(), None, "another's Lease is not ours to give back");
}
