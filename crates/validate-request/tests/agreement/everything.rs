//! Requests with every field there is, in literals without `..`: a new field does not compile until it is here.

use vm::day_two::{
    self, DataDisks, Deprovision, NewCompute, NewSize, Patch, PatchMethod, Repave, Resize, Restore, Shutdown,
    Snapshot, Start, Undelete,
};
use vm::request::{
    Accepted, Access, ApiVersion, Architecture, Binding, Checks, Compute, ConfigDisk, Customization, Device,
    Devices, Disk, DiskSource, Image, Kind, Lifecycle, Metadata, Network, NetworkKind, NetworkModel,
    Operation, Parameter, Power, Propagation, Reference, Request, Role, Spec, SshKeySecret, Target, Template,
};

pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Every request there is for an operation: where an image stands, one for each of its sources.
pub(crate) fn of(operation: &str) -> Vec<Accepted> {
    if operation == "provision" {
        return images().into_iter().map(|image| Accepted::Provision(provision(image))).collect();
    }
    let own: Vec<day_two::Operation> =
        day_two_operations().into_iter().filter(|own| own.word() == operation).collect();
    assert!(!own.is_empty(), "{operation}");
    own.into_iter().map(|own| Accepted::DayTwo(day_two(own))).collect()
}

fn metadata() -> Metadata {
    Metadata {
        request_id: parsed("R1"),
        requested_by: parsed("jane"),
        on_behalf_of: Some(parsed("team")),
        ticket: Some(parsed("C1")),
        reason: Some(parsed("why")),
        requested_at: Some(parsed("2026-09-01T10:00:00Z")),
    }
}

fn target() -> Target {
    Target { name: parsed("web"), namespace: parsed("team"), cluster: parsed("in-cluster") }
}

const fn checks() -> Checks {
    Checks { guest_agent: true, ip: true, tcp_port: Some(22) }
}

fn provision(image: Image) -> Request {
    // both kinds of a reference, in requests of different images
    let reference = match image {
        Image::Pvc { .. } => Reference::Secret(parsed("web-setup")),
        _ => Reference::ConfigMap(parsed("web-setup")),
    };
    Request {
        api_version: ApiVersion::V1Alpha1,
        kind: Kind::VmRequest,
        metadata: metadata(),
        spec: Spec {
            operation: Operation::Provision,
            target: target(),
            compute: Compute {
                instance_type: Some(parsed("u1.medium")),
                preference: Some(parsed("fedora")),
                architecture: Some(Architecture::Amd64),
                cpu: Some(2),
                memory: Some(parsed("4Gi")),
            },
            image,
            disks: vec![Disk {
                name: parsed("root"),
                role: Role::Root,
                size: parsed("20Gi"),
                tier: Some(parsed("gold")),
                storage_class: Some(parsed("ceph")),
                source: Some(DiskSource { snapshot: parsed("vmsnapshot-1-volume-root") }),
            }],
            config_disks: vec![ConfigDisk {
                name: parsed("setup"),
                source: reference.clone(),
                serial: Some(parsed("setup")),
            }],
            networks: vec![Network {
                name: parsed("lan"),
                kind: NetworkKind::Multus,
                network_name: Some(parsed("infra/vlan-120")),
                binding: Some(Binding::Bridge),
                primary: true,
                model: Some(NetworkModel::E1000e),
                mac_address: Some(parsed("02:5e:10:00:00:01")),
            }],
            access: Access {
                user: Some(parsed("jane")),
                ssh_keys: vec![parsed("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpNEKMNSmHRQXSBTUrxTPNX")],
                ssh_key_secrets: vec![SshKeySecret {
                    name: parsed("team-keys"),
                    propagation_method: Propagation::NoCloud,
                    users: vec![parsed("jane")],
                }],
                password_secret: Some(parsed("logins")),
            },
            customization: Customization {
                hostname: Some(parsed("web")),
                timezone: Some(parsed("UTC")),
                packages: vec![parsed("htop")],
                user_data: Some("#cloud-config\n".to_owned()),
                user_data_secret: Some(parsed("web-init")),
                sysprep: Some(reference.clone()),
            },
            labels: [(parsed("team"), parsed("payments"))].into(),
            annotations: [(parsed("note"), parsed("why: so"))].into(),
            node_selector: [(parsed("zone"), parsed("fra-1"))].into(),
            devices: Devices { gpus: vec![device()], host_devices: vec![device()] },
            template: Some(Template {
                name: parsed("hardened"),
                parameters: [(parsed("cpuModel"), Parameter::Text(parsed("host-model")))].into(),
            }),
            power: Power::On,
            lifecycle: Lifecycle {
                grace_period_seconds: 180,
                protected: true,
                environment: Some(parsed("prod")),
                owner: Some(parsed("payments")),
                cost_center: Some(parsed("4711")),
                expires_at: Some(parsed("2027-09-01")),
                maintenance_window: Some(parsed("Sun 02:00-04:00 UTC")),
            },
            checks: checks(),
        },
    }
}

