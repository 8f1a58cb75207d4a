//! The stage: a Git server, Argo CD's way to it, the Tasks and Pipelines, a namespace for machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::files::Files;
use testbed::git;

use crate::{Kubectl, Options, until};

/// The container disk that the cluster brings: 64 MiB that a firmware finds nothing to boot on.
pub(crate) const BLANK: &str = "registry.local/blank-disk:1";
const ARGOCD: &str = "argocd";

/// Everything a scenario may ask.
#[derive(Debug)]
pub(crate) struct World {
    /// What makes this run's names its own.
    pub(crate) run: String,
    /// Where PipelineRuns are.
    pub(crate) namespace: String,
    /// Where machines are.
    pub(crate) machines: String,
    pub(crate) kubectl: Kubectl,
    /// A disk image on a web server that the cluster reaches.
    pub(crate) disk_url: String,
    /// `examples/provision-vm-run.yaml`, with the workspaces of this run.
    pub(crate) sample: Value,
    /// The params that every PipelineRun here has.
    pub(crate) params: Vec<(String, String)>,
    pub(crate) root: PathBuf,
    pub(crate) binaries: PathBuf,
    server: git::Server,
    // serves the cluster until it is dropped
    _files: Files,
}

impl World {
    /// Set the stage.
    pub(crate) async fn new(options: &Options) -> Result<Self> {
        let kubectl = Kubectl;
        let version = kubectl.run(&["version", "-o", "yaml"]).context("no cluster answers at KUBECONFIG")?;
        let version =
            version.lines().rev().find_map(|l| l.trim().strip_prefix("gitVersion: ")).unwrap_or("?");
        println!("e2e: cluster {version}");
        for (what, crd) in [
            ("Tekton Pipelines", "pipelineruns.tekton.dev"),
            ("Argo CD", "applications.argoproj.io"),
            ("KubeVirt", "virtualmachines.kubevirt.io"),
            ("CDI", "datavolumes.cdi.kubevirt.io"),
        ] {
            kubectl.run(&["get", "crd", crd]).with_context(|| format!("{what} is not installed"))?;
        }
        load(options)?;
        // seconds since 2020 in base 36: names sort by time and stay short
        let run = base36(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - 1_577_836_800);
        let (machines, namespace) = (format!("e2e-{run}"), format!("e2e-{run}-flows"));
        let server = git::Server::tls(options.address).await?;
        let files = Files::serve(options.address, [("disk.img".to_owned(), disk_image())].into()).await?;
        let world = Self {
            disk_url: files.url("disk.img"),
            sample: sample(&options.root)?,
            params: vec![
                ("git-url".to_owned(), server.url()),
                ("parent-application".to_owned(), format!("{ARGOCD}/{machines}")),
            ],
            root: options.root.clone(),
            binaries: options.binaries.clone(),
            server,
            _files: files,
            run,
            namespace,
            machines,
            kubectl,
        };
        world.prepare_storage()?;
        world.install()?;
        Ok(world)
    }

