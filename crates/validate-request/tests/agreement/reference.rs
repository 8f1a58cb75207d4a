//! `docs/reference/request.md`, made from the schemas, the codes and the limits.

use std::fmt::Write as _;

use serde_json::Value;
use vm::problem::{Class, Code};

use crate::schema;

const HEAD: &str = "\
# VMRequest

One document for one operation on one virtual machine, in YAML or JSON. `validate-request` checks it: every problem is
listed in one pass, nothing is written unless there is none.

This page is made from `crates/vm/schema/` and the code: `SNAPSHOTS=overwrite cargo test -p validate-request --test agreement`
writes it. `validate-request --schema` prints the schema of requests. Examples are in `examples/requests/`.
";

const READING: &str = "
## How it is read

- At most 64 KiB of UTF-8 without byte order mark; no control characters but newline, tab and carriage return.
- JSON if the first character is `{`, and always in `--request`; else YAML.
- Nested at most 16 deep, at most 2000 values, whole numbers of at most 64 bits.
- No key twice. No YAML anchors, aliases, merge keys, tags, directives, or second document.
- A plain YAML scalar that readers of YAML 1.1 and 1.2 understand differently (`0777`, `1_000`, `12:30:45`, `yes`, `2026-09-01`) has
  to be quoted; only `power: on` and `power: off` may stand as they are.
- No string may hold a secret (a password, a private key, a token), nor syntax that a pipeline or a template would replace
  (`$(`, `${{`, `{{`, `{%`).
- Fields that are not known are refused, with the nearest that is.
";

const DEFAULTS: &str = "
What is accepted is written with every default explicit, as JSON with its fields in this order: the same request under the
same policy gives the same bytes, and accepting it again changes nothing. Where the site's policy has a default of its own it
comes first: the cluster, the tier and through it the storage class, the namespace of golden images, the grace period. The
host name becomes the machine's name.
";

const DAY_TWO: &str = "
## Operations on a machine that is there

`metadata`, `spec.operation` and `spec.target` are as above. What belongs to the operation is in `spec.operationSpec`, which may be left out
where no field of it is required. `spec.checks`, not with `stop`, `snapshot` and `deprovision`, is as above; left out, what the machine was
provisioned with holds. The other fields of `spec` are for `provision` alone.
";

const AGAINST: &str = "
### What is asked of the machine

With `--definition`, the folder that `fetch-vm` wrote, a request is also checked against what Git holds:

- The machine is there; for `undelete` (and `provision`) it is not, and for `undelete` the archive holds it.
- A request id means one request for ever. The same again is accepted and changes nothing; with other content it is a `conflict`. What a
  later request has undone is `superseded`: an old request to provision or to remove a machine does not do it again.
- A machine in the middle of a `patch` or a `restore` (its phase `stop` is in Git, `start` or `rollback` is not) may have half changed disks.
  Until that request has gone on to its end every other is a `conflict`, but for `restore` and `deprovision`, and `start` with the id of that
  request as `despite`. After such a `restore` or `start`, and after a removal, that request is `superseded`.
- A machine is protected by `lifecycle.protected`, its label `vmlifecycle.dev/protected: \"true\"`, or `kubevirt.io/vm-delete-protection`; then
  `deprovision` needs `confirmName`.
- `deprovision` with `disks: retain`, and `repave`, need each data disk to stay: no `dataVolumeTemplates`, and the sync options `Prune=false` and
  `Delete=false` in its file.
- `repave` needs a boot disk that a file in the machine's folder makes. `patch` needs a boot disk with a claim, `snapshot` and `restore` any disk
  with a claim, and `restore` all of them mounted as `persistentVolumeClaim`.
- `resize` keeps the kind of size: instance type, or CPUs and memory. Disks only grow, beyond what earlier requests let them grow to;
  not those whose claim itself is in a file, since Argo CD would undo it.
