//! A Pipeline of two tasks and a `finally`, on small shell scripts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{Ended, Event, Flow};

mod rollback;

const PIPELINE: &str = "
apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: p}
spec:
  displayName: P
  description: d
  params:
    - {name: code, description: d}
    - {name: word, description: d, default: plain}
  workspaces:
    - {name: secret, description: d, optional: true}
  results:
    - {name: said, description: d, value: $(tasks.first.results.said)}
    - {name: end, description: d, value: $(finally.all.results.said)}
    - {name: end, description: d, value: $(finally.early.results.said)}
  tasks:
    - name: first
      displayName: First
      description: d
      taskRef: {name: t}
      params:
        - {name: word, value: $(params.word)}
        - {name: code, value: $(params.code)}
      workspaces: [{name: secret, workspace: secret}]
    - name: second
      displayName: Second
      description: d
      taskRef: {name: t}
      runAfter: [first]
      params:
        - {name: word, value: <$(tasks.first.results.said)>}
        - {name: code, value: '0'}
  finally:
    - name: all
      displayName: All
      description: d
      taskRef: {name: t}
      params:
        - {name: word, value: $(tasks.second.results.said) $(tasks.first.reason)/$(tasks.second.reason)}
        - {name: code, value: '0'}
    - name: early
      displayName: Early
      description: d
      taskRef: {name: t}
      when: [{input: $(tasks.second.status), operator: in, values: [None]}]
      params:
        - {name: word, value: $(tasks.first.results.said) $(tasks.first.reason)/$(tasks.second.reason)}
        - {name: code, value: '0'}
";

const TASK: &str = "
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: t}
spec:
  displayName: T
  description: d
  params:
    - {name: word, description: d}
    - {name: code, description: d}
  results:
    - {name: said, description: d}
  workspaces:
    - {name: secret, description: d, optional: true}
  volumes:
    - {name: work, emptyDir: {sizeLimit: 1Mi}}
  steps:
    - name: write
      image: i
      command: [write]
      args: [$(params.word), --out=/work/file, $(results.said.path), --secret=$(workspaces.secret.path)]
      volumeMounts: [{name: work, mountPath: /work}]
    - name: end
      image: i
      command: [end]
      args: [$(params.code), /work/file, $(results.said.path)]
      env: [{name: TMPDIR, value: /work}]
      volumeMounts: [{name: work, mountPath: /work}]
";

/// The flow on scripts; the folder lives as long as the first.
fn flow(pipeline: &str, task: &str, params: &[(&str, &str)]) -> (tempfile::TempDir, Flow) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    for (name, text) in [("p.yaml", pipeline), ("t.yaml", task)] {
        fs::write(path(name), text).unwrap();
    }
    for (name, script) in [
        (
            "write",
            "#!/bin/sh\nprintf '%s' \"$1\" >\"${2#--out=}\"\nprintf early >\"$3\"\necho \"wrote $1 $4\"\n",
        ),
        // the file of the step before, and the result overwritten
        (
            "end",
            "#!/bin/sh\nread -r x <\"$2\"\nprintf '%s!' \"$x\" >\"$3\"\necho \"${TMPDIR##*/}\" >&2\nexit \"$1\"\n",
        ),
    ] {
        fs::write(path(name), script).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let here = folder.path().to_owned();
    let flow =
        Flow { pipeline: path("p.yaml"), tasks: here.clone(), binaries: here, params, ..Flow::default() };
    (folder, flow)
}

