//! The built binary: flags, files, results.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io::Write as _};

const REQUEST: &str = r#"{"apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
"metadata": {"requestId": "R1", "requestedBy": "jane"},
"spec": {"operation": "provision", "target": {"name": "web", "namespace": "team"}, "compute": {"cpu": 1, "memory": "1Gi"},
"image": {"source": "container-disk", "reference": "quay.io/containerdisks/fedora:42"}}}"#;

const DONE: &str = "done: request `R1` accepted: provision `team/web` on `in-cluster`\n";

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(folder: &Path, arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_validate-request"));
    command.current_dir(folder).env_remove("RUST_LOG").args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // a step that does not read its input may be gone before it is written
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn results(folder: &Path) -> String {
    let mut lines: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            format!("{}={}", path.file_name().unwrap().to_str().unwrap(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_request_comes_as_a_string_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("request.json"), REQUEST).unwrap();
    let given = format!("--request={REQUEST}");
    let mut outputs = Vec::new();
    for (arguments, input) in [
        (vec![given.as_str()], ""),
        (vec!["--request-file=request.json"], ""),
        (vec!["--request-file=-"], REQUEST),
        (vec!["--request=", "--policy=", "--output=", "--report=", "--request-file=request.json"], ""),
    ] {
        let ended = run(folder.path(), &arguments, input);
        assert_eq!((ended.code, ended.err.as_str()), (0, DONE));
        outputs.push(ended.out);
    }
    assert!(outputs[0].starts_with("{\n  \"apiVersion\": \"vmlifecycle.dev/v1alpha1\",\n"));
    outputs.dedup();
    assert_eq!(outputs.len(), 1);
}

#[test]
fn exactly_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let hint = "hint: give either `--request` or `--request-file`, and not empty\n";
    for (arguments, what) in [
        (vec![], "no request"),
        (vec!["--request="], "no request"),
        (vec!["--request=", "--request-file="], "no request"),
        (vec!["--request={}", "--request-file=-"], "two requests"),
    ] {
        let ended = run(folder.path(), &arguments, "");
        assert_eq!((ended.code, ended.err), (2, format!("error: {what}\n{hint}")), "{arguments:?}");
    }
}

#[test]
fn a_string_is_json_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(folder.path(), &["--request=kind: VMRequest"], "");
    let line = "document: E_JSON: line 1, column 1: expected value";
    assert_eq!((ended.code, ended.err), (10, format!("{line}\nerror: request refused, 1 problem: {line}\n")));
}

#[test]
fn files_that_are_not_there_are_the_pipelines_fault() {
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--request-file=absent", "--policy=absent"] {
        let given = format!("--request={REQUEST}");
        let arguments = if flag.starts_with("--policy") { vec![given.as_str(), flag] } else { vec![flag] };
        let ended = run(folder.path(), &arguments, "");
        assert_eq!(
            (ended.code, ended.err.as_str()),
            (2, "error: cannot read `absent`: No such file or directory (os error 2)\n")
        );
    }
    let ended = run(folder.path(), &[&format!("--request={REQUEST}"), "--output=absent/request.json"], "");
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (
            2,
            "error: cannot write `absent/request.json`: No such file or directory (os error 2)\n\
             hint: it must be in a folder that this step may write to\n"
        )
    );
    let ended = run(folder.path(), &[&format!("--request={REQUEST}"), "--report=-"], "");
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (
            2,
            "error: both the report and the request would go to standard output\nhint: give `--output` a file\n"
        )
    );
}

#[test]
fn results_say_which_machine_and_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let arguments = [
        &format!("--request={REQUEST}"),
        "--output=request.json",
        "--report=report.json",
        "--outcome-path=ok/outcome",
    ];
    assert_eq!(run(path, &arguments, "").code, 0);
    let accepted = fs::read_to_string(path.join("request.json")).unwrap();
    let digest = serde_json::from_str::<vm::request::Request>(&accepted).unwrap().digest();
    assert_eq!(
        results(&path.join("ok")),
        format!(
            "changed=false\ncluster=in-cluster\ndigest={digest}\nmessage=request `R1` accepted: provision `team/web` on `in-cluster`\n\
             namespace=team\noperation=provision\noutcome=ok\nproblems=0\nrequest-id=R1\nvm-name=web"
        )
    );
    let report = fs::read_to_string(path.join("report.json")).unwrap();
    assert_eq!(
        report,
        format!("{{\n  \"outcome\": \"ok\",\n  \"digest\": \"{digest}\",\n  \"problems\": []\n}}\n")
    );
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ok", "report.json", "request.json"]);
}