- `restart` is not for a machine that is off; nor is `repave`, unless `keepOldDisk` is asked for: nothing would show that it comes up on the new
  disk. A `repave` that was rolled back is `superseded` when it is run again.
";

const NAMES: &str = "
## Names made from names

| what | name | limit |
| --- | --- | --- |
| disk | `<vm>-<disk>-<6 digits of the request id's SHA-256>` | 63, so with the boot disk `root` `target.name` has at most 51 |
| Argo CD Application | `<cluster>.<namespace>.<vm>` | always fits 253 |

A machine is not called `kustomization`, `chart`, `values` or `namespace`, nor by a number; a data disk not `root`, `root-…` or `cloud-init`,
nor, beside `sysprep`, `sysprep`.
";

const PLACES: &str = "
## Where images come from

An image's registry, and the host of an address, may not be an IP address, a name without dots, `localhost`, or a service inside of
the cluster (`.svc`, `.cluster.local`, `.internal`), and an address needs TLS, unless the policy lists the place. This keeps out
what is plainly meant for the inside; a name that resolves to the inside is kept out by listing places, and by a NetworkPolicy.
Paths with `..`, `.`, `//`, or encoded dots and slashes are refused. A golden image comes from the machine's own namespace, or one
that the policy names.

A `snapshot`, of the boot disk or a data disk, is a `VolumeSnapshot` of the machine's own namespace: whoever may have machines there may use
what is kept there, and nothing else. The flow `snapshot-vm` tells the names, with the least size of each disk, in its result `sources`, and
`snapshot-vm --action sources` for any snapshot. On file systems that size is more than the disk had (CDI keeps 6 % for the file
system, and reckons that of the copy anew); a smaller disk is not made, and the flow says so. The snapshot has to be there until the disks
are made, and once more for an `undelete`, or a `repave` without an `image`.
";

const NETWORKS: &str = "
## Networks

Without `networks` a machine has one interface, on the pod network. With `type: multus` an interface hangs on a `NetworkAttachmentDefinition`
that the policy lists under `networks`; `vlan-120` is one of the machine's own namespace, in the request as in the policy, and
`network-infra/vlan-120` one of that namespace. A machine may be on such networks alone. Its pod then still has the cluster's network, and the
machine does not; with `primary: true` the pod itself is on that network (`multus.default`), which has to give it an address. `sriov` needs the
SR-IOV operator's network. An address that is not chosen stays the same through a `repave`, as it is made from the machine's name and the id of the
request that made it.
";

const LABELS: &str = "
## Labels and annotations

`labels` stand at the machine, at its instance and at its pod, so that Services and network policies find them; `annotations` at the machine alone,
where no controller of the pod reads them. Only keys that the policy lists are taken, and never one of the platform: of `kubernetes.io`, `k8s.io`,
`kubevirt.io`, `openshift.io`, `argoproj.io`, `tekton.dev`, `cncf.io`, `istio.io`, `cilium.io`, `ovn.org` or `vmlifecycle.dev`, or of a domain below
these.
";

const WINDOWS: &str = "
## Windows

With `customization.sysprep` a machine has a CD-ROM with what a ConfigMap or a Secret of its namespace holds: the answer files of Windows setup,
`autounattend.xml` or `unattend.xml`. Cloud-init is not for it, so `access` and the other fields of `customization` but `hostname` are refused
beside it. The answer file gives the guest its name: `hostname`, else the machine's name, has to be one that Windows can have, at most 15
characters. What else Windows needs of the machine (Hyper-V features, clock, TPM, firmware with secure boot) belongs to the image and comes from
`compute.preference`, such as `windows.2k22` of KubeVirt's common instance types, so one has to be given. Disks are virtio whatever it
prefers: the image needs the drivers.
";

const ACCESS: &str = "
## Keys and passwords that the cluster keeps

