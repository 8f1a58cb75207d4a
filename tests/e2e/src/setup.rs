//! The stage: a Git server, Argo CD's way to it, the Tasks and Pipelines, a namespace for machines.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::files::Files;
use testbed::git;
use testbed::sshd::Sshd;

use crate::conformance::waits;
use crate::{Kubectl, Options, until};

/// The container disk that the cluster brings: 64 MiB that a firmware finds nothing to boot on.
pub(crate) const BLANK: &str = "registry.local/blank-disk:1";
/// Argo CD's namespace.
pub(crate) const ARGOCD: &str = "argocd";
/// What the golden image of the first generation begins with.
pub(crate) const FIRST: &str = "vm-lifecycle e2e";
/// The same of the next one.
pub(crate) const NEXT: &str = "vm-lifecycle nxt";

/// Everything a scenario may ask.
#[derive(Debug)]
pub(crate) struct World {
    /// What makes this run's names its own.
    pub(crate) run: String,
    /// What Kubernetes says it is, such as `v1.36.1`.
    pub(crate) version: String,
    /// Where PipelineRuns are.
    pub(crate) namespace: String,
    /// Where machines are.
    pub(crate) machines: String,
    pub(crate) kubectl: Kubectl,
    /// A disk image on a web server that the cluster reaches.
    pub(crate) disk_url: String,
    /// Its next generation.
    pub(crate) next_disk_url: String,
    /// The params that every PipelineRun here has.
    pub(crate) params: Vec<(String, String)>,
    pub(crate) root: PathBuf,
    pub(crate) binaries: PathBuf,
    /// The same repository over SSH.
    pub(crate) sshd: Sshd,
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
        let version = version.to_owned();
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
        let disks = [("disk.img", FIRST), ("next.img", NEXT)];
        let disks = disks.map(|(name, mark)| (name.to_owned(), disk_image(mark)));
        let files = Files::serve(options.address, disks.into()).await?;
        let world = Self {
            disk_url: files.url("disk.img"),
            next_disk_url: files.url("next.img"),
            params: vec![
                ("git-url".to_owned(), server.url()),
                ("parent-application".to_owned(), format!("{ARGOCD}/{machines}")),
            ],
            root: options.root.clone(),
            binaries: options.binaries.clone(),
            sshd: Sshd::start_on(options.address)?,
            version,
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
        let namespace = |name: &str, labels: &Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let url = self.server.url();
        self.kubectl
            .apply(&[namespace(&self.namespace, &security), namespace(&self.machines, &json!({}))])?;
        self.kubectl.apply(&[
            // some hypervisors refuse guests this feature of the host's CPU model (`failed to set MSR 0x10a`)
            json!({"apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterInstancetype",
                "metadata": {"name": self.machines}, "spec": {"cpu": {"guest": 1}, "memory": {"guest": "128Mi"}}}),
            json!({"apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterInstancetype",
                "metadata": {"name": format!("{}-large", self.machines)},
                "spec": {"cpu": {"guest": 2}, "memory": {"guest": "160Mi"}}}),
            json!({"apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterPreference",
                "metadata": {"name": self.machines},
                "spec": {"cpu": {"preferredCPUFeatures": [{"name": "arch-capabilities", "policy": "disable"}]}}}),
            // Argo CD's own trust in this CA would need its ConfigMap mounted; our binaries do check the certificate
            secret(
                &self.machines,
                ARGOCD,
                &json!({"argocd.argoproj.io/secret-type": "repository"}),
                &json!({
                    "type": "git", "url": url, "username": user, "password": password, "insecure": "true",
                }),
            ),
        ])?;
        let map = |name: &str, namespace: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data});
        for namespace in [&self.namespace, &self.machines] {
            self.kubectl.apply(&[
                secret(
                    "git-basic-auth",
                    namespace,
                    &json!({}),
                    &json!({
                        ".git-credentials": credentials,
                        ".gitconfig": "[credential]\n\thelper = store\n",
                    }),
                ),
                map("git-ca", namespace, json!({"ca-bundle.crt": self.server.ca_pem()})),
                map("vm-policy", namespace, json!({"policy.yaml": self.policy()?})),
            ])?;
        }
        // an overlay as examples/overlay shows it: everything in a namespace of this run, and bindings of cluster roles that take
        // none from an installation that is there
        let overlay = self.evidence().join("install");
        fs::create_dir_all(&overlay)?;
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": self.namespace,
            "resources": ["../../../../tekton", "../../../../pipelines"],
            "transformers": ["bindings.yaml"],
        });
        let bindings = json!({
            "apiVersion": "builtin", "kind": "PrefixSuffixTransformer", "metadata": {"name": "bindings"},
            "suffix": format!("-{}", self.namespace),
            "fieldSpecs": [{"path": "metadata/name", "kind": "ClusterRoleBinding"}],
        });
        fs::write(overlay.join("bindings.yaml"), bindings.to_string())?;
        fs::write(overlay.join("kustomization.yaml"), kustomization.to_string())?;
        let said =
            self.kubectl.run(&["apply", "-k", overlay.to_str().context("a path that is not UTF-8")?])?;
        println!("e2e: applied {} objects of tekton/ and pipelines/", said.lines().count());
        let profiles =
            json!({"good.commands": "touch /etc/patched\n", "bad.commands": "run-command false\n"});
        self.kubectl.apply(&[map("vm-patch-profiles", &self.machines, profiles)])?;
        self.install_patching()?;
        self.kubectl.apply(&[json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": self.machines, "namespace": ARGOCD, "finalizers": ["resources-finalizer.argocd.argoproj.io"]},
            "spec": {
                "project": "default",
                "source": {"repoURL": url, "targetRevision": "main", "path": "applications", "directory": {"recurse": true}},
                "destination": {"name": "in-cluster", "namespace": ARGOCD},
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true, "allowEmpty": true}},
            },
        })])
    }

    /// `examples/patching`, for the namespaces of this run.
    fn install_patching(&self) -> Result<()> {
        let folder = self.root.join("examples/patching");
        let built = self.kubectl.run(&["kustomize", folder.to_str().context("a path that is not UTF-8")?])?;
        let mut documents: Vec<Value> = serde_saphyr::from_multiple(&built)?;
        for document in &mut documents {
            self.rename(&mut document["metadata"]);
            let subjects = document.get_mut("subjects").and_then(Value::as_array_mut);
            subjects.into_iter().flatten().for_each(|subject| self.rename(subject));
        }
        // one after the other, as `apply -k` sends them: of a list, kubectl checks the fields itself, by what it knows of Tekton
        let text: Vec<String> = documents.iter().map(Value::to_string).collect();
        self.kubectl.feed(&["apply", "-f", "-"], &text.join("\n---\n"))?;
        println!("e2e: applied {} objects of examples/patching", documents.len());
        Ok(())
    }

    /// The namespaces that samples name, as those of this run.
    fn rename(&self, place: &mut Value) {
        if let Some(namespace) = place.get_mut("namespace") {
            let ours = if *namespace == "payments-prod" { &self.machines } else { &self.namespace };
            *namespace = ours.as_str().into();
        }
        if let Some(name) = place["name"].as_str() {
            place["name"] = name.replace("payments-prod", &self.machines).into();
        }
    }

    /// CDI fills in a DataVolume's access mode from the `StorageProfile`. A class that it does not know has an empty one, and
    /// every disk would wait for ever; so the default class, and those that wait for a consumer, are told here what their administrator
    /// would tell them.
    fn prepare_storage(&self) -> Result<()> {
        let classes = self.kubectl.get(&["storageclass"])?;
        let is_default = |class: &&Value| {
            class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
        };
        let classes = classes["items"].as_array().cloned().unwrap_or_default();
        ensure!(classes.iter().any(|class| is_default(&class)), "no default StorageClass");
        for class in classes.iter().filter(|class| is_default(class) || waits(class)) {
            let name = class["metadata"]["name"].as_str().context("a StorageClass without a name")?;
            let profile = self.kubectl.get(&["storageprofile", name])?;
            if profile["status"]["claimPropertySets"].as_array().is_none_or(Vec::is_empty) {
                println!("e2e: StorageProfile {name} is empty; set to ReadWriteOnce, Filesystem");
                let sets = json!([{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}]);
                let patch = json!({"spec": {"claimPropertySets": sets}}).to_string();
                self.kubectl.run(&["patch", "storageprofile", name, "--type=merge", "-p", &patch])?;
            }
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
        spec["patchProfiles"] = json!(["good", "bad"]);
        // for the one that makes volumes for their first consumer, whatever the cluster calls it
        spec["storageClasses"] = json!(["*"]);
        // so that the scheduler, not the policy, refuses what is too large
        spec["limits"]["memory"] = "1Ti".into();
        spec["instanceTypes"] = json!([self.machines, format!("{}-large", self.machines)]);
        spec["images"] = json!({
            "registries": ["registry.local", "quay.io"],
            "urlPrefixes": [self.disk_url.trim_end_matches("disk.img")],
            "dataSources": {"namespaces": [self.machines], "default": self.machines},
        });
        Ok(policy.to_string())
    }

    /// The repository as it lies on its server.
    pub(crate) const fn git(&self) -> &git::Repository {
        self.server.git()
    }

    /// The Git server's address without the repository.
    pub(crate) fn git_server(&self) -> String {
        format!("https://{}", self.server.host())
    }

    /// User and password of the Git server.
    pub(crate) fn credentials(&self) -> (&str, &str) {
        self.server.credentials()
    }

    /// The name of Argo CD's Secret for the repository over SSH.
    pub(crate) fn ssh_repository(&self) -> String {
        format!("{}-ssh", self.machines)
    }

    /// The `VirtualMachine` of this name.
    pub(crate) fn machine(&self, name: &str) -> Result<Option<Value>> {
        self.kubectl.find(&["virtualmachine", name, "-n", &self.machines])
    }

    /// The Argo CD Application of the machine of this name.
    pub(crate) fn application(&self, name: &str) -> Result<Option<Value>> {
        let application = format!("in-cluster.{}.{name}", self.machines);
        self.kubectl.find(&["application", &application, "-n", ARGOCD])
    }

    /// A golden image: a disk imported by CDI and the `DataSource` `golden` that names it from now on.
    pub(crate) fn golden_image(&self, image: &str, url: &str) -> Result<String> {
        let name = "golden";
        self.kubectl.apply(&[
            json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
                "metadata": {"name": image, "namespace": self.machines},
                "spec": {"source": {"http": {"url": url}}, "storage": {"resources": {"requests": {"storage": "64Mi"}}}}}),
            json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataSource",
                "metadata": {"name": name, "namespace": self.machines},
                "spec": {"source": {"pvc": {"name": image, "namespace": self.machines}}}}),
        ])?;
        until("the golden image", Duration::from_mins(3), || {
            let volume = self.kubectl.get(&["datavolume", image, "-n", &self.machines])?;
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
                say!("cannot keep {file}: {error}");
            }
            text
        };
        keep("runs.yaml", &["get", "-o", "yaml", "pipelinerun,taskrun", "-n", &self.namespace]);
        keep("runs-of-patches.yaml", &["get", "-o", "yaml", "pipelinerun,taskrun", "-n", &self.machines]);
        keep("applications.yaml", &["get", "-o", "yaml", "application", "-n", ARGOCD]);
        keep("machines.yaml", &["get", "-o", "yaml", "vm,vmi,datavolume,pvc,pod", "-n", &self.machines]);
        keep("events.txt", &["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        let pods = keep("pods.txt", &["get", "pods", "-o", "name", "-n", &self.namespace]);
        for pod in pods.lines() {
            let file = format!("{}.log", pod.trim_start_matches("pod/"));
            keep(&file, &["logs", pod, "--all-containers", "--prefix", "-n", &self.namespace]);
        }
        say!("evidence: {}", folder.display());
    }
}

/// A Secret, as the cluster takes it.
pub(crate) fn secret(name: &str, namespace: &str, labels: &Value, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels}, "stringData": data})
}

/// Make the images known to the cluster's nodes.
fn load(options: &Options) -> Result<()> {
    let (program, arguments) = options.load_command.split_first().context("an empty load command")?;
    options.images.iter().try_for_each(|image| {
        println!("e2e: loading {} by {}", image.display(), options.load_command.join(" "));
        run(Command::new(program).args(arguments).arg(image))
    })
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", command.get_program().display(), said.trim());
    Ok(())
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
fn disk_image(mark: &str) -> testbed::files::Bytes {
    let mut image = vec![0; 32 << 20];
    image[..mark.len()].copy_from_slice(mark.as_bytes());
    image.into()
}