#[test]
fn what_was_accepted_before_stays_when_the_next_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("request.json"), "before").unwrap();
    let bad = REQUEST.replace("1Gi", "1GB").replace("\"team\"", "\"kube-system\"");
    let arguments =
        [&format!("--request={bad}"), "--output=request.json", "--report=-", "--outcome-path=bad/outcome"];
    let ended = run(path, &arguments, "");
    assert_eq!(ended.code, 10);
    assert_eq!(fs::read_to_string(path.join("request.json")).unwrap(), "before");
    assert_eq!(
        ended.out,
        r#"{
  "outcome": "invalid",
  "problems": [
    {
      "pointer": "/spec/compute/memory",
      "code": "E_PATTERN",
      "message": "expected a whole number and a unit, such as `512Mi`, `8Gi` or `2Ti`, at most 1024Ti, got `1GB`"
    },
    {
      "pointer": "/spec/target/namespace",
      "code": "E_POLICY_NAMESPACE",
      "message": "the policy does not allow `kube-system`",
      "hint": "it belongs to the platform"
    }
  ]
}
"#
    );
    assert_eq!(
        results(&path.join("bad")),
        "changed=false\ncluster=in-cluster\ndigest=\nmessage=request refused, 2 problems, first: /spec/compute/memory: E_PATTERN: \
         expected a whole number and a unit, such as `512Mi`, `8Gi` or `2Ti`, at most 1024Ti, got `1GB` | /spec/target/namespace: \
         E_POLICY_NAMESPACE: the policy does not allow `kube-system`; hint: it belongs to the platform\n\
         namespace=kube-system\noperation=provision\noutcome=invalid\nproblems=2\nrequest-id=R1\nvm-name=web"
    );
}

#[test]
fn results_of_a_request_with_no_end_of_problems_fit() {
    let folder = tempfile::tempdir().unwrap();
    let disks: Vec<String> = (0..400).map(|at| format!("{{\"name\": \"D{at}\"}}")).collect();
    let bad = REQUEST.replace("\"image\"", &format!("\"disks\": [{}], \"image\"", disks.join(",")));
    let ended = run(folder.path(), &[&format!("--request={bad}"), "--outcome-path=bad/outcome"], "");
    assert_eq!(ended.code, 10);
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 102);
    assert_eq!(lines[100], "and 701 more");
    assert!(lines[101].starts_with(
        "error: request refused, 801 problems, first: /spec/disks: E_ITEMS: 400 items, at most 32 | "
    ));
    let written = results(&folder.path().join("bad"));
    assert!(written.contains("problems=801") && written.len() < 1000, "{} bytes", written.len());
}

#[test]
fn results_are_whole_also_with_the_longest_names() {
    let folder = tempfile::tempdir().unwrap();
    let (name, namespace, cluster, id) = ("v".repeat(63), "n".repeat(63), "c".repeat(63), "R".repeat(64));
    let request = serde_json::json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
        "metadata": {"requestId": id, "requestedBy": "jane"},
        "spec": {"operation": "deprovision", "target": {"name": name, "namespace": namespace, "cluster": cluster}},
    });
    fs::write(
        folder.path().join("policy.yaml"),
        "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMPolicy\nspec: {allow: {clusterByRequester: true}}\n",
    )
    .unwrap();
    let arguments = [
        &format!("--request={request}"),
        "--output=request.json",
        "--policy=policy.yaml",
        "--outcome-path=ok/outcome",
    ];
    let ended = run(folder.path(), &arguments, "");
    assert_eq!(ended.code, 0, "{}", ended.err);
    let accepted = fs::read_to_string(folder.path().join("request.json")).unwrap();
    let digest = vm::request::Accepted::parse(&accepted).unwrap().digest();
    let message = format!("request `{id}` accepted: deprovision `{namespace}/{name}` on `{cluster}`");
    assert_eq!(
        results(&folder.path().join("ok")),
        format!(
            "changed=false\ncluster={cluster}\ndigest={digest}\nmessage={message}\nnamespace={namespace}\n\
             operation=deprovision\noutcome=ok\nproblems=0\nrequest-id={id}\nvm-name={name}"
        )
    );
}

