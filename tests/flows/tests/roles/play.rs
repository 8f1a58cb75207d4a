//! The flows, each with what has to be there before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flows::{FLOWS, MACHINES, World, machine, request};
use serde_json::{Value, json};
use testbed::kubevirt::{Fault, IGNORES_ACPI};
use testbed::pipeline::{Accounts, Flow};
use testbed::sshd::Sshd;

use crate::alone::{API, VERIFY};
use crate::lack::Lacking;

/// A flow on a machine of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Play {
    Provision,
    /// A guest that ends as soon as it starts, with a warning that says so.
    ProvisionCrash,
    Restart,
    RestartCrash,
    /// KubeVirt's verbs, for a machine that is in no repository.
    Api(&'static str),
    Snapshot,
    Restore,
    /// A guest that does not react, with a warning that says so.
    StuckRestore,
    /// A new boot disk from a golden image.
    Golden,
    /// From one that is a snapshot.
    GoldenSnapshot,
    Patch,
    StuckPatch,
    /// A patch in the guest, up to where it would speak to it.
    Guest,
    /// The Task verify-vm alone.
    Verify,
    Grow,
    ResizeCrash,
    Deprovision,
    StuckDeprovision,
}

impl Play {
    /// The namespace of its run.
    pub(crate) const fn namespace(self) -> &'static str {
        if matches!(self, Self::Patch | Self::StuckPatch) { MACHINES } else { FLOWS }
    }

    /// How long it takes, roughly.
    pub(crate) const fn weight(self) -> usize {
        match self {
            Self::Restore | Self::StuckRestore => 4,
            Self::Patch | Self::Snapshot | Self::StuckPatch => 3,
            Self::Restart | Self::Grow | Self::Deprovision | Self::Golden => 2,
            _ => 1,
        }
    }

    /// Whether the same request, when it was refused, is done at once with all rights; where its end is worth the time.
    pub(crate) const fn goes_on(self) -> bool {
        matches!(self, Self::Restore | Self::Deprovision)
    }
}

/// What a flow is about.
pub(crate) struct Prepared {
    play: Play,
    name: String,
    pipeline: &'static str,
    request: Value,
}

