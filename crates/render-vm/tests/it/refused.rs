//! What types allow and no machine can be made of: `validate-request` refuses it with a pointer, this step at least never
//! renders it.

use crate::{request, site};
use render_vm::{Refused, Templates, render};
use vm::request::{
    Binding, ConfigDisk, Device, Disk, DiskSource, Network, NetworkKind, NetworkModel, Propagation,
    Reference, Request, Role, SshKeySecret,
};

fn refusal(change: impl FnOnce(&mut Request)) -> String {
    let mut request = request("data-source-everything");
    change(&mut request);
    match render(&Templates::new().unwrap(), &request, &site()) {
        Err(Refused::Request(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn data(name: &str) -> Disk {
    Disk {
        name: name.parse().unwrap(),
        role: Role::Data,
        size: "1Gi".parse().unwrap(),
        tier: None,
        storage_class: None,
        source: None,
    }
}

#[test]
fn names_that_meet() {
    assert_eq!(refusal(|r| r.spec.disks.push(data("data"))), "two disks would be called `data`");
    assert_eq!(refusal(|r| r.spec.disks.push(data("root"))), "two disks would be called `root`");
    assert_eq!(refusal(|r| r.spec.disks.push(data("cloud-init"))), "two disks would be called `cloud-init`");
    // the first six digits of the hash of the request's own id, which whoever asks can choose
    assert_eq!(
        refusal(|r| r.spec.disks.push(data("root-d591c0"))),
        "two files would be called `disk-root-d591c0.yaml`"
    );
    for name in ["data", "root", "cloud-init"] {
        let source = Reference::Secret("setup".parse().unwrap());
        let disk = ConfigDisk { name: name.parse().unwrap(), source, serial: None };
        assert_eq!(
            refusal(|r| r.spec.config_disks.push(disk)),
            format!("two disks would be called `{name}`")
        );
    }
    let gpu = Device { name: "gpu".parse().unwrap(), device_name: "nvidia.com/a".parse().unwrap() };
    let two = vec![gpu.clone(), gpu];
    assert_eq!(refusal(|r| r.spec.devices.gpus.clone_from(&two)), "two GPUs would be called `gpu`");
    assert_eq!(refusal(|r| r.spec.devices.host_devices = two), "two host devices would be called `gpu`");
    let network = Network::pod("main".parse().unwrap());
    assert_eq!(refusal(|r| r.spec.networks.push(network)), "two networks would be called `main`");
}

#[test]
fn sysprep_beside_cloud_init() {
    let files = || Some(Reference::Secret("setup".parse().unwrap()));
    assert_eq!(
        refusal(|r| r.spec.customization.sysprep = files()),
        "`/spec/customization/sysprep` stands beside what makes a cloud-config"
    );
    let mut asked = request("pvc-secret-no-network");
    asked.spec.customization.user_data_secret = None;
    asked.spec.customization.sysprep = files();
    assert!(render(&Templates::new().unwrap(), &asked, &site()).is_ok());
    asked.spec.disks.push(data("sysprep"));
    let why = render(&Templates::new().unwrap(), &asked, &site()).unwrap_err();
    assert_eq!(why.to_string(), "two disks would be called `sysprep`");
}

#[test]
fn keys_of_secrets_that_kubevirt_would_refuse() {
    let secret = |propagation_method, user: Option<&str>| SshKeySecret {
        name: "team-keys".parse().unwrap(),
        propagation_method,
        users: user.into_iter().map(|user| user.parse().unwrap()).collect(),
    };
    let other_use = "the keys of Secret `team-keys` have a `propagationMethod` of another use";
    for (secrets, why) in [
        (vec![secret(Propagation::QemuGuestAgent, None)], other_use),
        (vec![secret(Propagation::NoCloud, Some("jane"))], other_use),
        (
            vec![secret(Propagation::NoCloud, None), secret(Propagation::ConfigDrive, None)],
            "`/spec/access/sshKeySecrets` holds both `noCloud` and `configDrive`",
        ),
    ] {
        assert_eq!(refusal(|r| r.spec.access.ssh_key_secrets = secrets), why);
    }
}

#[test]
fn keys_of_the_platform() {
    for (key, refused) in [
        ("app.kubernetes.io/instance", true),
        ("kubernetes.io/x", true),
        ("vmlifecycle.dev/request-id", true),
        ("mykubernetes.io/x", false),
        ("kubernetes.io.corp.example/x", false),
        ("kubernetes.io", false),
    ] {
        let mut asked = request("data-source-everything");
        asked.spec.annotations.insert(key.parse().unwrap(), "x".parse().unwrap());
        let why = render(&Templates::new().unwrap(), &asked, &site()).err().map(|error| error.to_string());
        assert_eq!(why, refused.then(|| format!("the key `{key}` belongs to the platform")), "{key}");
    }
}

#[test]
fn networks_that_kubevirt_would_refuse() {
    let lan = Network {
        kind: NetworkKind::Multus,
        network_name: Some("vlan-120".parse().unwrap()),
        ..Network::pod("lan".parse().unwrap())
    };
    let pod = Network::pod("second".parse().unwrap());
    for (network, why) in [
        (Network { network_name: None, ..lan.clone() }, "the network `lan` has no `networkName`"),
        (
            Network { kind: NetworkKind::Pod, ..lan.clone() },
            "the network `lan` is the pod network, and has a `networkName`",
        ),
        (
            Network { binding: Some(Binding::Masquerade), ..lan.clone() },
            "the network `lan` has a `binding` of another `type`",
        ),
        (
            Network { binding: Some(Binding::Bridge), ..pod.clone() },
            "the network `second` has a `binding` of another `type`",
        ),
        (
            Network { primary: true, ..pod.clone() },
            "the network `second` is the pod network, which is `primary` by itself",
        ),
        (
            Network { binding: Some(Binding::Sriov), model: Some(NetworkModel::Virtio), ..lan.clone() },
            "the network `lan` has a `model`, and with `sriov` the guest sees the device itself",
        ),
        (pod, "the network `second` is a second primary one"),
        (Network { primary: true, ..lan }, "the network `lan` is a second primary one"),
    ] {
        assert_eq!(refusal(|r| r.spec.networks.push(network)), why);
    }
}

#[test]
fn a_size_that_is_none() {
    let why = "`/spec/compute` needs either `instanceType` or both `cpu` and `memory`";
    assert_eq!(refusal(|r| r.spec.compute.instance_type = None), why);
    assert_eq!(refusal(|r| r.spec.compute.cpu = Some(1)), why);
    assert_eq!(
        refusal(|r| {
            r.spec.compute.instance_type = None;
            r.spec.compute.cpu = Some(0);
            r.spec.compute.memory = Some("1Gi".parse().unwrap());
        }),
        why
    );
}

#[test]
fn a_boot_disk_too_few_or_too_many() {
    assert_eq!(
        refusal(|r| r.spec.disks.retain(|disk| disk.role == Role::Data)),
        "`/spec/disks` holds 0 disks of role `root`, but the image needs 1"
    );
    assert_eq!(
        refusal(|r| r.spec.image = request("container-disk").spec.image),
        "`/spec/disks` holds 1 disks of role `root`, but the image needs 0"
    );
    let source = DiskSource { snapshot: "before".parse().unwrap() };
    assert_eq!(
        refusal(|r| {
            let root = r.spec.disks.iter_mut().find(|disk| disk.role == Role::Root).unwrap();
            root.source = Some(source);
        }),
        "the boot disk has a `source` beside the image"
    );
}

#[test]
fn more_user_data_than_kubevirt_takes() {
    let mut fits = request("http-user-data");
    fits.spec.customization.user_data = Some(format!("#{}", "x".repeat(2047)));
    assert!(render(&Templates::new().unwrap(), &fits, &site()).is_ok());
    assert_eq!(
        refusal(|r| r.spec.customization.user_data = Some(format!("#{}", "ü".repeat(1024)))),
        "cloud-init user data is 2049 bytes, KubeVirt takes at most 2048 inline; `/spec/customization/userDataSecret` \
         has no such limit"
    );
}

/// YAML has an escape for them, but Kustomize 5 writes them raw and fails to read that: `control characters are not allowed`.
#[test]
fn characters_that_kustomize_cannot_read() {
    for (c, name) in
        [('\0', "0000"), ('\u{1b}', "001B"), ('\u{7f}', "007F"), ('\u{85}', "0085"), ('\u{fffe}', "FFFE")]
    {
        assert_eq!(
            refusal(|r| r.spec.customization.user_data = Some(format!("#cloud-config\n# {c}"))),
            format!("cloud-init user data holds the character U+{name}, which Kustomize cannot read")
        );
    }
}
