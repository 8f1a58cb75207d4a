//! Tasks whose failure is ignored, and steps that die.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{flow, told};
use crate::pipeline::{Aftermath, Ended, Flow, Kill, Moment};

/// After a task whose failure is ignored: one task if it failed, one if not, and one behind each.
const ROLLBACK: &str = "
apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: p}
spec:
  displayName: P
  description: d
  params:
    - {name: code, description: d}
  tasks:
    - name: change
      displayName: C
      description: d
      taskRef: {name: t}
      onError: continue
      params:
        - {name: word, value: $(context.pipelineRun.namespace)/$(context.pipelineRun.name)}
        - {name: code, value: $(params.code)}
    - name: tidy
      displayName: T
      description: d
      taskRef: {name: t}
      onError: continue
      when: [{input: $(tasks.change.results.said), operator: in, values: [vm-lifecycle/run!]}]
      params: [{name: word, value: tidy}, {name: code, value: '0'}]
    - name: back
      displayName: B
      description: d
      taskRef: {name: t}
      onError: continue
      when: [{input: $(tasks.change.results.said), operator: notin, values: [vm-lifecycle/run!]}]
      params: [{name: word, value: back}, {name: code, value: '0'}]
    - name: behind
      displayName: B
      description: d
      taskRef: {name: t}
      onError: continue
      params: [{name: word, value: 'behind $(tasks.back.results.said)'}, {name: code, value: '0'}]
    - name: always
      displayName: A
      description: d
      taskRef: {name: t}
      runAfter: [tidy, back]
      params: [{name: word, value: always}, {name: code, value: '0'}]
  finally:
    - name: last
      displayName: L
      description: d
      taskRef: {name: t}
      params: [{name: word, value: $(tasks.change.status) $(tasks.change.reason)}, {name: code, value: '0'}]
";

/// The task whose result tells how it ended, and that writes none before.
const TOLD: &str = "
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
  volumes:
    - {name: work, emptyDir: {sizeLimit: 1Mi}}
    - {name: token, projected: {sources: [{serviceAccountToken: {path: token}}]}}
  steps:
    - name: write
      image: i
      command: [write]
      args: [$(params.word) $(context.taskRun.name), --out=/work/file, /work/said, x]
      volumeMounts: [{name: work, mountPath: /work}, {name: token, mountPath: /token, readOnly: true}]
    - name: end
      image: i
      command: [tell]
      args: [$(params.code), $(params.word), $(results.said.path)]
";

fn rollback(code: &str) -> (tempfile::TempDir, Flow) {
    let (folder, flow) = flow(ROLLBACK, TOLD, &[("code", code)]);
    let file = folder.path().join("tell");
    let script = "#!/bin/sh\n[ \"$1\" = 9 ] && exit 9\n[ \"$1\" = 0 ] && end=! || end=?\nprintf '%s%s' \"$2\" \"$end\" >\"$3\"\nexit \"$1\"\n";
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, flow)
}

/// The steps that ran, and why tasks did not.
fn course(flow: &Flow) -> (Ended, Vec<String>) {
    let (ended, lines) = told(flow);
    let kept = lines.into_iter().filter(|l| !l.contains("/write 0") && !l.contains("/end 0")).collect();
    (ended, kept)
}

#[test]
fn a_failure_that_is_ignored_is_answered_by_later_tasks() {
    let (_folder, flow) = rollback("0");
    let (ended, lines) = course(&flow);
    assert_eq!(
        lines,
        [
            "change/write: wrote vm-lifecycle/run run-change x",
            "tidy/write: wrote tidy run-tidy x",
            "back skipped: When Expressions evaluated to false",
            "behind skipped: Results were missing",
            "always/write: wrote always run-always x",
            "last/write: wrote Succeeded Succeeded run-last x",
        ]
    );
    assert!(ended.succeeded);

    let (_folder, flow) = rollback("7");
    let (ended, lines) = course(&flow);
    assert_eq!(
        lines,
        [
            "change/write: wrote vm-lifecycle/run run-change x",
            "change/end 7",
            "tidy skipped: When Expressions evaluated to false",
            "back/write: wrote back run-back x",
            "behind/write: wrote behind back! run-behind x",
            "always/write: wrote always run-always x",
            "last/write: wrote Failed FailureIgnored run-last x",
        ]
    );
    assert!(ended.succeeded && !ended.tasks["change"].succeeded);

    // a task that left no result: neither is known to be right
    let (_folder, flow) = rollback("9");
    let (ended, lines) = course(&flow);
    assert_eq!(
        lines,
        [
            "change/write: wrote vm-lifecycle/run run-change x",
            "change/end 9",
            "tidy skipped: When Expressions evaluated to false",
            "back skipped: Results were missing",
            "behind skipped: Parent Tasks were skipped",
            "always skipped: Parent Tasks were skipped",
            "last/write: wrote Failed FailureIgnored run-last x",
        ]
    );
    assert!(ended.succeeded);
}

#[test]
fn a_step_dies_when_it_is_told_to() {
    let died = |moment: Moment, aftermath: Aftermath| {
        let (folder, mut flow) = rollback("0");
        let slow = "#!/bin/sh\necho slow\nexec 2>&1\nwhile :; do :; done\n";
        if matches!(moment, Moment::During(_)) {
            fs::write(folder.path().join("tell"), slow).unwrap();
        }
        let (task, step) = ("change".to_owned(), "end".to_owned());
        flow.kill = Some(Kill { task, step, moment, aftermath });
        let (ended, lines) = course(&flow);
        (ended.gone, ended.succeeded, lines)
    };
    let first = "change/write: wrote vm-lifecycle/run run-change x".to_owned();
    let gone = |lines: &[&str]| {
        let lines = std::iter::once(first.clone()).chain(lines.iter().map(|l| (*l).to_owned()));
        (true, false, lines.collect::<Vec<_>>())
    };
    assert_eq!(died(Moment::Before, Aftermath::Gone), gone(&[]));
    assert_eq!(died(Moment::Behind, Aftermath::Gone), gone(&[]));
    let midst = Moment::During(std::time::Duration::from_millis(50));
    assert_eq!(died(midst, Aftermath::Gone), gone(&["change/end: slow", "change/end -1"]));
    // its results are lost with it
    let (gone, succeeded, lines) = died(Moment::Behind, Aftermath::TaskLost);
    assert!(!gone && succeeded);
    assert_eq!(
        lines[1..3],
        ["tidy skipped: When Expressions evaluated to false", "back skipped: Results were missing"]
    );
    assert_eq!(lines.last().unwrap(), "last/write: wrote Failed PodEvicted run-last x");
}