/// Where the flows are played.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    /// Those of the flows' namespace, and those of the machines'.
    accounts: &'a [Accounts; 2],
    folder: tempfile::TempDir,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(world: &'a World, accounts: &'a [Accounts; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["nobody", "profiles", "disk", "ssh"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("profiles/security.commands"), "update\n").unwrap();
        fs::write(folder.path().join("profiles/security.sh"), "true\n").unwrap();
        fs::write(folder.path().join("disk/disk.img"), "a disk").unwrap();
        fs::write(folder.path().join("verify.yaml"), VERIFY).unwrap();
        fs::write(folder.path().join("api.yaml"), API).unwrap();
        let scene = Self { world, accounts, folder };
        // virt-customize is a script here
        let mut flow = scene.flow("provision-vm", "x", &machine("x"));
        flow.put_program(&scene.path("binaries"), "virt-customize", "#!/bin/sh\nexit 0\n").unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A flow, each task as the account of the sample run; nobody is an administrator.
    pub(crate) fn flow(&self, pipeline: &str, run: &str, request: &Value) -> Flow {
        let mut flow = self.world.flow(pipeline, run, request).unwrap();
        let sample = self.world.root().join(format!("examples/{pipeline}-run.yaml"));
        let accounts = if pipeline == "patch-vm" { &self.accounts[1] } else { &self.accounts[0] };
        flow.accounts = accounts.of_run(&sample).unwrap();
        flow.workspaces.insert("kubeconfig".to_owned(), self.path("nobody"));
        flow
    }

    /// `patch-vm`, with what a pod would have beside the steps; the machine is there.
    pub(crate) async fn patch(&self, id: &str, name: &str) -> Flow {
        let spec = request(id, "patch", name, &json!({"profile": "security"}));
        self.patching(id, name, &spec).await
    }

    async fn patching(&self, run: &str, name: &str, request: &Value) -> Flow {
        let claim = self.world.claim(name, "root").await.unwrap();
        let mut flow = self.flow("patch-vm", run, request);
        // the pod mounts the volume, so the run is where the machine is
        MACHINES.clone_into(&mut flow.run.namespace);
        flow.binaries = self.path("binaries");
        flow.params.insert("image".to_owned(), "libguestfs".to_owned());
        flow.workspaces.insert("profiles".to_owned(), self.path("profiles"));
        flow.claims.insert(claim, self.path("disk"));
        flow
    }

    /// What the flows of [`Play::Golden`] and [`Play::Grow`] find in the cluster.
    pub(crate) async fn furnish(&self) {
        let put = async |path: &str, object: Value| self.world.put(path, &object).await.unwrap();
        let cdi = format!("/apis/cdi.kubevirt.io/v1beta1/namespaces/{MACHINES}");
        let own = |kind: &str, name: &str| json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": kind, "metadata": {"name": name, "labels": {"cdi.kubevirt.io/dataImportCron": "golden"}}});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "dataimportcrons.cdi.kubevirt.io"},
            "spec": {
                "group": "cdi.kubevirt.io", "scope": "Namespaced",
                "names": {"kind": "DataImportCron", "plural": "dataimportcrons", "singular": "dataimportcron", "listKind": "DataImportCronList"},
                "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
            },
        });
        put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dataimportcrons.cdi.kubevirt.io", crd)
            .await;
        let mut volume = own("DataVolume", "golden");
        volume["spec"] = json!({"source": {"http": {"url": "https://images.example.com/golden.img"}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}});
        put(&format!("{cdi}/datavolumes/golden"), volume).await;
        let mut source = own("DataSource", "golden");
        source["spec"] = json!({"source": {"pvc": {"namespace": MACHINES, "name": "golden"}}});
        put(&format!("{cdi}/datasources/golden"), source).await;
        let snapshot = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "golden"},
            "spec": {"source": {"persistentVolumeClaimName": "golden"}, "volumeSnapshotClassName": "standard"},
        });
        put(
            &format!("/apis/snapshot.storage.k8s.io/v1/namespaces/{MACHINES}/volumesnapshots/golden"),
            snapshot,
        )
        .await;
        let mut source = own("DataSource", "snapshot");
        source["spec"] = json!({"source": {"snapshot": {"namespace": MACHINES, "name": "golden"}}});
        put(&format!("{cdi}/datasources/snapshot"), source).await;
        let mut settings = own("CDIConfig", "config");
        settings["spec"] = json!({});
        settings["status"] = json!({"filesystemOverhead": {"global": "0.2"}});
        put("/apis/cdi.kubevirt.io/v1beta1/cdiconfigs/config", settings).await;
        let mut cron = own("DataImportCron", "golden");
        cron["status"] =
            json!({"conditions": [{"type": "UpToDate", "status": "False", "message": "import in progress"}]});
        let path = format!("{cdi}/dataimportcrons/golden");
        // a kind that is new is served a little later
        while self.world.put(&path, &cron).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// The machine, as the flow has to find it.
    pub(crate) async fn prepare(&self, play: Play, name: &str) -> Prepared {
        let id = format!("op-{name}");
        let op = |operation: &str, spec: &Value| request(&id, operation, name, spec);
        let golden = |image: &str| op("repave", &json!({"image": {"source": "data-source", "name": image}}));
        match play {
            Play::Provision | Play::ProvisionCrash => {}
            Play::Api(power) => self.by_hand(name, power).await,
            Play::StuckRestore | Play::StuckPatch | Play::StuckDeprovision => {
                let mut patient = machine(name);
                patient["spec"]["lifecycle"]["gracePeriodSeconds"] = json!(300);
                self.world.done("provision-vm", &format!("provision-{name}"), &patient).unwrap();
            }
            _ => self.world.provision(name).unwrap(),
        }
        let (pipeline, request) = match play {
            Play::Provision | Play::ProvisionCrash => ("provision-vm", machine(name)),
            Play::Restart | Play::RestartCrash => ("power-vm", op("restart", &Value::Null)),
            Play::Api(_) => ("power-vm", op("start", &Value::Null)),
            Play::Snapshot => ("snapshot-vm", op("snapshot", &json!({"keepCount": 1}))),
            Play::Restore | Play::StuckRestore => {
                let id = format!("snap-{name}");
                let taken = self.world.run("snapshot-vm", &id, &request(&id, "snapshot", name, &Value::Null));
                ("restore-vm", op("restore", &json!({"snapshot": taken.unwrap().results["snapshot-name"]})))
            }
            Play::Golden => ("repave-vm", golden("golden")),
            Play::GoldenSnapshot => ("repave-vm", golden("snapshot")),
            Play::Patch | Play::StuckPatch => ("patch-vm", op("patch", &json!({"profile": "security"}))),
            Play::Guest => {
                ("patch-guest-vm", op("patch", &json!({"profile": "security", "method": "in-guest"})))
            }
            Play::Verify => ("patch-guest-vm", machine(name)),
            Play::Grow => ("resize-vm", op("resize", &json!({"disks": [{"name": "data", "size": "2Gi"}]}))),
            Play::ResizeCrash => {
                ("resize-vm", op("resize", &json!({"compute": {"memory": "2Gi"}, "allowRestart": true})))
            }
            Play::Deprovision | Play::StuckDeprovision => ("deprovision-vm", op("deprovision", &Value::Null)),
        };
        match play {
            Play::ProvisionCrash | Play::RestartCrash | Play::ResizeCrash => {
                self.warned(name).await;
                self.world.stage.kubevirt.fail(MACHINES, name, Fault::Crash);
            }
            Play::Deprovision => self.spent_pod(name).await,
            Play::StuckRestore | Play::StuckPatch | Play::StuckDeprovision => {
                self.warned(name).await;
                let path =
                    format!("/apis/kubevirt.io/v1/namespaces/{MACHINES}/virtualmachineinstances/{name}");
                let deaf = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": name, "annotations": {IGNORES_ACPI: "true"}}});
                self.world.put(&path, &deaf).await.unwrap();
            }
            _ => {}
        }
        Prepared { play, name: name.to_owned(), pipeline, request }
    }

    /// A flow of this, as the shipped accounts or with another one in the place of one of them.
    pub(crate) async fn staged(
        &self,
        prepared: &Prepared,
        run: &str,
        lacking: Option<(&str, &Lacking)>,
    ) -> Flow {
        let Prepared { play, name, pipeline, request } = prepared;
        let mut request = request.clone();
        if *play == Play::Grow && run.ends_with("-with") {
            request["metadata"]["requestId"] = json!(run);
            request["spec"]["operationSpec"]["disks"][0]["size"] = json!("3Gi");
        }
        let mut flow = match play {
            Play::Patch | Play::StuckPatch => self.patching(run, name, &request).await,
            Play::Api(power) => self.by_verb(run, name, power),
            Play::Guest => self.in_guest(run, &request),
            Play::Verify => self.verifying(run, name),
            _ => self.flow(pipeline, run, &request),
        };
        if let Some((account, lacking)) = lacking {
            for folder in flow.accounts.values_mut().filter(|f| f.file_name().is_some_and(|n| n == account)) {
                *folder = lacking.folder();
            }
        }
        if matches!(play, Play::StuckRestore | Play::StuckPatch | Play::StuckDeprovision) {
            soon(flow)
        } else {
            flow
        }
    }

    /// A warning about the machine, the only one there is.
    async fn warned(&self, name: &str) {
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{name}.told")},
            "involvedObject": {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "namespace": MACHINES, "name": name},
            "type": "Warning", "reason": "Told", "message": "by an event", "lastTimestamp": "2099-01-01T00:00:00Z",
        });
        self.world.put(&format!("/api/v1/namespaces/{MACHINES}/events/{name}.told"), &event).await.unwrap();
    }

    /// What Tekton keeps of a patch: its pod, which keeps the boot disk.
    async fn spent_pod(&self, name: &str) {
        let claim = self.world.claim(name, "root").await.unwrap();
        let path = format!("/api/v1/namespaces/{MACHINES}/pods/patch-{name}");
        let object = |part: &str, value: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("patch-{name}"), "labels": {"app.kubernetes.io/part-of": "vm-lifecycle-tasks"}}, part: value});
        let volume = json!({"name": "disk", "persistentVolumeClaim": {"claimName": claim}});
        let spec = json!({"nodeName": "none", "automountServiceAccountToken": false, "containers": [{"name": "step", "image": "none"}], "volumes": [volume]});
        self.world.put(&path, &object("spec", spec)).await.unwrap();
        self.world
            .put(&format!("{path}/status"), &object("status", json!({"phase": "Succeeded"})))
            .await
            .unwrap();
    }

    /// A machine that no repository has, on for the verbs that need it so.
    async fn by_hand(&self, name: &str, power: &str) {
        let path = format!("/apis/kubevirt.io/v1/namespaces/{MACHINES}/virtualmachines/{name}");
        let vm = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name},
            "spec": {"runStrategy": "Manual", "template": {"spec": {"terminationGracePeriodSeconds": 5, "domain": {"devices": {}}}}},
        });
        self.world.put(&path, &vm).await.unwrap();
        if power != "on" {
            let ended = self.world.play(&self.by_verb(&format!("{name}-first"), name, "on")).unwrap();
            assert!(ended.succeeded, "{ended:?}");
        }
    }

    /// `patch-guest-vm` with this guest.
    pub(crate) fn guest(&self, id: &str, name: &str, sshd: &Sshd) -> Flow {
        let spec = json!({"profile": "security", "method": "in-guest"});
        let mut flow = self.in_guest(id, &request(id, "patch", name, &spec));
        sshd.is_guest_of(&mut flow).unwrap();
        flow
    }

    /// `patch-guest-vm`, without a guest.
    fn in_guest(&self, run: &str, request: &Value) -> Flow {
        let mut flow = self.flow("patch-guest-vm", run, request);
        flow.params.insert("user".to_owned(), "nobody".to_owned());
        flow.workspaces.insert("profiles".to_owned(), self.path("profiles"));
        flow.workspaces.insert("ssh-directory".to_owned(), self.path("ssh"));
        flow
    }

    /// The Task verify-vm, which holds the machine's Lease as the flow does.
    fn verifying(&self, run: &str, name: &str) -> Flow {
        let lease = format!("{FLOWS}/in-cluster.{MACHINES}.{name}");
        let params = [("vm", format!("{MACHINES}/{name}")), ("lease", lease), ("holder", "R1".to_owned())];
        let folder = self.accounts[0].folder("verify-vm").map(Path::to_owned).unwrap();
        let flow = self.flow("patch-guest-vm", run, &machine(name));
        Flow {
            pipeline: self.path("verify.yaml"),
            params: params.map(|(name, value)| (name.to_owned(), value)).into(),
            accounts: BTreeMap::from([("verify".to_owned(), folder)]),
            ..flow
        }
    }

    fn by_verb(&self, run: &str, name: &str, power: &str) -> Flow {
        let power = [("power", power), ("vm", &format!("{MACHINES}/{name}"))];
        let folder = self.accounts[0].folder("power-vm").map(Path::to_owned).unwrap();
        let flow = self.flow("power-vm", run, &machine(name));
        Flow {
            pipeline: self.path("api.yaml"),
            params: power.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            accounts: BTreeMap::from([("power".to_owned(), folder)]),
            ..flow
        }
    }
}

/// With less time than a flow has, and enough to come to what is refused on a busy machine.
pub(crate) fn soon(mut flow: Flow) -> Flow {
    flow.params.entry("timeout".to_owned()).and_modify(|timeout| "50s".clone_into(timeout));
    flow
}