fn device() -> Device {
    Device { name: parsed("gpu"), device_name: parsed("nvidia.com/GA102GL_A10") }
}

fn day_two(operation: day_two::Operation) -> day_two::Request {
    // the schema refuses them where no machine is up in the end
    let checked = !matches!(operation.word(), "stop" | "snapshot" | "deprovision");
    day_two::Request {
        api_version: ApiVersion::V1Alpha1,
        kind: Kind::VmRequest,
        metadata: metadata(),
        spec: day_two::Spec { operation, target: target(), checks: checked.then(checks) },
    }
}

fn day_two_operations() -> Vec<day_two::Operation> {
    use day_two::Operation;
    let shutdown = || Shutdown { force_after_seconds: Some(60) };
    let mut all = vec![
        Operation::Start(Start { despite: Some(parsed("R0")) }),
        Operation::Stop(shutdown()),
        Operation::Restart(shutdown()),
        Operation::Snapshot(Snapshot {
            require_quiesced: true,
            deadline_seconds: 60,
            keep_count: Some(3),
            keep_days: Some(30),
        }),
        Operation::Restore(Restore { snapshot: parsed("web-1") }),
        Operation::Patch(Patch { profile: parsed("security"), method: PatchMethod::Offline }),
        Operation::Resize(Resize {
            compute: Some(NewCompute {
                instance_type: Some(parsed("u1.large")),
                cpu: Some(4),
                memory: Some(parsed("8Gi")),
            }),
            disks: vec![NewSize { name: parsed("root"), size: parsed("40Gi") }],
            allow_restart: true,
        }),
        Operation::Deprovision(Deprovision { disks: DataDisks::Delete, confirm_name: Some(parsed("web")) }),
        Operation::Undelete(Undelete { request_id: Some(parsed("R0")) }),
    ];
    let repave = |image| {
        Operation::Repave(Repave { image: Some(image), keep_old_disk: true, rollback_for_seconds: 600 })
    };
    all.extend(images().into_iter().map(repave));
    for operation in &all {
        // a new operation does not compile until it is in the list above
        match operation {
            Operation::Start(_)
            | Operation::Stop(_)
            | Operation::Restart(_)
            | Operation::Snapshot(_)
            | Operation::Restore(_)
            | Operation::Repave(_)
            | Operation::Patch(_)
            | Operation::Resize(_)
            | Operation::Deprovision(_)
            | Operation::Undelete(_) => {}
        }
    }
    all
}

pub(crate) fn images() -> Vec<Image> {
    let all = vec![
        Image::ContainerDisk { reference: parsed("quay.io/a:1") },
        Image::DataSource { name: parsed("fedora"), namespace: Some(parsed("golden")) },
        Image::Registry { reference: parsed("quay.io/a:1") },
        Image::Http { url: parsed("https://a.b/c") },
        Image::Pvc { claim: parsed("disk") },
        Image::Snapshot { name: parsed("vmsnapshot-1-volume-root") },
    ];
    for image in &all {
        // a new source does not compile until it is in the list above
        match image {
            Image::ContainerDisk { .. }
            | Image::DataSource { .. }
            | Image::Registry { .. }
            | Image::Http { .. }
            | Image::Pvc { .. }
            | Image::Snapshot { .. } => {}
        }
    }
    all
}
