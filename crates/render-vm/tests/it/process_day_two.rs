//! The program as a process, for operations on a machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::day_two::Repository;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The folder of one run.
pub(crate) struct Case(TempDir);

impl Case {
    /// What `fetch-vm` wrote of a repository, and a request about its machine.
    pub(crate) fn new(repository: &Repository, id: &str, operation: &str, spec: &Value) -> Self {
        let case = Self(tempfile::tempdir().unwrap());
        let request = repository.request(id, operation, spec);
        fs::write(case.path("request.json"), request.canonical()).unwrap();
        for (path, bytes) in &repository.files {
            // it brings nothing but the machine's
            if !path.starts_with("namespaces/") {
                case.write(&format!("definition/{path}"), bytes);
            }
        }
        case.write("definition/.commit", COMMIT.as_bytes());
        case
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn run(&self, more: &[&str]) -> (i32, String, String) {
        let at = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let output = Command::new(env!("CARGO_BIN_EXE_render-vm"))
            .arg(at("request-file", "request.json"))
            .arg(at("outcome-path", "results/outcome"))
            .arg("--repo-url=https://git.example/vms.git")
            .args(more)
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.0.path().to_str().unwrap(), "DIR");
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// With everything that an operation needs.
    pub(crate) fn render(&self, more: &[&str]) -> (i32, String) {
        let at = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let flags = [at("definition", "definition"), at("output", "out"), at("plan", "plan.json")];
        let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
        arguments.extend(more);
        let (code, out, said) = self.run(&arguments);
        assert_eq!(out, "");
        (code, said)
    }

    pub(crate) fn result(&self, name: &str) -> String {
        fs::read_to_string(self.path("results").join(name)).unwrap()
    }

    fn plan(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("plan.json")).unwrap()).unwrap()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.path("out"), "", &mut found);
        found
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), found);
        } else {
            found.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn files_and_plan_are_those_of_the_phase() {
    let mut repository = Repository::example("linux-golden");
    let spec = json!({"image": {"source": "http", "url": "https://images.example/f.qcow2"}});
    let machine = repository.target.path();
    let archives = repository.target.archives_path();
    let case = Case::new(&repository, "R1", "repave", &spec);
    // without a word it is the first phase
    let (code, said) = case.render(&[]);
    assert_eq!((code, said.lines().last()), (0, Some("done: rendered 4 files")));
    let change = repository.run("R1", "repave", &spec, "repave");
    assert_eq!(case.files(), change.files);
    let plan = |phase: &str, remove: &[String]| {
        json!({
            "base": COMMIT,
            "remove": remove,
            "unchanged": [machine, archives],
            "marker": format!("{machine}/operations/R1/{phase}.yaml"),
            "subject": format!("repave vm payments-prod/pay-db-01: {phase}"),
        })
    };
    assert_eq!(case.plan(), plan("repave", &[]));
    let boot = repository.request("R1", "repave", &spec).volume("root");
    assert_eq!((case.result("boot-claim"), case.result("until")), (boot.clone(), "ready".to_owned()));
    // the checks are those that the machine was provisioned with
    assert_eq!(
        (case.result("require-guest-agent"), case.result("require-tcp-port")),
        ("true".into(), "22".into())
    );

    let case = Case::new(&repository, "R1", "repave", &spec);
    let (code, said) = case.render(&["--phase=cleanup"]);
    assert_eq!((code, said.lines().last()), (0, Some("done: rendered 2 files, 1 to remove")));
    let change = repository.run("R1", "repave", &spec, "cleanup");
    assert_eq!((case.files(), case.plan()), (change.files.clone(), plan("cleanup", &change.remove)));

    // done already: the record of the last phase, and nothing that has to be as it was
    let case = Case::new(&repository, "R1", "repave", &spec);
    let (code, said) = case.render(&["--phase=repave"]);
    assert_eq!((code, said.lines().last()), (0, Some("done: done already, rendered 1 file")));
    let record = format!("{machine}/operations/R1/cleanup.yaml");
    assert_eq!(case.files(), [(record.clone(), repository.files[&record].clone())].into());
    assert_eq!((case.plan()["unchanged"].clone(), case.result("boot-claim")), (json!([]), boot));
}

#[test]
fn an_earlier_run_in_the_same_folders_gives_way() {
    let mut repository = Repository::example("linux-golden");
    let case = Case::new(&repository, "R1", "stop", &json!({}));
    assert_eq!(case.render(&[]).0, 0);
    let (code, said) = case.render(&[]);
    assert_eq!((code, said.lines().last()), (0, Some("done: rendered 2 files, already there")));
    // the push was made, and everything runs again
    let change = repository.run("R1", "stop", &json!({}), "power");
    for (path, bytes) in &change.files {
        case.write(&format!("definition/{path}"), bytes);
    }
    assert_eq!(case.render(&[]).0, 0);
    assert_eq!(case.files().keys().collect::<Vec<_>>(), [&change.marker]);
    // what no plan speaks of is somebody's
    fs::remove_file(case.path("plan.json")).unwrap();
    case.write("out/mine", b"mine");
    let (code, said) = case.render(&[]);
    assert_eq!(
        (code, said.lines().next()),
        (2, Some("error: `DIR/out` holds other files already, such as `mine`"))
    );
}

#[test]
fn a_difference_shows_what_goes_as_well() {
    let mut repository = Repository::example("linux");
    repository.run("R1", "deprovision", &json!({}), "stop");
    let case = Case::new(&repository, "R1", "deprovision", &json!({}));
    let folder = case.path("definition").display().to_string();
    let flags = [format!("--definition={folder}"), format!("--diff={folder}"), "--phase=remove".to_owned()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (code, out, said) = case.run(&flags);
    let count = repository.names().len() + 1;
    assert_eq!(
        (code, said),
        (
            0,
            format!(
                "done: rendered {} files, {count} to remove, {} of them differ\n",
                count + 3,
                2 * count + 3
            )
        )
    );
    let gone = out.matches("\n+++ /dev/null\n").count();
    let new = out.matches("--- /dev/null\n").count();
    assert_eq!((gone, new), (count, count + 3));
    assert!(!case.path("plan.json").exists());
}

#[test]
fn point_08_what_becomes_of_each_disk_is_said_of_all_or_the_removal_is_refused() {
    let mut repository = Repository::example("linux-golden");
    let claims = |repository: &Repository| {
        let case = Case::new(repository, "R1", "deprovision", &json!({}));
        assert_eq!(case.render(&["--phase=stop"]).0, 0);
        [case.result("gone-claims"), case.result("keep-claims"), case.result("until")]
    };
    let mut text = repository.text("virtual-machine.yaml").to_owned();
    let there = claims(&repository);
    assert_eq!(there.each_ref().map(String::is_empty), [false; 3], "{there:?}");
    for phase in ["stop", "remove"] {
        repository.run("R1", "deprovision", &json!({}), phase);
    }
    // a run that comes after all was done: the tombstone knows
    let [gone, keep, _] = &there;
    assert_eq!(claims(&repository), [gone.as_str(), keep.as_str(), "absent"]);

    let mut repository = Repository::example("linux-golden");
    let many: Vec<String> = (0..40)
        .map(|n| format!("        - name: more-{n}\n          persistentVolumeClaim:\n            claimName: somebodys-disk-{n}\n"))
        .collect();
    text = text.replace("      volumes:\n", &format!("      volumes:\n{}", many.concat()));
    repository.set("virtual-machine.yaml", &text);
    let case = Case::new(&repository, "R1", "deprovision", &json!({}));
    let (code, said) = case.render(&["--phase=stop"]);
    assert_eq!(
        (code, said.as_str()),
        (
            10,
            "error: the names of the machine's disks are too long together: what becomes of each could not be looked at\n\
             hint: take disks out of the machine in Git first; those that stay keep their data\n"
        )
    );
    assert!(!case.path("plan.json").exists());
}

#[test]
fn what_cannot_be_rendered_writes_nothing() {
    let repository = Repository::example("linux-golden");
    let case = Case::new(&repository, "R1", "stop", &json!({}));
    let out = format!("--output={}", case.path("out").display());
    let definition = format!("--definition={}", case.path("definition").display());
    assert_eq!(
        case.run(&[&out]),
        (
            2,
            String::new(),
            "error: nothing to render: `stop` is about a machine in Git\n\
             hint: `--definition` names the folder that `fetch-vm` wrote\n"
                .to_owned()
        )
    );
    let what = "error: an operation on a machine needs `--plan`: it is more than files to write\n";
    assert_eq!(case.run(&[&out, &definition]), (2, String::new(), what.to_owned()));
    let (code, said) = case.render(&["--phase=repave"]);
    let what =
        "error: nothing to render: operation `stop` has no phase `repave`\nhint: `--phase` takes `power`\n";
    assert_eq!((code, said.as_str()), (2, what));

    let machine = format!("definition/{}/virtual-machine.yaml", repository.target.path());
    let text = repository.text("virtual-machine.yaml");
    case.write(
        &machine,
        text.replace("runStrategy: \"Always\"", "running: true\n  runStrategy: \"Always\"").as_bytes(),
    );
    let (code, said) = case.render(&[]);
    assert_eq!(
        (code, said.lines().filter(|l| l.starts_with("error")).collect::<Vec<_>>()),
        (
            10,
            vec![
                "error: request refused, 1 problem: E_DEFINITION: `vms/in-cluster/payments-prod/pay-db-01/virtual-machine.yaml`: \
         the `VirtualMachine` needs either `spec.runStrategy` or `spec.running`"
            ]
        )
    );
    // an anchor that is used elsewhere: a change would change other places too
    let shared = text.replace("runStrategy: \"Always\"", "runStrategy: &on Always").replace(
        "    app.kubernetes.io/managed-by: vm-lifecycle-tasks\n",
        "    app.kubernetes.io/managed-by: vm-lifecycle-tasks\n    power: *on\n",
    );
    // the label is written before the anchor: move it behind
    let (head, label) = ("    power: *on\n", "  power: *on\n");
    let shared = shared.replace(head, "").replace("  template:\n", &format!("{label}  template:\n"));
    case.write(&machine, shared.as_bytes());
    let (code, said) = case.render(&[]);
    assert_eq!(
        (code, said.lines().next().unwrap()),
        (
            20,
            "error: cannot edit `vms/in-cluster/payments-prod/pay-db-01/virtual-machine.yaml`: `spec.runStrategy` has an anchor \
         (`&`) that is used elsewhere, so a change would change other places too"
        )
    );

    fs::write(case.path("definition/.commit"), "main").unwrap();
    let (code, said) = case.render(&[]);
    assert_eq!(
        (code, said.lines().next().unwrap()),
        (2, "error: cannot read `DIR/definition`: `.commit` is not 40 hex digits")
    );
    fs::remove_file(case.path("definition/.commit")).unwrap();
    let (code, said) = case.render(&[]);
    assert_eq!(
        (code, said.lines().next().unwrap()),
        (2, "error: cannot read `DIR/definition`: there is no file `.commit`")
    );
    assert!(!case.path("out").exists() && !case.path("plan.json").exists());
}

#[test]
fn a_machine_that_is_not_there() {
    let repository = Repository::example("linux-golden");
    let case = Case::new(&repository, "R1", "stop", &json!({}));
    fs::remove_dir_all(case.path("definition")).unwrap();
    case.write("definition/.commit", b"");
    let (code, said) = case.render(&[]);
    assert_eq!(
        (code, said.lines().find(|line| line.starts_with("error")).unwrap()),
        (
            10,
            "error: request refused, 1 problem: E_NO_MACHINE: Git has no machine in `vms/in-cluster/payments-prod/pay-db-01`"
        )
    );
}

#[test]
fn disks_that_grow_have_to_fit_the_results() {
    let mut repository = Repository::example("linux-golden");
    let claim = |n: usize| format!("{}-{n:02}", "c".repeat(60));
    let mut machine = repository.text("virtual-machine.yaml").to_owned();
    for n in 0..8 {
        let volume = format!(
            "        - name: \"disk-{n}\"\n          persistentVolumeClaim:\n            claimName: \"{}\"\n",
            claim(n)
        );
        machine = machine.replace("      volumes:\n", &format!("      volumes:\n{volume}"));
        let disk = repository.text("disk-data.yaml").to_owned();
        let data = repository.definition().machine.unwrap().disk("data").unwrap().claim.clone();
        repository.set(&format!("disk-{n}.yaml"), &disk.replace(&data, &claim(n)));
    }
    repository.set("virtual-machine.yaml", &machine);
    let grow = |count: usize| {
        let disks: Vec<_> =
            (0..count).map(|n| json!({"name": format!("disk-{n}"), "size": "300Gi"})).collect();
        Case::new(&repository, "R1", "resize", &json!({"disks": disks}))
    };
    let case = grow(3);
    assert_eq!(case.render(&[]).0, 0);
    assert_eq!(
        case.result("grow-disks"),
        format!("{}=300Gi,{}=300Gi,{}=300Gi", claim(0), claim(1), claim(2))
    );
    let case = grow(8);
    let (code, said) = case.render(&[]);
    let what = "error: the names of the disks to grow are too long together for one request\nhint: send several requests\n";
    assert_eq!((code, said.as_str()), (10, what));
    assert!(!case.path("out").exists());
}
