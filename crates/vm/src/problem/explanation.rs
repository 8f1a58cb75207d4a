//! What is to be known of a code besides its meaning: an example, what it is told, and the way out.
//!
//! `validate-request --explain` prints this table and `docs/reference/errors.md` is written from it. A test finds every
//! example among the fixtures, with the line that it is told there: what stands here was really refused so.

use super::Code;

/// More of a code than its [`Code::meaning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// Lines of a document that is refused; one that ends in `…` is cut. Empty where the fault does not show in print, or is
    /// something that is absent.
    pub example: &'static str,
    /// Lines of the policy that refuses it; empty where it is refused by any.
    pub policy: &'static str,
    /// The line that it is told.
    pub answer: &'static str,
    /// What to do, for whoever is told it; one paragraph.
    pub way_out: &'static str,
}

impl Code {
    /// An example, what it is told, and the way out.
    #[expect(clippy::too_many_lines, reason = "one table")]
    pub const fn explanation(self) -> Explanation {
        match self {
            Self::Size => of(
                "",
                "document: E_SIZE: empty; hint: a `VMRequest` in YAML or JSON is expected",
                "Give one document of at most 64 KiB. If it is empty, the pipeline passed an empty parameter or file; if it is too large, keep data out of it and refer to it by name.",
            ),
            Self::Encoding => of(
                "",
                "document: E_ENCODING: starts with a byte order mark; hint: save it as UTF-8 without BOM",
                "Save the file as UTF-8 without byte order mark; the message names the first byte that is not.",
            ),
            Self::Character => of(
                "\"requestId\": \"REQ\\u0000\"",
                "/metadata/requestId: E_CHARACTER: character U+0000 is not read, raw or escaped; hint: remove it",
                "Remove the character at the place that the message names, or write the text without it. Most come along when text is copied from a terminal, a web page or a chat.",
            ),
            Self::Json => of(
                "{\"kind\": \"VMRequest\",}",
                "document: E_JSON: line 1, column 22: trailing comma",
                "Mend the JSON at the line and column of the message. `--request` takes JSON alone: no comments, no comma behind the last item, nothing behind the last bracket.",
            ),
            Self::Yaml => of(
                "cpu: [2",
                "document: E_YAML: line 13, column 11: illegal placement of ':' indicator",
                "Mend the YAML at the line and column of the message, or just before it: most often a bracket or a quote that was not closed, or an indent of a tab.",
            ),
            Self::Documents => of(
                "---",
                "document: E_DOCUMENTS: line 17, column 1: a second document; hint: one file holds one document",
                "Ask for one operation in one document, and start a PipelineRun for each.",
            ),
            Self::DuplicateKey => of(
                "cpu: 2\ncpu: 4",
                "/spec/compute/cpu: E_DUPLICATE_KEY: line 13, column 5: this key is there already; hint: keep one of the two",
                "Keep the one that is meant. Readers differ about which of the two counts, so none is taken.",
            ),
            Self::Depth => of(
                "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]",
                "/a/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0: E_DEPTH: nested deeper than 16",
                "Nothing that is asked for is nested so deep: the document was most likely put into a field of itself.",
            ),
            Self::Nodes => of(
                "",
                "document: E_NODES: more than 2000 values",
                "Nothing that is asked for has so many values: see whether several documents were put into one.",
            ),
            Self::Number => of(
                "cpu: 1.5",
                "/spec/compute/cpu: E_NUMBER: line 12, column 10: not a whole number of at most 64 bits; hint: quote it if it is text",
                "Write a whole number, such as `2`; amounts have a unit, such as `1536Mi` for 1.5Gi. What is text goes into quotes.",
            ),
            Self::Quote => of(
                "name: off",
                "/spec/target/name: E_QUOTE: line 9, column 11: YAML readers differ about `off`; hint: quote this value",
                "Put the value into quotes if it is text; write a number as plain decimal digits.",
            ),
            Self::YamlFeature => of(
                "cpu: *cpus",
                "/spec/compute/cpu: E_YAML_FEATURE: line 12, column 10: aliases are not read; hint: write the value out",
                "Write the value out at each place, without `&`, `*`, `<<`, `!` and `%`.",
            ),
            Self::Type => of(
                "cpu: \"2\"",
                "/spec/compute/cpu: E_TYPE: expected a number, found a string; hint: write it without quotes",
                "Give a value of the type that the message asks for: numbers and `true` without quotes, text in quotes where it looks like a number, lists with `-` or in `[]`. A field without a value is filled or left out.",
            ),
            Self::Required => of(
                "- {name: data}",
                "/spec/disks/0/size: E_REQUIRED: missing: its size",
                "Add the field at the place that the message names.",
            ),
            Self::UnknownField => of(
                "running: true",
                "/spec/running: E_UNKNOWN_FIELD: unknown field; hint: did you mean `power`",
                "Correct the spelling, move the field to where it belongs, or remove it. The message names the nearest field, the place, or the fields that are known there. Names are case-sensitive.",
            ),
            Self::Enum => of(
                "- {name: data, size: 1Gi, role: swap}",
                "/spec/disks/0/role: E_ENUM: expected `root`, `data`, got `swap`",
                "Take one of the words that the message lists.",
            ),
            Self::Pattern => of(
                "memory: 4GB",
                "/spec/compute/memory: E_PATTERN: expected a whole number and a unit, such as `512Mi`, `8Gi` or `2Ti`, at most 1024Ti, got `4GB`",
                "Write the value in the form that the message describes. Amounts have a unit of powers of two: `Mi`, `Gi` or `Ti`. Names are in small letters.",
            ),
            Self::Length => of(
                "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "/spec/target/name: E_LENGTH: 64 characters, at most 63",
                "Shorten the value to the length in the message; if it is empty, fill it or leave the field out.",
            ),
            Self::Range => of(
                "cpu: 513",
                "/spec/compute/cpu: E_RANGE: expected 1 to 512, got 513",
                "Give a number within the limits in the message.",
            ),
            Self::Items => of(
                "- {name: d0, size: 1Gi}\n- {name: d1, size: 1Gi}",
                "/spec/disks: E_ITEMS: 33 items, at most 32",
                "Shorten the list to the number in the message, and name each item once.",
            ),
            Self::Exclusive => of(
                "source: container-disk\nurl: https://images.example/x.img",
                "/spec/image/url: E_EXCLUSIVE: `url` does not go with `source: container-disk`; hint: remove it",
                "Keep the field that is meant. Which fields go together is told by `operation` and by the image's `source`.",
            ),
            Self::Compute => of(
                "compute:\ncpu: 2",
                "/spec/compute/memory: E_COMPUTE: missing beside `cpu`; hint: such as `4Gi`",
                "Size the machine in one way: `instanceType`, or `cpu` and `memory` together. A machine that is there keeps the way that it has.",
            ),
            Self::RootDisk => of(
                "source: snapshot\n- {name: data, size: 5Gi}",
                "/spec/disks: E_ROOT_DISK: image source `snapshot` is copied to a boot disk, and there is none; hint: add `{name: root, role: root, size: 20Gi}`",
                "With `data-source`, `registry`, `http` and `snapshot` give exactly one disk of `role: root`; with `container-disk` and `pvc` none, as the image itself is the boot disk.",
            ),
            Self::DuplicateName => of(
                "- {name: data, size: 1Gi}\n- {name: data, size: 2Gi}",
                "/spec/disks/1/name: E_DUPLICATE_NAME: a second disk with the name `data`; hint: give it another name",
                "Give each a name of its own.",
            ),
            Self::ReservedName => of(
                "name: \"2026\"",
                "/spec/target/name: E_RESERVED_NAME: a number is no name; hint: add a letter",
                "Take another name. A machine is not called `kustomization`, `chart`, `values` or `namespace`, nor by a number; a data disk not `root`, `root-…` or `cloud-init`. Keys of labels and annotations that a platform reads are not for requests.",
            ),
            Self::NameTooLong => of(
                "- {name: dddddddddddddddd, size: 1Gi}",
                "/spec/disks/0/name: E_NAME_TOO_LONG: `<machine>-dddddddddddddddd-<6 digits>`, its volume, is 1 character too long for 63; hint: shorten the machine's name or the disk's",
                "Shorten the machine's name, or the disk's: names of claims are made from both and have at most 63 characters.",
            ),
            Self::Network => of(
                "- {name: default}\n- {name: second}",
                "/spec/networks/1: E_NETWORK: a second interface on the pod network; hint: remove it",
                "Leave `networks` out, or list interfaces that a machine can have side by side: at most one on the pod network or `primary`, each with an address of its own, with a binding that its network knows.",
            ),
            Self::Url => of(
                "url: \"https://images.example/public/../private/x.img\"",
                "/spec/image/url: E_URL: `..` in the path: servers disagree about which file that is; hint: give the path as it is on the server",
                "Give the address as the server has it: no `.`, `..`, `//` or encoded dots and slashes in its path.",
            ),
            Self::Timestamp => of(
                "requestedAt: \"2026-02-30T10:00:00Z\"",
                "/metadata/requestedAt: E_TIMESTAMP: there is no such day or time",
                "Give a point in time that exists, by RFC 3339, such as `2026-09-01T10:00:00Z`.",
            ),
            Self::TimeZone => of(
                "maintenanceWindow: \"Sun 02:00-04:00 Europe/Belin\"",
                "/spec/lifecycle/maintenanceWindow: E_TIME_ZONE: there is no time zone `Europe/Belin`; hint: did you mean `Europe/Berlin`",
                "Give the name of a time zone in the IANA database, in its own capitals, such as `Europe/Berlin`, `America/New_York` or `UTC`.",
            ),
            Self::UserData => of(
                "userData: \"#!/bin/sh\\nreboot\\n\"",
                "/spec/customization/userData: E_USER_DATA: the first line is `#!/bin/sh`; hint: only `#cloud-config` is taken",
                "Write one plain mapping behind the line `#cloud-config`; a script goes into `runcmd`. Whatever needs more belongs into a Secret, `userDataSecret`, where the policy allows it.",
            ),
            Self::UserDataSize => of(
                "userData: \"#cloud-config…",
                "/spec/customization/userData: E_USER_DATA_SIZE: 2049 bytes, 1 more than KubeVirt takes; hint: put it into a Secret, `userDataSecret`",
                "Shorten it, or have the platform team make a Secret of it and name that in `userDataSecret`. KubeVirt takes at most 2048 bytes in the machine itself.",
            ),
            Self::Secret => of(
                "reason: \"password: hunter2\"",
                "/metadata/reason: E_SECRET: looks like a password, a key or a token; hint: requests are kept in Git: refer to a Secret",
                "Take the secret out and refer to a Secret by its name; change a real one, as it may be in a log by now. Public SSH keys are no secret and go into `access.sshKeys`.",
            ),
            Self::Template => of(
                "reason: \"$(params.token)\"",
                "/metadata/reason: E_TEMPLATE: `$(` is syntax that a pipeline or a template would replace; hint: write the value itself",
                "Write the value itself. If a form made the request, it has left a placeholder unfilled.",
            ),
            Self::Nothing => of(
                "operationSpec: {}",
                "/spec/operationSpec: E_NOTHING: nothing to resize; hint: give `compute`, `disks`, or both",
                "Say what is to change, or do not ask.",
            ),
            Self::Confirm => of(
                "confirmName: web-02",
                "/spec/operationSpec/confirmName: E_CONFIRM: `web-02` is not the name of the machine; hint: it is `web-01`",
                "See whether the machine is the one that is meant, then give its name in `confirmName`.",
            ),
            Self::Definition => of(
                "operation: stop",
                "/spec/target: E_DEFINITION: `vm.yaml`: a second `VirtualMachine` with the name `web-01`; hint: mend it in Git",
                "The platform team mends the file that the message names in the machine's folder in Git; the request is right and may be sent again.",
            ),
            Self::NoMachine => of(
                "operation: deprovision\nname: web-01",
                "/spec/target/name: E_NO_MACHINE: Git has no machine in `vms/in-cluster/team-a/web-01`; hint: see name, namespace and cluster",
                "Correct name, namespace or cluster. A machine that was removed comes back by `undelete`; one that Git never held is not managed by these flows.",
            ),
            Self::NoArchive => of(
                "operation: undelete\nname: pay-batch-01",
                "/spec/operationSpec/requestId: E_NO_ARCHIVE: 2 removed machines have this name; hint: give one of `REQ0011111`, `REQ0012345`",
                "Correct name, namespace or cluster; if several machines of the name were removed, give the id of the request that made the one that is meant, as `requestId`.",
            ),
            Self::NoDisk => of(
                "- {name: dta, size: 300Gi}",
                "/spec/operationSpec/disks/0/name: E_NO_DISK: the machine has no disk `dta`; hint: did you mean `data`",
                "Name a disk that the machine has; the boot disk is called `root`. Snapshots and patches need a disk with a claim, which a machine from a container disk has not.",
            ),
            Self::DiskSize => of(
                "- {name: data, size: 100Gi}",
                "/spec/operationSpec/disks/1/size: E_DISK_SIZE: `100Gi` is less than the `200Gi` that it has; hint: disks only grow",
                "Ask for the size that the disk has, or more. For a smaller one make a new machine and copy what is in the disk.",
            ),
            Self::DiskFile => of(
                "operation: deprovision",
                "/spec/operation: E_DISK_FILE: Argo CD would remove data disk `data` with its file, `disk-data.yaml`; hint: annotate it with the sync options `Prune=false,Delete=false`",
                "The platform team gives the disk a file of its own in the machine's folder, with `argocd.argoproj.io/sync-options: Prune=false,Delete=false` on a data disk; until then the operation could lose it.",
            ),
            Self::Off => of(
                "operation: restart",
                "/spec/operation: E_OFF: the machine is off: there is nothing to restart; hint: `start` it",
                "`start` the machine.",
            ),
            Self::Exists => of(
                "operation: provision\nname: pay-batch-01",
                "/spec/target/name: E_EXISTS: the machine is there already, provisioned by request `REQ0012345`; hint: give the new one another name, or `deprovision` the old one",
                "Give the new machine another name, or `deprovision` the old one first. If the machine is the one that was asked for, send the request with the id that it had.",
            ),
            Self::Conflict => of(
                "requestId: REQ0013500\nreason: another one",
                "/metadata/requestId: E_CONFLICT: an operation on a machine of this name has this id, with other content; hint: give this request an id of its own",
                "Give a new request a new id; send the same request again only with every field as it was. A machine in the middle of another request is waited for until that has ended.",
            ),
            Self::Superseded => of(
                "requestId: REQ0013600\noperation: deprovision",
                "/metadata/requestId: E_SUPERSEDED: the machine that this request removed was brought back; hint: to have it done again, give it a new id",
                "Nothing, if the later request was meant. To have the earlier one done again, send it with a new id.",
            ),
            Self::PolicyOperation => denied(
                "operation: patch",
                "operations: [provision, stop]",
                "/spec/operation: E_POLICY_OPERATION: the policy does not allow `patch`; hint: allowed: `provision`, `stop`",
                "Ask the platform team to do it, or to add the operation to the policy's `operations`.",
            ),
            Self::PolicyCluster => of(
                "cluster: prod",
                "/spec/target/cluster: E_POLICY_CLUSTER: the policy chooses the cluster, it is not `prod`; hint: leave it out, it is `in-cluster`",
                "Leave the cluster out, or take one that the message lists. The policy's `clusters` and `allow.clusterByRequester` decide.",
            ),
            Self::PolicyNamespace => denied(
                "namespace: team-a",
                "namespaces: [payments-*, web]",
                "/spec/target/namespace: E_POLICY_NAMESPACE: the policy does not allow `team-a`; hint: allowed: `payments-*`, `web`",
                "Take a namespace of your team, as the message lists them; the policy's `namespaces` decides. Namespaces of the platform are allowed only where they are listed.",
            ),
            Self::PolicyName => denied(
                "name: web-01",
                "namePattern: \"[a-z]{3}-(dev|prod)-[a-z0-9-]+\"",
                "/spec/target/name: E_POLICY_NAME: the policy wants names of another form than `web-01`; hint: they match `[a-z]{3}-(dev|prod)-[a-z0-9-]+`",
                "Take a name that matches the policy's `namePattern`, which the message gives.",
            ),
            Self::PolicyRequired => denied(
                "",
                "required: [ticket, reason]",
                "/metadata/ticket: E_POLICY_REQUIRED: the policy wants it filled",
                "Fill the field of `metadata`; the policy's `required` lists which.",
            ),
            Self::PolicyCompute => denied(
                "cpu: 2",
                "limits: {cpu: 1}",
                "/spec/compute/cpu: E_POLICY_COMPUTE: 2 CPUs, the policy allows 1",
                "Ask for less, or give an `instanceType` where the policy wants one. The policy's `limits` and `allow.cpuAndMemory` decide.",
            ),
            Self::PolicyInstanceType => denied(
                "instanceType: o1.large",
                "instanceTypes: [u1.*]",
                "/spec/compute/instanceType: E_POLICY_INSTANCE_TYPE: the policy does not allow `o1.large`; hint: allowed: `u1.*`",
                "Take an instance type that the message lists; the policy's `instanceTypes` decides.",
            ),
            Self::PolicyDisk => denied(
                "- {name: data, size: 2Ti}",
                "limits: {diskSize: 1Ti}",
                "/spec/disks/0/size: E_POLICY_DISK: `2Ti`, the policy allows `1Ti`",
                "Ask for fewer or smaller disks; the policy's `limits.disks` and `limits.diskSize` decide.",
            ),
            Self::PolicyStorage => denied(
                "- {name: data, size: 1Gi, tier: glod}",
                "storageTiers: {gold: ceph}",
                "/spec/disks/0/tier: E_POLICY_STORAGE: the policy has no tier `glod`; hint: did you mean `gold`",
                "Take a tier of the policy's `storageTiers`, or leave it out. Storage classes are named directly only where `storageClasses` lists them.",
            ),
            Self::PolicyImage => of(
                "url: \"http://images.example/x.img\"",
                "/spec/image/url: E_POLICY_IMAGE: without TLS, and the policy does not list it; hint: use `https:`",
                "Take an image from a place that the policy's `images` lists, by its full name and over TLS. Places inside of the cluster, IP addresses and plain `http:` need to be listed.",
            ),
            Self::PolicyUserData => of(
                "userData: \"#cloud-config\\npackages: [htop]\\n\"",
                "/spec/customization/userData: E_POLICY_USER_DATA: the policy does not allow `userData`; hint: use `access` and the other fields of `customization`",
                "Use `access` and the other fields of `customization`; or have the platform team set `allow.userData` or `allow.userDataSecret`.",
            ),
            Self::PolicyPatch => denied(
                "profile: security",
                "patchProfiles: [tzdata, openssl-*]",
                "/spec/operationSpec/profile: E_POLICY_PATCH: the policy does not allow `security`; hint: allowed: `tzdata`, `openssl-*`",
                "Take a profile that the message lists; the policy's `patchProfiles` decides.",
            ),
            Self::PolicyNetwork => denied(
                "- {name: lan, type: multus, networkName: vlan-121}",
                "networks: [network-infra/*, vlan-120]",
                "/spec/networks/0/networkName: E_POLICY_NETWORK: the policy does not allow `vlan-121`; hint: allowed: `network-infra/*`, `vlan-120`",
                "Take a network that the message lists, and leave `macAddress` out where requests may not choose one. The policy's `networks` and `allow.macAddress` decide; without `networks` the pod network is the only one.",
            ),
            Self::PolicyLabel => denied(
                "labels: {owner: jane}",
                "labels: [team, corp.example/*]",
                "/spec/labels/owner: E_POLICY_LABEL: the policy does not allow `owner`; hint: allowed: `team`, `corp.example/*`",
                "Take a key that the message lists, or leave it out; the policy's `labels` and `annotations` decide, and without them there are none.",
            ),
            Self::PolicyNodeSelector => denied(
                "nodeSelector: {topology.kubernetes.io/zone: fra-3}",
                "nodeSelector: [{key: topology.kubernetes.io/zone, values: [fra-1, fra-2]}]",
                "/spec/nodeSelector/topology.kubernetes.io~1zone: E_POLICY_NODE_SELECTOR: the policy does not allow `fra-3`; hint: allowed: `fra-1`, `fra-2`",
                "Take a key and a value that the message lists, or leave it out; the policy's `nodeSelector` decides, for each namespace, and without it there are none.",
            ),
            Self::PolicyDevice => denied(
                "gpus: [{name: gpu, deviceName: nvidia.com/AD102GL_L40}]",
                "devices: [{deviceName: nvidia.com/GA102GL_A10, namespaces: [team-*]}]",
                "/spec/devices/gpus/0/deviceName: E_POLICY_DEVICE: the policy does not allow `nvidia.com/AD102GL_L40`; hint: allowed: `nvidia.com/GA102GL_A10`",
                "Take a device that the message lists, or fewer; the policy's `devices`, `limits.gpus` and `limits.hostDevices` decide, and without `devices` there are none.",
            ),
            Self::PolicyReference => of(
                "sysprep: {configMap: windows-setup}",
                "/spec/customization/sysprep: E_POLICY_REFERENCE: the policy does not allow `sysprep`; hint: leave it out",
                "Leave it out, or have the platform team set `allow.sysprep`, `allow.accessCredentials` or `allow.configDisks`. Whoever may refer to a Secret can read it in the guest.",
            ),
            Self::PolicyTemplate => of(
                "template: {name: hardenned}",
                "/spec/template/name: E_POLICY_TEMPLATE: the site has no template `hardenned`; hint: did you mean `hardened`",
                "Take a template that the message names, or leave `template` out: a machine without one is made by the built-in template.",
            ),
            Self::PolicyLifetime => denied(
                "expiresAt: \"2027-09-01\"",
                "limits: {lifetimeDays: 90}",
                "/spec/lifecycle/expiresAt: E_POLICY_LIFETIME: 365 days after the request, the policy allows 90; hint: at the latest `2026-11-30`",
                "Give an earlier day; the policy's `limits.lifetimeDays` decides. Whoever needs the machine for longer asks again when the day comes near.",
            ),
            Self::PolicyEnvironment => denied(
                "environment: prd",
                "environments: {dev: {}, prod: {required: [owner, costCenter, reason]}}",
                "/spec/lifecycle/environment: E_POLICY_ENVIRONMENT: the policy has no environment `prd`; hint: did you mean `prod`",
                "Take an environment of the policy's `environments`, one that is for the machine's namespace; `protected: false` is not for an environment whose machines are all protected. Where the policy has no longer the one that a machine is of, the platform team adds it.",
            ),
        }
    }
}

const fn of(example: &'static str, answer: &'static str, way_out: &'static str) -> Explanation {
    Explanation { example, policy: "", answer, way_out }
}

const fn denied(
    example: &'static str,
    policy: &'static str,
    answer: &'static str,
    way_out: &'static str,
) -> Explanation {
    Explanation { example, policy, answer, way_out }
}