#[test]
fn a_folder_says_what_git_holds() {
    let folder = tempfile::tempdir().unwrap();
    let stop = r#"{"apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest", "metadata": {"requestId": "R2", "requestedBy": "jane"},
"spec": {"operation": "restart", "target": {"name": "web", "namespace": "team"}}}"#;
    let machine = folder.path().join("git/vms/in-cluster/team/web");
    fs::create_dir_all(&machine).unwrap();
    fs::write(folder.path().join("git/.commit"), "0".repeat(40)).unwrap();
    let given = format!("--request={stop}");
    let arguments =
        [given.as_str(), "--definition=git", "--output=request.json", "--outcome-path=results/outcome"];

    let ended = run(folder.path(), &arguments, "");
    let missing = "/spec/target/name: E_NO_MACHINE: Git has no machine in `vms/in-cluster/team/web`; hint: see name, namespace and cluster";
    assert_eq!(
        (ended.code, ended.err),
        (10, format!("{missing}\nerror: request refused, 1 problem: {missing}\n"))
    );
    assert!(!folder.path().join("request.json").exists());
    assert!(results(&folder.path().join("results")).contains("digest=\n"));

    let text = "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web}\nspec: {runStrategy: Always}\n";
    fs::write(machine.join("vm.yaml"), text).unwrap();
    let ended = run(folder.path(), &arguments, "");
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (0, "done: request `R2` accepted: restart `team/web` on `in-cluster`\n")
    );

    std::os::unix::fs::symlink("/etc", machine.join("link")).unwrap();
    let ended = run(folder.path(), &arguments, "");
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (
            2,
            "error: cannot read `git`: `vms/in-cluster/team/web/link` is neither file nor folder\n\
             hint: `--definition` is the folder that `fetch-vm` wrote\n"
        )
    );
    let ended = run(folder.path(), &[given.as_str(), "--definition=absent"], "");
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (
            2,
            "error: cannot read `absent`: No such file or directory (os error 2)\n\
             hint: `--definition` is the folder that `fetch-vm` wrote\n"
        )
    );
}

#[test]
fn the_schema_is_printed_as_it_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(folder.path(), &["--schema"], "");
    assert_eq!((ended.code, ended.err.as_str()), (0, "done: schema printed\n"));
    assert_eq!(ended.out, vm::schema::REQUEST);
}

#[test]
fn a_code_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(folder.path(), &["--explain=e_pattern"], "");
    assert_eq!((ended.code, ended.err.as_str()), (0, "done: `E_PATTERN` explained\n"));
    assert_eq!(
        ended.out,
        "E_PATTERN: Not of the form that the field takes.\n\nExit code 10 (`invalid`).\n\n\
         What is refused, for example:\n\n    memory: 4GB\n\nWhat it is told:\n\n    \
         /spec/compute/memory: E_PATTERN: expected a whole number and a unit, such as `512Mi`, `8Gi` or `2Ti`, at most 1024Ti, got `4GB`\n\n\
         The way out: Write the value in the form that the message describes. Amounts have a unit of powers of two: `Mi`, `Gi` or `Ti`. \
         Names are in small letters.\n"
    );
    for code in vm::problem::Code::ALL {
        let ended = run(folder.path(), &[&format!("--explain={code}")], "");
        assert_eq!((ended.code, ended.err), (0, format!("done: `{code}` explained\n")));
        assert!(
            ended.out.starts_with(&format!("{code}: ")) && ended.out.contains("\nThe way out: "),
            "{code}"
        );
    }
    let ended = run(folder.path(), &["--explain=W_OPEN"], "");
    assert_eq!(ended.code, 0);
    assert!(ended.out.starts_with("W_OPEN: A rule that leaves open what it seems to close.\n\nExit code 10 (`invalid`).\n\nA policy with, for example:\n\n"));
    for (word, hint) in [
        ("E_PATERN", "did you mean `E_PATTERN`"),
        ("e_policy_namspace", "did you mean `E_POLICY_NAMESPACE`"),
        ("w_opn", "did you mean `W_OPEN`"),
        ("nonsense", "every code is in docs/reference/errors.md"),
    ] {
        let ended = run(folder.path(), &[&format!("--explain={word}")], "");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""));
        assert_eq!(ended.err, format!("error: there is no code `{word}`\nhint: {hint}\n"));
    }
}
