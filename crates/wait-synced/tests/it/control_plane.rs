//! The built binary on a real API server, with stand-ins for Argo CD, KubeVirt and CDI and a real Git server: nothing here
//! shows what the real controllers do.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::argocd::{self, ArgoCd};
use testbed::cdi::{self, Cdi};
use testbed::control_plane::ControlPlane;
use testbed::git::{Entry, Server};
use testbed::kubevirt::{self, KubeVirt};
use tokio::task::JoinHandle;

const FOLDER: &str = "vms/in-cluster/team-a/web01";
const DIGEST: &str = "sha256:aa";

/// A namespace with its controllers, an Application in it, and a repository.
struct Bed {
    plane: &'static ControlPlane,
    namespace: &'static str,
    git: Server,
    credentials: tempfile::TempDir,
    argocd: ArgoCd,
    _kubevirt: KubeVirt,
    _cdi: Cdi,
}

impl Bed {
    async fn new(plane: &'static ControlPlane, namespace: &'static str) -> Self {
        plane.ensure_namespace(namespace).await.unwrap();
        let git = Server::plain().await.unwrap();
        let credentials = tempfile::tempdir().unwrap();
        let (user, password) = git.credentials();
        std::fs::write(credentials.path().join("username"), user).unwrap();
        std::fs::write(credentials.path().join("password"), password).unwrap();
        let namespaces = vec![namespace.to_owned()];
        let argocd = argocd::Options {
            namespaces: namespaces.clone(),
            repositories: vec![(git.url(), git.repository().to_owned())],
            ..argocd::Options::default()
        };
        let client = plane.client().await.unwrap();
        let kubevirt = kubevirt::Options { namespaces: namespaces.clone(), ..kubevirt::Options::default() };
        let cdi = cdi::Options { namespaces, ..cdi::Options::default() };
        let bed = Self {
            argocd: ArgoCd::start(client.clone(), argocd),
            _kubevirt: KubeVirt::start(client.clone(), kubevirt),
            _cdi: Cdi::start(client, cdi),
            plane,
            namespace,
            git,
            credentials,
        };
        bed.other(0);
        bed
    }

    /// The machine of this request, with this root volume, committed.
    fn commit(&self, digest: &str, volume: &Value) -> String {
        let vm = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"name": "web01", "namespace": self.namespace, "annotations": {"vmlifecycle.dev/request-digest": digest}},
            "spec": {"runStrategy": "Always", "template": {"spec": {
                "domain": {"memory": {"guest": "1Gi"}, "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]}},
                "volumes": [volume]
            }}}
        });
        // JSON is YAML
        let file = Entry::file(format!("{FOLDER}/virtual-machine.yaml"), vm.to_string());
        self.git.git().commit(&[file], "machine").unwrap()
    }

    /// A commit of somebody else.
    fn other(&self, n: usize) -> String {
        let file = format!("vms/in-cluster/team-b/vm{n}/note.txt");
        self.git.git().commit(&[Entry::file(file, "other\n")], "other").unwrap()
    }

    async fn apply(&self, path: &str, object: &Value) {
        let path = format!("{path}?fieldManager=test&force=true");
        let request = http::Request::patch(path).header("content-type", "application/apply-patch+yaml");
        let request = request.body(object.to_string().into_bytes()).unwrap();
        let _: Value = self.plane.client().await.unwrap().request(request).await.unwrap();
    }

    /// The Application, applied; a failed sync is not tried again.
    async fn apply_application(&self) {
        let application = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "web01", "namespace": self.namespace},
            "spec": {
                "project": "default",
                "source": {"repoURL": self.git.url(), "targetRevision": "main", "path": FOLDER, "directory": {"recurse": true}},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": self.namespace},
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true}, "retry": {"limit": 0}}
            }
        });
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{}/applications/web01", self.namespace);
        self.apply(&path, &application).await;
    }

    /// A wait for this commit under way.
    fn wait(&self, commit: &str, timeout: &str) -> JoinHandle<(i32, String, Duration)> {
        self.wait_as(&self.plane.kubeconfig(), DIGEST, commit, timeout)
    }

    fn wait_as(
        &self,
        kubeconfig: &Path,
        digest: &str,
        commit: &str,
        timeout: &str,
    ) -> JoinHandle<(i32, String, Duration)> {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wait-synced"));
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--application={}/web01", self.namespace))
            .arg(format!("--vm={}/web01", self.namespace))
            .args([format!("--commit={commit}"), format!("--digest={digest}"), format!("--path={FOLDER}")])
            .args([
                format!("--url={}", self.git.url()),
                format!("--basic-auth={}", self.credentials.path().display()),
            ])
            .arg(format!("--timeout={timeout}"))
            .stderr(Stdio::piped());
        tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let output = command.output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap(), began.elapsed())
        })
    }
}