    /// What a platform team does once: namespaces, credentials, Tasks, Pipelines, roles, the parent Application.
    fn install(&self) -> Result<()> {
        let security = json!({"pod-security.kubernetes.io/enforce": self.pod_security()?});
        let (user, password) = self.server.credentials();
        let credentials = format!("{}\n", self.server.url_with_credentials());
        let secret = |name: &str, namespace: &str, labels: Value, data: Value| {
            json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace, "labels": labels}, "stringData": data})
        };
        let namespace = |name: &str, labels: &Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let url = self.server.url();
        self.kubectl
            .apply(&[namespace(&self.namespace, &security), namespace(&self.machines, &json!({}))])?;
        self.kubectl.apply(&[
            // some hypervisors refuse guests this feature of the host's CPU model (`failed to set MSR 0x10a`)
            json!({"apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterInstancetype",
                "metadata": {"name": self.machines}, "spec": {"cpu": {"guest": 1}, "memory": {"guest": "128Mi"}}}),
            json!({"apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterPreference",
                "metadata": {"name": self.machines},
                "spec": {"cpu": {"preferredCPUFeatures": [{"name": "arch-capabilities", "policy": "disable"}]}}}),
            secret(
                "git-basic-auth",
                &self.namespace,
                json!({}),
                json!({
                    ".git-credentials": credentials,
                    ".gitconfig": "[credential]\n\thelper = store\n",
                }),
            ),
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "git-ca", "namespace": self.namespace},
                "data": {"ca-bundle.crt": self.server.ca_pem()}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "vm-policy", "namespace": self.namespace},
                "data": {"policy.yaml": self.policy()?}}),
            // Argo CD's own trust in this CA would need its ConfigMap mounted; our binaries do check the certificate
            secret(
                &self.machines,
                ARGOCD,
                json!({"argocd.argoproj.io/secret-type": "repository"}),
                json!({
                    "type": "git", "url": url, "username": user, "password": password, "insecure": "true",
                }),
            ),
        ])?;
        // an overlay as examples/overlay shows it: everything in a namespace of this run
        let overlay = self.evidence().join("install");
        fs::create_dir_all(&overlay)?;
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": self.namespace,
            "resources": ["../../../../tekton", "../../../../pipelines"],
        });
        fs::write(overlay.join("kustomization.yaml"), kustomization.to_string())?;
        let said =
            self.kubectl.run(&["apply", "-k", overlay.to_str().context("a path that is not UTF-8")?])?;
        println!("e2e: applied {} objects of tekton/ and pipelines/", said.lines().count());
        self.kubectl.apply(&[json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": self.machines, "namespace": ARGOCD, "finalizers": ["resources-finalizer.argocd.argoproj.io"]},
            "spec": {
                "project": "default",
                "source": {"repoURL": url, "targetRevision": "main", "path": "applications", "directory": {"recurse": true}},
                "destination": {"name": "in-cluster", "namespace": ARGOCD},
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
            },
        })])
    }

    /// CDI fills in a DataVolume's access mode from the `StorageProfile`. A class that it does not know has an empty one, and
    /// every disk would wait for ever; so the default class is told here what its administrator would tell it.
    fn prepare_storage(&self) -> Result<()> {
        let classes = self.kubectl.get(&["storageclass"])?;
        let is_default = |class: &&Value| {
            class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
        };
        let classes = classes["items"].as_array().cloned().unwrap_or_default();
        let class = classes.iter().find(is_default).context("no default StorageClass")?;
        let name = class["metadata"]["name"].as_str().context("a StorageClass without a name")?;
        let profile = self.kubectl.get(&["storageprofile", name])?;
        if profile["status"]["claimPropertySets"].as_array().is_none_or(Vec::is_empty) {
            println!("e2e: StorageProfile {name} is empty; set to ReadWriteOnce, Filesystem");
            let sets = json!([{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}]);
            let patch = json!({"spec": {"claimPropertySets": sets}}).to_string();
            self.kubectl.run(&["patch", "storageprofile", name, "--type=merge", "-p", &patch])?;
        }
        Ok(())
    }

    /// The Pod Security level that the flows' namespace enforces: `restricted`, unless Tekton's own init containers would not
    /// pass it (they do with its feature flag `set-security-context`).
    fn pod_security(&self) -> Result<&'static str> {
        let flags =
            self.kubectl.find(&["configmap", "feature-flags", "-n", "tekton-pipelines"])?.unwrap_or_default();
        if flags["data"]["set-security-context"] == "true" {
            return Ok("restricted");
        }
        println!(
            "e2e: Tekton's `set-security-context` is off: Pod Security `restricted` is NOT SHOWN, `baseline` is"
        );
        Ok("baseline")
    }

    /// `examples/policy.yaml`, opened for this run's namespace, disk server and images.
    pub(crate) fn policy(&self) -> Result<String> {
        let text = fs::read_to_string(self.root.join("examples/policy.yaml"))?;
        let mut policy: Value = serde_saphyr::from_str(&text)?;
        let spec = &mut policy["spec"];
        spec["namespaces"] = json!([self.machines]);
        // so that the scheduler, not the policy, refuses what is too large
        spec["limits"]["memory"] = "1Ti".into();
        spec["instanceTypes"] = json!([self.machines]);
        spec["images"] = json!({
            "registries": ["registry.local", "quay.io"],
            "urlPrefixes": [self.disk_url],
            "dataSources": {"namespaces": [self.machines], "default": self.machines},
        });
        Ok(policy.to_string())
    }

    /// The repository as it lies on its server.
    pub(crate) const fn git(&self) -> &git::Repository {
        self.server.git()
    }

    /// The `VirtualMachine` of this name.
    pub(crate) fn machine(&self, name: &str) -> Result<Option<Value>> {
        self.kubectl.find(&["virtualmachine", name, "-n", &self.machines])
    }

    /// A golden image: a disk imported by CDI and the `DataSource` that names it.
    pub(crate) fn golden_image(&self) -> Result<String> {
        let name = "golden";
        self.kubectl.apply(&[
            json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
                "metadata": {"name": name, "namespace": self.machines},
                "spec": {"source": {"http": {"url": self.disk_url}}, "storage": {"resources": {"requests": {"storage": "64Mi"}}}}}),
            json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataSource",
                "metadata": {"name": name, "namespace": self.machines},
                "spec": {"source": {"pvc": {"name": name, "namespace": self.machines}}}}),
        ])?;
        until("the golden image", Duration::from_mins(3), || {
            let volume = self.kubectl.get(&["datavolume", name, "-n", &self.machines])?;
            let phase = &volume["status"]["phase"];
            Ok(if phase == "Succeeded" { Ok(()) } else { Err(phase.to_string()) })
        })?;
        Ok(name.to_owned())
    }

    /// The folder for what a failure leaves behind.
    pub(crate) fn evidence(&self) -> PathBuf {
        self.root.join("target/e2e").join(&self.run)
    }

    /// Keep what a person needs to understand a failure: objects and the pods' logs.
    pub(crate) fn keep_evidence(&self, scenario: &str) {
        let folder = self.evidence().join(scenario);
        let keep = |file: &str, arguments: &[&str]| {
            let text = self.kubectl.run(arguments).unwrap_or_else(|error| format!("{error:#}"));
            let written = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(file), &text));
            if let Err(error) = written {
                println!("cannot keep {file}: {error}");
            }
            text
        };
        keep("runs.yaml", &["get", "-o", "yaml", "pipelinerun,taskrun", "-n", &self.namespace]);
        keep("applications.yaml", &["get", "-o", "yaml", "application", "-n", ARGOCD]);
        keep("machines.yaml", &["get", "-o", "yaml", "vm,vmi,datavolume,pvc,pod", "-n", &self.machines]);
        keep("events.txt", &["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        let pods = keep("pods.txt", &["get", "pods", "-o", "name", "-n", &self.namespace]);
        for pod in pods.lines() {
            let file = format!("{}.log", pod.trim_start_matches("pod/"));
            keep(&file, &["logs", pod, "--all-containers", "--prefix", "-n", &self.namespace]);
        }
        println!("evidence: {}", folder.display());
    }

    /// Take everything of this run out of the cluster again.
    pub(crate) fn tear_down(&self) -> Result<()> {
        self.kubectl.run(&["delete", "application", &self.machines, "-n", ARGOCD, "--timeout=180s"])?;
        until("the machines' Applications to go", Duration::from_mins(3), || {
            let left = self.kubectl.run(&["get", "application", "-n", ARGOCD, "-o", "name"])?;
            let ours = left.lines().filter(|name| name.contains(&self.machines)).count();
            Ok(if ours == 0 { Ok(()) } else { Err(format!("{ours} left")) })
        })?;
        self.kubectl.run(&["delete", "secret", &self.machines, "-n", ARGOCD])?;
        for kind in ["virtualmachineclusterinstancetype", "virtualmachineclusterpreference"] {
            self.kubectl.run(&["delete", kind, &self.machines])?;
        }
        self.kubectl
            .run(&["delete", "namespace", &self.machines, &self.namespace, "--timeout=180s"])
            .map(drop)
    }
}

