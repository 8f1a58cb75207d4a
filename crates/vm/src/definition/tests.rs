use std::collections::BTreeMap;

use super::{Cpu, Definition, Disk, Source, Unreadable, Volume};
use crate::request::Target;

fn target() -> Target {
    serde_json::from_str(r#"{"name": "web", "namespace": "team"}"#).unwrap()
}

fn read(files: &[(&str, &str)]) -> Result<Definition, Unreadable> {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    Definition::read(&files, &target())
}

const OTHERS: [(&str, &str); 4] = [
    (".commit", "0123"),
    ("vms/in-cluster/team/web-2/vm.yaml", "not: [read"),
    ("vms/in-cluster/other/web/vm.yaml", "not: [read"),
    ("archive/in-cluster/team/web-2/R1/tombstone.yaml", "not: [read"),
];

#[test]
fn nothing_but_the_machines_own_files_is_looked_at() {
    let definition = read(&OTHERS).unwrap();
    assert!(!definition.exists() && !definition.protected());
    assert_eq!((definition.files.len(), definition.archived.len(), definition.next_sequence()), (0, 0, 1));
}

#[test]
fn a_machine_that_others_wrote_is_found_in_whatever_file_it_is() {
    let text = "\
# all in one
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata: &meta
  name: web-data
  annotations: {argocd.argoproj.io/sync-options: 'Prune=false,Delete=false'}
spec: {storage: {resources: {requests: {storage: 8Gi}}}}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: web, labels: {vmlifecycle.dev/protected: 'true'}}
spec:
  running: yes
  dataVolumeTemplates:
    - metadata: {name: web-boot}
      spec: {pvc: {resources: {requests: {storage: 5000000000}}}}
  template:
    spec:
      domain:
        cpu: {sockets: 2, threads: 2}
        memory: {guest: 4Gi}
        devices: {disks: [{name: data, bootOrder: 2}, {name: boot, bootOrder: 1}, {name: init}, {name: iso}]}
      volumes:
        - {name: data, persistentVolumeClaim: {claimName: web-data}}
        - {name: boot, dataVolume: {name: web-boot}}
        - {name: init, cloudInitNoCloud: {userData: x}}
        - {name: iso, containerDisk: {image: 'quay.io/a:1'}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: web-data}
spec: {resources: {requests: {storage: 10Gi}}}
";
    let mut files = OTHERS.to_vec();
    files.push(("vms/in-cluster/team/web/all.yml", text));
    files.push(("vms/in-cluster/team/web/README.md", "# not: [read"));
    let definition = read(&files).unwrap();
    assert!(definition.protected() && definition.request.is_none());
    assert_eq!(definition.files.len(), 2);
    let machine = definition.machine.unwrap();
    assert_eq!((machine.path.as_str(), machine.index), ("vms/in-cluster/team/web/all.yml", 1));
    assert_eq!((machine.run_strategy.as_str(), machine.is_on()), ("Always", true));
    assert_eq!(machine.cpu(), Some(Cpu { sockets: 2, cores: 1, threads: 2 }));
    assert_eq!((machine.memory(), machine.instance_type()), (Some("4Gi"), None));
    let volume = |name: &str, source, boot| Volume { name: name.to_owned(), source, boot };
    assert_eq!(
        machine.volumes,
        [
            volume("data", Source::Claim("web-data".to_owned()), false),
            volume("boot", Source::DataVolume("web-boot".to_owned()), true),
            volume("init", Source::Other("cloudInitNoCloud".to_owned()), false),
            volume("iso", Source::ContainerDisk("quay.io/a:1".to_owned()), false),
        ]
    );
    let data = Disk {
        name: "data".to_owned(),
        claim: "web-data".to_owned(),
        boot: false,
        file: Some("vms/in-cluster/team/web/all.yml".to_owned()),
        template: false,
        // the claim was grown; its DataVolume cannot change
        size: Some("10Gi".to_owned()),
        claim_file: true,
        kept: true,
    };
    let boot = Disk {
        name: "boot".to_owned(),
        claim: "web-boot".to_owned(),
        boot: true,
        file: None,
        template: true,
        size: Some("5000000000".to_owned()),
        claim_file: false,
        kept: false,
    };
    assert_eq!(machine.disks, [data, boot.clone()]);
    assert_eq!(
        (machine.disk("root"), machine.disk("boot"), machine.disk("iso")),
        (Some(&boot), Some(&boot), None)
    );
}