fn told(flow: &Flow) -> (Ended, Vec<String>) {
    let mut lines = Vec::new();
    let ended = flow.run(&mut |event| match event {
        Event::Begun { .. } => {}
        Event::Line { task, step, text } => lines.push(format!("{task}/{step}: {text}")),
        Event::Ended { task, step, code } => lines.push(format!("{task}/{step} {code}")),
        Event::Skipped { task, reason } => lines.push(format!("{task} skipped: {reason}")),
    });
    (ended.unwrap(), lines)
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

#[test]
fn a_flow_goes_through_its_tasks_and_hands_results_on() {
    let (folder, mut flow) = flow(PIPELINE, TASK, &[("code", "0"), ("word", "a $(params.code)")]);
    flow.workspaces.insert("secret".to_owned(), folder.path().to_owned());
    let (ended, lines) = told(&flow);
    assert_eq!(
        lines,
        [
            &format!("first/write: wrote a $(params.code) --secret={}", folder.path().display()),
            "first/write 0",
            "first/end: work",
            "first/end 0",
            "second/write: wrote <a $(params.code)!> --secret=",
            "second/write 0",
            "second/end: work",
            "second/end 0",
            "all/write: wrote <a $(params.code)!>! Succeeded/Succeeded --secret=",
            "all/write 0",
            "all/end: work",
            "all/end 0",
            "early skipped: When Expressions evaluated to false",
        ]
    );
    assert!(ended.succeeded);
    assert_eq!(
        pairs(&ended.results),
        [("end", "<a $(params.code)!>! Succeeded/Succeeded!"), ("said", "a $(params.code)!")]
    );
}

#[test]
fn a_failed_task_stops_the_flow_and_finally_is_run() {
    let (_folder, flow) = flow(PIPELINE, TASK, &[("code", "10")]);
    let (ended, lines) = told(&flow);
    assert_eq!(
        lines,
        [
            "first/write: wrote plain --secret=",
            "first/write 0",
            "first/end: work",
            "first/end 10",
            "second skipped: PipelineRun was stopping",
            "all skipped: Results were missing",
            "early/write: wrote plain! StepFailed/ --secret=",
            "early/write 0",
            "early/end: work",
            "early/end 0",
        ]
    );
    assert!(!ended.succeeded);
    assert_eq!(pairs(&ended.results), [("end", "plain! StepFailed/!"), ("said", "plain!")]);
}

#[test]
fn what_is_not_known_is_refused() {
    let error = |pipeline: &str, task: &str, params: &[(&str, &str)]| {
        let (folder, flow) = flow(pipeline, task, params);
        let text = format!("{:#}", flow.run(&mut |_| {}).unwrap_err());
        text.replace(&folder.path().display().to_string(), "").lines().next().unwrap_or_default().to_owned()
    };
    let code = &[("code", "0")];
    assert_eq!(error(PIPELINE, TASK, &[]), "param `code` has neither a value nor a default");
    assert_eq!(error(PIPELINE, TASK, &[("cod", "0")]), "the Pipeline has no param `cod`");
    let script = TASK.replace("command: [end]", "script: rm");
    assert!(
        error(PIPELINE, &script, code).contains("unknown field `script`"),
        "{}",
        error(PIPELINE, &script, code)
    );
    for (from, to, message) in [
        ("$(params.code)}", "$(params.cod)}", "`$(params.cod)` in `$(params.cod)` is not known here"),
        (
            "runAfter: [first]",
            "runAfter: [all]",
            "task `second` runs after `all`, which stands behind it in the file or nowhere",
        ),
        ("name: word, value: $", "name: wor, value: $", "task `first`: it has no param `wor`"),
        (
            "<$(tasks.first.results.said)>",
            "$(tasks.first.results.sad)",
            "task `second` needs `tasks.first.results.sad`, which was not written",
        ),
        (
            "$(tasks.first.results.said)}\n    - {name: end",
            "$(tasks.frst.results.said)}\n    - {name: end",
            "result `said`: there is no task `frst`",
        ),
    ] {
        assert_eq!(error(&PIPELINE.replacen(from, to, 1), TASK, code), message);
    }
    let optional = PIPELINE.replace(", optional: true", "");
    assert_eq!(error(&optional, TASK, code), "workspace `secret` is not bound");
    let volume = TASK.replace("name: work, emptyDir", "name: wrk, emptyDir");
    assert_eq!(
        error(PIPELINE, &volume, code),
        "task `first`: step `write` mounts `work`, which is no volume of the Task"
    );
}

#[test]
fn a_workspace_that_a_step_names_is_hidden_from_the_others() {
    let task =
        TASK.replace("      command: [end]\n", "      command: [end]\n      workspaces: [{name: secret}]\n");
    let (_folder, flow) = flow(PIPELINE, &task, &[("code", "0")]);
    let error = format!("{:#}", flow.run(&mut |_| {}).unwrap_err());
    assert_eq!(
        error,
        "task `first`: step `write` uses the workspace `secret`, which other steps have to themselves"
    );
}