/// Make the image known to the cluster's nodes.
fn load(options: &Options) -> Result<()> {
    let (program, arguments) = options.load_command.split_first().context("an empty load command")?;
    println!("e2e: loading {} by {}", options.image.display(), options.load_command.join(" "));
    run(Command::new(program).args(arguments).arg(&options.image))
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", command.get_program().display(), said.trim());
    Ok(())
}

/// The PipelineRun that users copy, with the names of the workspaces' Secret and `ConfigMaps` as [`World::install`] makes them.
fn sample(root: &Path) -> Result<Value> {
    let text = fs::read_to_string(root.join("examples/provision-vm-run.yaml"))?;
    let mut run: Value = serde_saphyr::from_str(&text).context("examples/provision-vm-run.yaml")?;
    let workspaces = run["spec"]["workspaces"].as_array_mut().context("the sample binds no workspaces")?;
    if !workspaces.iter().any(|w| w["name"] == "basic-auth-read") {
        workspaces.push(json!({"name": "basic-auth-read", "secret": {"secretName": "git-basic-auth"}}));
    }
    Ok(run)
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.extend(char::from_digit(u32::try_from(number % 36).unwrap_or_default(), 36));
        number /= 36;
    }
    digits.iter().rev().collect()
}

/// 32 MiB that a firmware finds nothing to boot on, with a mark at its beginning.
fn disk_image() -> testbed::files::Bytes {
    let mut image = vec![0; 32 << 20];
    image[..16].copy_from_slice(b"vm-lifecycle e2e");
    image.into()
}
