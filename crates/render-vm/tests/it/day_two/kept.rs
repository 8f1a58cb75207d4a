//! Files that people have edited: the diff of each phase is exactly what it has to be.

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::{Repository, life};

/// The lines that go (`-`) and come (`+`) in the machine's files, record and new files left out.
fn lines(before: &Repository, after: &Repository) -> Vec<String> {
    let mut found = Vec::new();
    for name in before.names().into_iter().filter(|name| after.names().contains(name)) {
        let diff = TextDiff::from_lines(before.text(name), after.text(name));
        for change in diff.iter_all_changes() {
            let sign = match change.tag() {
                ChangeTag::Equal => continue,
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            // what ends the line is a part of it
            found.push(format!("{name} {sign}{:?}", change.value()));
        }
    }
    found
}

/// A machine whose files were written by hand: other order, comments, quotes, CRLF, flow style, a disk of its own kind.
fn by_hand() -> Repository {
    let mut repository = Repository::example("linux-golden");
    let folder = repository.target.path();
    let root = repository.definition().machine.unwrap().boot_disk().unwrap().claim.clone();
    let data = format!("{}-data-{}", repository.target.name, root.rsplit('-').next().unwrap());
    repository.files.retain(|path, _| !path.contains("/disk-root-"));
    repository.set("kustomization.yaml", "# what belongs to the machine\r\nkind: Kustomization\r\napiVersion: kustomize.config.k8s.io/v1beta1\r\nresources: # in this order\r\n- virtual-machine.yaml   # the machine\r\n- boot.yaml\r\n- disk-data.yaml\r\n\r\n# the end\r\n");
    repository.set(
        "virtual-machine.yaml",
        &format!(
            "\
# our database
kind: VirtualMachine
apiVersion: kubevirt.io/v1
metadata: {{name: pay-db-01, labels: {{team: 'payments'}}}}   # no namespace: Kustomize adds it
spec:
  runStrategy: RerunOnFailure # agreed with operations

  instancetype: {{name: 'u1.medium', kind: VirtualMachineClusterInstancetype}}
  template:
    spec:
      domain:
        devices:
          disks:
            - {{name: data, disk: {{bus: virtio}}}}
            - name: root   # first
              bootOrder: 1
              disk: {{bus: virtio}}
          interfaces: [{{name: default, masquerade: {{}}, macAddress: 02:00:00:00:00:01}}]
      networks: [{{name: default, pod: {{}}}}]
      volumes:
      - name: data
        persistentVolumeClaim: {{claimName: {data}}}
      - name: root
        persistentVolumeClaim:
          # the one that counts
          claimName: '{root}' # changes at each repave
"
        ),
    );
    repository.set(
        "boot.yaml",
        &format!(
            "\
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata:
  name: {root}
spec:
  sourceRef: {{kind: DataSource, name: fedora}}
  storage:
    accessModes: [ReadWriteMany] # it moves
    volumeMode: Block
    storageClassName: fast
    resources: {{requests: {{storage: 40G}}}}
"
        ),
    );
    let disk = repository.text("disk-data.yaml").replace(
        "    argocd.argoproj.io/sync-options: Prune=false,Delete=false\n",
        "    # never remove it\n    argocd.argoproj.io/sync-options: \"Prune=false, ServerSideApply=true,Delete=false\" # !\n",
    );
    repository.set("disk-data.yaml", &disk);
    repository.set("NOTES.md", "who to ask: Jane\n");
    assert_eq!(repository.definition().machine.unwrap().path, format!("{folder}/virtual-machine.yaml"));
    repository
}

#[test]
fn hand_edited_files_keep_every_other_byte() {
    let mut repository = by_hand();
    let root = repository.definition().machine.unwrap().boot_disk().unwrap().claim.clone();
    let claim = |id: &str| repository.request(id, "repave", &json!({})).volume("root");
    let file = |id: &str| format!("disk-root-{}.yaml", claim(id).rsplit('-').next().unwrap());
    let (claims, files) = ([claim("R07"), claim("R08")], [file("R07"), file("R08")]);
    let halt = [
        "virtual-machine.yaml -\"  runStrategy: RerunOnFailure # agreed with operations\\n\"",
        "virtual-machine.yaml +\"  runStrategy: Halted # agreed with operations\\n\"",
    ];
    let run = [
        "virtual-machine.yaml -\"  runStrategy: Halted # agreed with operations\\n\"",
        "virtual-machine.yaml +\"  runStrategy: RerunOnFailure # agreed with operations\\n\"",
    ];
    let boot = |from: &str, to: &str| {
        [('-', from), ('+', to)].map(|(sign, claim)| {
            let line = format!("          claimName: '{claim}' # changes at each repave\n");
            format!("virtual-machine.yaml {sign}{line:?}")
        })
    };
    let listed = |sign: char, file: &str| format!("kustomization.yaml {sign}{:?}", format!("- {file}\r\n"));
    let options = |sign: char, options: &str| {
        let line = format!("    argocd.argoproj.io/sync-options: \"{options}\" # !\n");
        format!("disk-data.yaml {sign}{line:?}")
    };
    let (all, kept) = ("Prune=false, ServerSideApply=true,Delete=false", "ServerSideApply=true");
    for (id, operation, spec, phase) in life() {
        let before = repository.clone();
        repository.run(id, operation, &spec, phase.word());
        let wanted: Vec<String> = match (id, phase.word()) {
            ("R01", _) | (_, "stop") if id != "R12" || phase.word() != "stop" => {
                halt.map(str::to_owned).to_vec()
            }
            ("R02" | "R11", _) | (_, "start") => run.map(str::to_owned).to_vec(),
            ("R06", _) => [("-", "u1.medium"), ("+", "u1.large")]
                .map(|(sign, name)| {
                    let line = format!(
                        "  instancetype: {{name: '{name}', kind: VirtualMachineClusterInstancetype}}\n"
                    );
                    format!("virtual-machine.yaml {sign}{line:?}")
                })
                .to_vec(),
            ("R07", "repave") => [vec![listed('+', &files[0])], boot(&root, &claims[0]).to_vec()].concat(),
            ("R07", "rollback") => [vec![listed('-', &files[0])], boot(&claims[0], &root).to_vec()].concat(),
            ("R08", "repave") => [vec![listed('+', &files[1])], boot(&root, &claims[1]).to_vec()].concat(),
            ("R08", "cleanup") => vec![listed('-', "boot.yaml")],
            ("R12", "stop") => {
                [vec![options('-', all), options('+', kept)], halt.map(str::to_owned).to_vec()].concat()
            }
            _ => Vec::new(),
        };
        assert_eq!(lines(&before, &repository), wanted, "{id} {operation} {phase}");
    }
    // what came back from the archive is what went there, but for the protection of the disk that was let go
    let disk = repository.text("disk-data.yaml");
    assert!(
        disk.contains(
            "    argocd.argoproj.io/sync-options: \"ServerSideApply=true,Prune=false,Delete=false\" # !\n"
        ),
        "{disk}"
    );
    assert_eq!(repository.text("NOTES.md"), "who to ask: Jane\n");
}

#[test]
fn a_new_boot_disk_is_stored_as_the_old_one() {
    let mut repository = by_hand();
    repository.run("R07", "repave", &json!({}), "repave");
    let request = repository.request("R07", "repave", &json!({}));
    let file = format!("disk-root-{}.yaml", request.generation());
    let text = repository.text(&file);
    let storage = "  storage:\n    accessModes:\n      - \"ReadWriteMany\"\n    volumeMode: \"Block\"\n    resources:\n      \
                   requests:\n        storage: \"40G\"\n    storageClassName: \"fast\"\n";
    assert!(text.ends_with(storage), "{text}");
}

#[test]
fn a_machine_comes_back_from_the_archive_to_the_byte() {
    for mut repository in [by_hand(), Repository::example("linux-golden"), Repository::example("linux")] {
        repository.run("R01", "stop", &json!({}), "power");
        let before = repository.clone();
        repository.run("R02", "deprovision", &json!({}), "stop");
        repository.run("R02", "deprovision", &json!({}), "remove");
        assert!(repository.names().is_empty() && !repository.definition().exists());
        let applications = repository.files.keys().filter(|path| path.starts_with("applications/"));
        assert_eq!(applications.collect::<Vec<_>>(), [vm::layout::APPLICATIONS_FILE]);
        repository.run("R03", "undelete", &json!({}), "undelete");
        assert!(repository.files.keys().all(|path| !path.starts_with("archive/")));
        let new: Vec<&String> =
            repository.files.keys().filter(|path| !before.files.contains_key(*path)).collect();
        let operations = repository.target.operations_path();
        let records =
            ["R02/remove", "R02/stop", "R03/undelete"].map(|name| format!("{operations}/{name}.yaml"));
        let kept = vm::layout::APPLICATIONS_FILE.to_owned();
        assert_eq!(new, [&kept].into_iter().chain(&records).collect::<Vec<_>>());
        for (path, bytes) in &before.files {
            assert_eq!(repository.files.get(path), Some(bytes), "{path}");
        }
    }
}

#[test]
fn a_repave_that_is_rolled_back_leaves_its_records_alone() {
    for mut repository in [by_hand(), Repository::example("linux-golden")] {
        let before = repository.clone();
        let spec: Value = json!({"image": {"source": "http", "url": "https://images.example/fedora.qcow2"}});
        repository.run("R01", "repave", &spec, "repave");
        repository.run("R01", "repave", &spec, "rollback");
        let operations = repository.target.operations_path();
        let records = ["repave", "rollback"].map(|phase| format!("{operations}/R01/{phase}.yaml"));
        let others: Vec<_> = repository.files.iter().filter(|(path, _)| !records.contains(path)).collect();
        assert_eq!(others, before.files.iter().collect::<Vec<_>>());
    }
}

/// A repave and a resize edit what Git holds: what else a request asked for is not theirs.
#[test]
fn what_else_was_asked_for_stays() {
    let mut repository = Repository::provisioned("every-field");
    let before = repository.clone();
    let old = repository.definition().machine.unwrap().boot_disk().unwrap().claim.clone();
    repository.run("R1", "repave", &json!({}), "repave");
    repository.run("R2", "resize", &json!({"compute": {"instanceType": "u1.large"}}), "resize");
    let new = repository.request("R1", "repave", &json!({})).volume("root");
    let changed: Vec<String> = lines(&before, &repository)
        .into_iter()
        .filter(|line| line.starts_with("virtual-machine.yaml"))
        .collect();
    let claim = |sign: char, claim: &str| {
        format!("virtual-machine.yaml {sign}{:?}", format!("            claimName: \"{claim}\"\n"))
    };
    assert_eq!(
        changed,
        [
            r#"virtual-machine.yaml -"    name: \"u1.medium\"\n""#.to_owned(),
            r#"virtual-machine.yaml +"    name: \"u1.large\"\n""#.to_owned(),
            claim('-', &old),
            claim('+', &new),
        ]
    );
}