fn disk(image: &str) -> Value {
    json!({"name": "root", "containerDisk": {"image": format!("registry.local/{image}:1")}})
}

/// The last line but hints.
fn last(log: &str) -> &str {
    log.lines().rev().find(|l| !l.starts_with("hint: ")).unwrap_or_default()
}

async fn shared() -> &'static ControlPlane {
    ControlPlane::shared().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_machine_becomes_ready_though_refreshes_are_lost() {
    let bed = Bed::new(shared().await, "ws-lost").await;
    let first = bed.commit("sha256:first", &disk("blank-disk"));
    bed.apply_application().await;
    let (code, log, _) = bed.wait_as(&bed.plane.kubeconfig(), "sha256:first", &first, "60s").await.unwrap();
    assert_eq!(code, 0, "{log}");
    bed.argocd.lose_refreshes(2);
    let ours = bed.commit(DIGEST, &disk("blank-disk"));
    let (code, log, _) = bed.wait(&ours, "60s").await.unwrap();
    assert_eq!(
        (code, last(&log)),
        (
            0,
            format!("done: virtual machine `ws-lost/web01` is ready at {} on node `node1`", &ours[..7])
                .as_str()
        ),
        "{log}"
    );
    assert_eq!(bed.argocd.refreshes_to_lose(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_jumps_over_our_commit_while_twenty_others_come() {
    let bed = Bed::new(shared().await, "ws-jump").await;
    bed.argocd.pause();
    bed.apply_application().await;
    let ours = bed.commit(DIGEST, &disk("blank-disk"));
    let wait = bed.wait(&ours, "90s");
    for n in 1..=20 {
        bed.other(n);
        if n == 10 {
            bed.argocd.resume();
        }
    }
    let (code, log, _) = wait.await.unwrap();
    assert_eq!(code, 0, "{log}");
    let done = last(&log);
    assert!(
        done.starts_with("done: virtual machine `ws-jump/web01` is ready at ") && !done.contains(&ours[..7]),
        "{done}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_synced_is_never_ready() {
    let bed = Bed::new(shared().await, "ws-stale").await;
    bed.commit("sha256:first", &disk("blank-disk"));
    bed.apply_application().await;
    let before = bed.git.git().tip().unwrap();
    let (code, log, _) = bed.wait(&before, "15s").await.unwrap();
    assert_eq!(code, 60, "{log}");
    assert!(last(&log).contains("carries the request digest `sha256:first` (want `sha256:aa`)"), "{log}");
    // compared again and again, always with the commit before ours
    bed.argocd.freeze();
    let ours = bed.commit(DIGEST, &disk("blank-disk"));
    let (code, log, _) = bed.wait(&ours, "15s").await.unwrap();
    assert_eq!(
        (code, last(&log)),
        (60, format!(
            "error: virtual machine `ws-stale/web01` is not ready after 15s: waited for argo cd: application `ws-stale/web01` is Synced at {} (want {})",
            &before[..7], &ours[..7]).as_str()),
        "{log}"
    );
    bed.argocd.thaw();
    let (code, log, _) = bed.wait(&ours, "60s").await.unwrap();
    assert_eq!(code, 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_ends_fail_at_once_in_the_controllers_words() {
    let claim = json!({"name": "root", "persistentVolumeClaim": {"claimName": "nope"}});
    for (namespace, volume, words) in [
        ("ws-image", disk("missing"), "error: virtual machine `ws-image/web01` cannot pull an image: "),
        (
            "ws-claim",
            claim,
            "error: virtual machine `ws-claim/web01` misses a volume: PVC ws-claim/nope does not exist, waiting for it to appear (for 5s)",
        ),
        ("ws-crash", disk("crash"), "error: virtual machine `ws-crash/web01` crashed "),
    ] {
        let bed = Bed::new(shared().await, namespace).await;
        bed.apply_application().await;
        let ours = bed.commit(DIGEST, &volume);
        let (code, log, took) = bed.wait(&ours, "5m").await.unwrap();
        assert_eq!(code, 40, "{namespace}: {log}");
        assert!(last(&log).starts_with(words), "{log}");
        assert!(took < Duration::from_mins(2), "{namespace}: {took:?}");
    }
    let bed = Bed::new(shared().await, "ws-sync").await;
    let words = "admission webhook \"virtualmachine-validator.kubevirt.io\" denied the request: no";
    bed.argocd.fail_syncs(words);
    bed.apply_application().await;
    let ours = bed.commit(DIGEST, &disk("blank-disk"));
    let (code, log, took) = bed.wait(&ours, "5m").await.unwrap();
    assert_eq!(code, 40, "{log}");
    assert!(
        last(&log).starts_with("error: application `ws-sync/web01` failed to sync: ")
            && last(&log).contains(words),
        "{log}"
    );
    assert!(took < Duration::from_mins(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_restarts_ten_times() {
    // its own: nobody else's test may suffer. It lives as long as the process, like the shared one.
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    let bed = Bed::new(plane, "ws-restart").await;
    bed.argocd.pause();
    bed.apply_application().await;
    let ours = bed.commit(DIGEST, &disk("blank-disk"));
    let wait = bed.wait(&ours, "10m");
    for round in 1..=10 {
        plane.start_api_server().await.unwrap();
        assert!(!wait.is_finished(), "it ended after restart {round}: {:?}", wait.await);
    }
    bed.argocd.resume();
    let (code, log, _) = wait.await.unwrap();
    assert_eq!(
        (code, last(&log)),
        (
            0,
            format!("done: virtual machine `ws-restart/web01` is ready at {} on node `node1`", &ours[..7])
                .as_str()
        ),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rights_are_enough_and_a_missing_one_is_named() {
    let bed = Bed::new(shared().await, "ws-rights").await;
    let kubeconfig = bed.plane.kubeconfig_for_service_account("ws-rights", "await-vm").await.unwrap();
    let rules = json!([
        {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get", "watch", "patch"]},
        {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get", "watch"]},
        {"apiGroups": ["cdi.kubevirt.io"], "resources": ["datavolumes"], "verbs": ["get", "watch"]}
    ]);
    let api = "/apis/rbac.authorization.k8s.io/v1/namespaces/ws-rights";
    let role = |kind: &str, more: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "await-vm"}});
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role
    };
    bed.apply(&format!("{api}/roles/await-vm"), &role("Role", json!({"rules": rules}))).await;
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "await-vm"},
        "subjects": [{"kind": "ServiceAccount", "name": "await-vm", "namespace": "ws-rights"}]
    });
    bed.apply(&format!("{api}/rolebindings/await-vm"), &role("RoleBinding", binding)).await;
    bed.apply_application().await;
    let ours = bed.commit(DIGEST, &disk("blank-disk"));
    let (code, log, _) = bed.wait_as(&kubeconfig, DIGEST, &ours, "60s").await.unwrap();
    assert_eq!(code, 0, "{log}");

    let mut fewer = rules.clone();
    fewer[1]["resources"] = json!(["virtualmachines"]);
    bed.apply(&format!("{api}/roles/await-vm"), &role("Role", json!({"rules": fewer}))).await;
    let (code, log, took) = bed.wait_as(&kubeconfig, DIGEST, &ours, "5m").await.unwrap();
    assert_eq!(code, 30, "{log}");
    assert_eq!(
        last(&log),
        "error: cannot read virtual machine instance `ws-rights/web01` for 1m: virtualmachineinstances.kubevirt.io \"web01\" is \
         forbidden: User \"system:serviceaccount:ws-rights:await-vm\" cannot get resource \"virtualmachineinstances\" in API group \
         \"kubevirt.io\" in the namespace \"ws-rights\""
    );
    assert!(took < Duration::from_mins(3), "{took:?}");
}