`access.sshKeySecrets` and `access.passwordSecret` are KubeVirt's `accessCredentials`: the request names Secrets of the machine's namespace, and what
is in them passes through neither Git nor a pipeline. By `noCloud` or `configDrive`, one of the two in a machine, keys are there at the first boot for the first
user, beside whatever makes the cloud-config; by `qemuGuestAgent`, and passwords always so, the guest agent has to run.
";

const CONFIG_DISKS: &str = "
## Disks from a ConfigMap or a Secret

`configDisks` show what a ConfigMap or a Secret of the machine's namespace holds, each key as a file on a read-only disk that the guest mounts by its
serial. They are made anew at each start of the machine, and are no disks for `snapshot`, `resize` and `deprovision`. None is called `root`, `cloud-init` or
`sysprep`, or as one of `disks`.
";

const EXPIRY: &str = "
## Whose a machine is, until when, and when it may be worked on

`lifecycle.owner` and `lifecycle.costCenter` become the labels `vmlifecycle.dev/owner` and `vmlifecycle.dev/cost-center` of the machine, and
`lifecycle.expiresAt` its annotation `vmlifecycle.dev/expires-at`. Nothing here removes a machine by itself: a site looks for the annotation and asks for
`stop` or `deprovision`. The day has to be after that of `metadata.requestedAt`, which is needed beside it, and no more days after it than the
policy's `limits.lifetimeDays`. No clock is asked, so that the same request has the same answer when it is sent again: where a lifetime matters, whatever
knows the requester sets `requestedAt`.

`lifecycle.maintenanceWindow` becomes the annotation `vmlifecycle.dev/maintenance-window`: days (`Sun`, `Mon-Thu,Sat`), begin and end as local time, and the time
zone of that; where the end is the earlier one, it is of the day after. Nothing here waits for it or refuses outside it, for no flow should stand for days: what
starts patches and repaves on a schedule looks for the annotation, and Argo CD has sync windows for what is committed.
";

const ENVIRONMENTS: &str = "
## Environments

`lifecycle.environment` says what a machine is for, and becomes its label `vmlifecycle.dev/environment`. With the layout `kustomize` it is also the
name of the overlay; another one as `--environment` of `render-vm` is refused. Without `environments` in the policy any name is taken. With them,
each may say for its machines, besides what holds for all:

- in which `namespaces` they are: else whoever asks could choose the environment that suits;
- which `operations` may be asked for, `provision` included;
- which fields are `required`. Those of `metadata` are also of each request about such a machine, such as a `reason`;
- that they are all `protected`: what is provisioned gets `lifecycle.protected`, and those that were there before need `confirmName` as well.

Of a machine that is there, the environment is that of its label and of the request that it was provisioned by, as Git holds them (for `undelete`, of
that request in the archive); if a person made them differ, both hold. `render-vm --policy`, before anything is written, and `validate-request` with
`--definition` look at that. `snapshot`, and `patch` with `in-guest`, read nothing from Git: there `snapshot-vm --policy` looks at the machine's label
in its cluster, before the snapshot. It is the policy of the day that counts, but what is begun already is gone on with. A machine without an
environment is held to none, so `required` should have `environment`; one whose environment the policy has no longer is denied every operation.
";

const NODES: &str = "
## Nodes and devices

`nodeSelector` and `devices` stand at the machine as KubeVirt has them. The policy lists the keys with their values, and the devices, each for all
namespaces or for some; how many devices one machine may have is in its `limits`. A device has to be among the cluster's own
`permittedHostDevices`, and host devices need KubeVirt's feature gate `HostDevices`; a machine that has one does not migrate, and its instance type must not have any of its own. Both stay through a
`repave` and a `resize`.
";

const TEMPLATES: &str = "
## Templates of the site

Beside the built-in template a site may have its own, in a folder that the steps `validate-request` and `render-vm` are given as
`--template-directory` (in the Tasks and in `provision-vm`: the workspace `template-directory`, such as a ConfigMap). Each is one or two files, an
example is `examples/templates/`:

- `NAME.yaml.j2` makes the `VirtualMachine`; disks, Application and all other files are made as ever. It is written as the built-in one,
  `crates/render-vm/templates/virtual-machine.yaml.j2`, and is given the same values and `parameters`.
- `NAME.schema.json` is the JSON Schema (draft 2020-12) of the parameters: `\"type\": \"object\"` with `\"additionalProperties\": false`, and of
  each property a `description`, and either a `default` or its name in `required`. A parameter is one line of text, a whole number, a boolean or a list of
  such texts. Without this file the template takes none.

A request that names a template, `template: {name: NAME, parameters: {\u{2026}}}`, is held against that schema together with everything else, and
is written with the defaults of the schema. The template is a part of the digest by its name alone: what it makes is decided when it is rendered.

A template is fenced in. A value becomes one quoted scalar, or the template is refused: no value can become structure, text can be placed and not be
decided by (`{% if %}` takes booleans, and lists that are empty or not), and there are no filters and functions. Every value has to be placed, so
that nothing of a request is lost. And whatever the built-in template makes of the request has to stand in the same place: name, namespace, labels
and annotations, run strategy, size, disks, volumes, networks, cloud-init. Only words that the request does not choose, such as a disk's `bus`
or a card's `model`, may be others, and anything may be added but `running` and `dataVolumeTemplates`. So operations on the
machine work as on any other. What breaks this is a `usage` error (2), which names the template and the place.
";

pub(crate) fn text() -> String {
    let policy = vm::schema::policy();
    let mut text = String::from(HEAD);
    text += READING;
    text += "\n## Fields\n";
    text += DEFAULTS;
    fields(&schema::of("provision"), &mut text);
    text += DAY_TWO;
    for operation in schema::operations().into_iter().filter(|word| *word != "provision") {
        day_two(operation, &mut text);
    }
    text += AGAINST;
    text += NAMES;
    text += PLACES;
    text += NETWORKS;
    text += WINDOWS;
    text += ACCESS;
    text += CONFIG_DISKS;
    text += EXPIRY;
    text += ENVIRONMENTS;
    text += LABELS;
    text += NODES;
    text += TEMPLATES;
    text += "\n## VMPolicy\n\nWhat a site allows in requests, and what it fills in; an example is `examples/policy.yaml`. Without one, every default below holds:\n";
    text += "no `userData`, `userDataSecret` or `sysprep`, no access credentials and config disks, no tier or storage class, no namespace of the platform, no cluster but `in-cluster`, no golden images\nof other namespaces, no network but the pod network, no labels and annotations, no node selector and no devices. ";
    let _ = writeln!(text, "{}", policy["properties"]["spec"]["description"].as_str().unwrap());
    text += "What a policy refuses is `denied` (exit code 11); everything else is `invalid` (10), also where both are the case. A policy that is itself\nwrong is a `usage` error (2).\n";
    fields(&schema::followed(policy, policy), &mut text);
    text += "\n## Codes\n\nThe codes of problems stay as they are. [Errors](errors.md) has an example of each, and the way out.\n\n| code | meaning | exit code |\n| --- | --- | --- |\n";
    for code in Code::ALL {
        let exit = match code.class() {
            Class::Invalid => 10,
            Class::Denied => 11,
            Class::Conflict => 20,
            Class::Superseded => 21,
        };
        let _ = writeln!(text, "| `{code}` | {} | {exit} |", code.meaning().trim());
    }
    text
}

fn fields(schema: &Value, text: &mut String) {
    *text += "\n| field | form | default | what |\n| --- | --- | --- | --- |\n";
    rows(schema, "", text);
}