#[test]
fn without_a_boot_order_the_first_disk_boots_and_without_disks_the_first_volume() {
    let boot = |disks: &str| {
        let text = format!(
            "{{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {{name: web}}, spec: {{runStrategy: Manual, template: {{spec: {{\
             domain: {{devices: {{{disks}}}}}, volumes: [{{name: a, persistentVolumeClaim: {{claimName: a}}}}, {{name: b, persistentVolumeClaim: {{claimName: b}}}}]}}}}}}}}"
        );
        let machine = read(&[("vms/in-cluster/team/web/vm.yaml", &text)]).unwrap().machine.unwrap();
        machine.boot().unwrap().name.clone()
    };
    assert_eq!(boot("disks: [{name: b}, {name: a}]"), "b");
    assert_eq!(boot("disks: [{name: b}, {name: a, bootOrder: 3}]"), "a");
    assert_eq!(boot(""), "a");
}

#[test]
fn protection_is_in_a_label_or_in_the_request() {
    for (labels, protected) in [
        ("{}", false),
        ("{vmlifecycle.dev/protected: \"true\"}", true),
        ("{vmlifecycle.dev/protected: \"false\"}", false),
        ("{kubevirt.io/vm-delete-protection: \"True\"}", true),
        ("{kubevirt.io/vm-delete-protection: \"yes\"}", false),
        ("{kubevirt.io/vm-delete-protection: true}", true),
    ] {
        let text = format!(
            "{{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {{name: web, labels: {labels}}}, spec: {{runStrategy: Halted}}}}"
        );
        let definition = read(&[("vms/in-cluster/team/web/vm.yaml", &text)]).unwrap();
        assert_eq!(definition.protected(), protected, "{labels}");
        assert!(!definition.machine.unwrap().is_on());
    }
}

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let machine = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        )
    };
    let both = format!("{}\n---\n{}", machine("web", "running: true"), machine("web", "running: true"));
    for (path, text, what) in [
        (
            "vm.yaml",
            machine("web", "running: true, runStrategy: Always"),
            "the `VirtualMachine` needs either `spec.runStrategy` or `spec.running`",
        ),
        (
            "vm.yaml",
            machine("web", ""),
            "the `VirtualMachine` needs either `spec.runStrategy` or `spec.running`",
        ),
        (
            "vm.yaml",
            machine("web-2", "running: true"),
            "a `VirtualMachine` with another name than its folder, `web`",
        ),
        ("vm.yaml", both, "a second `VirtualMachine` with the name `web`"),
        ("vm.yaml", "a: \u{fffe}".to_owned(), "unexpected character: `\\u{fffe}' at line 1, column 4"),
        (
            "request.yaml",
            "a: 1".to_owned(),
            "document: E_TYPE: unknown field `a`, expected one of `apiVersion`, `kind`, `metadata`, `spec`",
        ),
        (
            "operations/R1/stop.yaml",
            "a: 1".to_owned(),
            "document: E_TYPE: unknown field `a`, expected one of `apiVersion`, `kind`, `phase`, `sequence`, `before`, `request`",
        ),
    ] {
        let path = format!("vms/in-cluster/team/web/{path}");
        let unreadable = read(&[(&path, &text)]).unwrap_err();
        assert_eq!(unreadable, Unreadable { path, why: what.to_owned() });
    }
    let path = "archive/in-cluster/team/web/R1/tombstone.yaml";
    let unreadable = read(&[(path, "a: 1")]).unwrap_err();
    assert_eq!(
        unreadable.problem(&target()).to_string(),
        "/spec/target: E_DEFINITION: `R1/tombstone.yaml`: document: E_TYPE: unknown field `a`, expected one of \
         `apiVersion`, `kind`, `metadata`, `digest`, `disks`; hint: mend it in Git"
    );
}