/// The fields of an operation on a machine that is there, but for those that all have.
fn day_two(operation: &str, text: &mut String) {
    let schema = schema::of(operation);
    let own = &schema["properties"]["spec"]["properties"]["operationSpec"];
    let _ = writeln!(text, "\n### {operation}\n\n{}", what(operation));
    if own["properties"].as_object().unwrap().is_empty() {
        *text += "\nNo fields of its own.\n";
        return;
    }
    *text += "\n| field of `spec.operationSpec` | form | default | what |\n| --- | --- | --- | --- |\n";
    rows(own, "", text);
}

fn what(operation: &str) -> &'static str {
    match operation {
        "start" => {
            "Git declares that the machine runs, and the flow ends when it is ready. A machine that runs already stays as it is. `despite` is for a\nmachine whose disks nothing can restore any more, and are known to be good."
        }
        "stop" => {
            "Git declares that the machine is off; the guest is asked to shut down, and loses its power only after the grace period."
        }
        "restart" => {
            "The machine is shut down once and starts again; Git stays as it is. Not for a machine that is off."
        }
        "snapshot" => {
            "A snapshot that is reported only when all disks with a claim are in it and it can be used."
        }
        "restore" => {
            "The machine is shut down, its disks become those of the snapshot, and it is as it was before: on or off. A new\nmachine with the disks of a snapshot is a request to `provision`, with image source `snapshot`."
        }
        "repave" => {
            "A new boot disk from an image, in the same machine: address, identity and data disks stay. The old boot disk goes when the\nmachine has proven itself on the new one, and comes back if it does not."
        }
        "patch" => {
            "The machine is shut down, a snapshot is taken, the site's commands are run on its boot disk, and it starts again. If anything goes\nwrong, the snapshot is restored. With `in-guest` it is not stopped: after the snapshot its own shell runs the commands, and if that\ngoes wrong, nothing is taken back by itself: the message names the snapshot to restore. Each method has its own Pipeline,\n`patch-vm` and `patch-guest-vm`, which refuses the other."
        }
        "resize" => {
            "CPUs, memory and disks. What can change while the machine runs does; for the rest `allowRestart` says whether it may be restarted."
        }
        "deprovision" => {
            "The machine is shut down, what Git holds of it moves to the archive, and it and its boot disk go."
        }
        "undelete" => {
            "What Git holds in the archive comes back, and the machine with it; its boot disk is made anew, data disks that were retained are found."
        }
        other => unreachable!("nothing is said of `{other}`"),
    }
}

fn rows(schema: &Value, path: &str, text: &mut String) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let default = match field.get("default") {
            Some(default) => format!("`{default}`"),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => String::new(),
        };
        let what = field["description"].as_str().unwrap().replace('|', "\\|");
        let _ = writeln!(text, "| `{path}` | {} | {default} | {what} |", form(field));
        rows(field, &format!("{path}."), text);
        rows(&field["items"], &format!("{path}[]."), text);
        rows(&field["additionalProperties"], &format!("{path}.*."), text);
    }
}

fn form(field: &Value) -> String {
    if let Some(words) = field["enum"].as_array() {
        return words
            .iter()
            .map(|word| format!("`{}`", word.as_str().unwrap()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    match field["type"].as_str().unwrap_or_default() {
        "string" | "" if field.get(schema::FORM).is_some() => {
            field[schema::FORM].as_str().unwrap().to_owned()
        }
        "string" => format!("text, at most {} characters", field["maxLength"]),
        "integer" => format!("{} to {}", field["minimum"], field["maximum"]),
        "boolean" => "`true`, `false`".to_owned(),
        "array" if field["items"]["properties"].is_object() => {
            format!("list, at most {}", field["maxItems"])
        }
        "array" => format!("list, at most {}, of: {}", field["maxItems"], form(&field["items"])),
        "object" if field["additionalProperties"]["properties"].is_object() => {
            format!("mapping, at most {}, by name", field["maxProperties"])
        }
        "object" if field["additionalProperties"].is_object() => {
            format!("mapping, each: {}", form(&field["additionalProperties"]))
        }
        _ => "mapping".to_owned(),
    }
}
