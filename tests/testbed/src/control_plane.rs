//! A real control plane for tests and the demo: etcd, kube-apiserver and kube-controller-manager on this machine.
//!
//! The programs are looked for in `KUBEBUILDER_ASSETS`, in `~/.cache/vm-lifecycle-tasks/control-plane`, are built with `go` from
//! `tests/control-plane`, or are downloaded by setup-envtest, in this order. There are no nodes and no scheduler: what would run
//! in pods is played by the stand-ins beside this module. Of the controllers only garbage collection, namespaces,
//! service accounts and the protection of claims in use run. The API server asks a server of this process, on a thread of its own, for
//! what KubeVirt and CDI refuse, and passes it the requests to start, stop and restart machines; there is one class of storage.

pub(crate) mod binaries;
mod commands;
mod crds;
mod guard;
mod kubeconfig;
mod pki;

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
/// Speaks to an API server.
pub use kube::Client;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, task, time};

use self::{
    binaries::{Binaries, Search},
    guard::Guard,
    kubeconfig::Credential,
    pki::Authority,
};
use crate::{
    cdi::CLASS,
    virt_api::{self, VirtApi},
};

/// How long the API server may take to become ready on a busy machine.
const READY: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);
const DRIVER: &str = "testbed.csi.local";

/// The releases of KubeVirt that differ in what a `VirtualMachineRestore` can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// Neither `volumeRestorePolicy` nor `volumeOwnershipPolicy`.
    V1_5,
    /// `volumeRestorePolicy`, but not `volumeOwnershipPolicy`.
    V1_6,
    /// Both; whose behaviour the stand-ins play.
    #[default]
    V1_8,
}

impl Release {
    const fn absent(self) -> &'static [&'static str] {
        match self {
            Self::V1_5 => &["volumeRestorePolicy", "volumeOwnershipPolicy"],
            Self::V1_6 => &["volumeOwnershipPolicy"],
            Self::V1_8 => &[],
        }
    }
}

/// A running control plane with the project's CRDs; everything is killed when it is dropped or this process ends.
#[derive(Debug)]
pub struct ControlPlane {
    folder: PathBuf,
    authority: Secret<Authority>,
    binaries: Binaries,
    port: u16,
    programs: Mutex<Programs>,
}

/// In the order in which they have to end: etcd last, its guard removes the folder.
#[derive(Debug)]
struct Programs {
    virt_api: Option<VirtApi>,
    controller_manager: Option<Guard>,
    api_server: Option<Guard>,
    _etcd: Guard,
}

/// Something that is not shown by `Debug`.
struct Secret<T>(T);

impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl ControlPlane {
    /// The control plane that all tests of this process share, started by the first that asks. It ends with the process; after
    /// a panic its logs are kept and their folder is said on standard error. A test that stops the API server takes one of its
    /// own, see [`ControlPlane::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        static HOOK: Once = Once::new();
        let shared = SHARED.get_or_try_init(Self::start).await?;
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                previous(panic);
                shared.keep_logs();
            }));
        });
        Ok(shared)
    }

    /// Start a control plane: about 5 s; the first time on a machine some minutes more, to build it (said on standard error).
    pub async fn start() -> Result<Self> {
        Self::start_for(Release::default()).await
    }

    /// As [`ControlPlane::start`], with the API that a release of KubeVirt has.
    pub async fn start_for(release: Release) -> Result<Self> {
        let binaries = task::spawn_blocking(|| Search::from_env()?.find()).await??;
        // Between choosing a port and listening on it somebody else may take it.
        let mut last = None;
        for _ in 0..3 {
            match Self::start_with(binaries.clone(), release).await {
                Ok(started) => return Ok(started),
                Err(error) if format!("{error:#}").contains("address already in use") => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    async fn start_with(binaries: Binaries, release: Release) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testbed-").tempdir()?;
        fs::create_dir(folder.path().join("logs"))?;
        let authority = Authority::new()?;
        let server = authority.server()?;
        for (name, bytes) in [
            ("ca.crt", authority.pem()?),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("tokens.key", pki::token_key()?),
        ] {
            fs::write(folder.path().join(name), bytes)?;
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let etcd = commands::etcd(&binaries, folder.path())?;
        let etcd = Guard::start(&etcd, &log(folder.path(), "etcd"), Some(folder.path()))?;
        let folder = folder.keep();
        let programs =
            Mutex::new(Programs { virt_api: None, controller_manager: None, api_server: None, _etcd: etcd });
        let started = Self { folder, authority: Secret(authority), binaries, port, programs };
        started.write_kubeconfig("admin", &started.certificate("admin", &["system:masters"])?)?;
        let manager = started.certificate("system:kube-controller-manager", &[])?;
        started.write_kubeconfig("controller-manager", &manager)?;
        match started.bring_up(release).await {
            Ok(()) => Ok(started),
            Err(error) => {
                started.keep_logs();
                Err(error)
            }
        }
    }

    async fn bring_up(&self, release: Release) -> Result<()> {
        self.start_api_server().await?;
        let client = self.client().await?;
        crds::install(&client, release.absent()).await?;
        storage(&client).await?;
        let virt_api = VirtApi::start(&self.folder, &self.kubeconfig()).await?;
        virt_api.register(&client, &self.authority.0.pem()?).await?;
        self.programs().virt_api = Some(virt_api);
        // After the CRDs: the garbage collector looks for new kinds only every 30 s.
        if let Some(command) = commands::controller_manager(&self.binaries, &self.folder) {
            let guard = Guard::start(&command, &log(&self.folder, "kube-controller-manager"), None)?;
            self.programs().controller_manager = Some(guard);
        }
        Ok(())
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// The URL of the API server, `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The folder with one log per program.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// An administrator's client. A client belongs to the runtime that it was made in, so every test makes its own.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig()).await
    }

    /// Write the kubeconfig of a user who is in `groups`, proven by a certificate, and return its path.
    pub fn kubeconfig_for_user(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        self.write_kubeconfig(&format!("user-{}", file_name(user)), &self.certificate(user, groups)?)
    }

    /// Write the kubeconfig of a ServiceAccount with a token good for an hour, and return its path. The account, and its
    /// namespace, are made where they are missing.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        self.ensure_namespace(namespace).await?;
        let client = self.client().await?;
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } });
        apply(&client, &format!("{accounts}/{name}"), &account).await?;
        let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
        let request = http::Request::post(format!("{accounts}/{name}/token"))
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&request)?)?;
        let answer: Value = client.request(request).await?;
        let token = answer["status"]["token"].as_str().context("the answer holds no token")?;
        self.write_kubeconfig(
            &format!("account-{}-{}", file_name(namespace), file_name(name)),
            &Credential::Token(token.to_owned()),
        )
    }

    /// Make the namespace if it is not there.
    pub async fn ensure_namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        apply(&self.client().await?, &format!("/api/v1/namespaces/{name}"), &namespace).await
    }

    /// Have machines with the label `kubevirt.io/vm-delete-protection: "true"` protected from being deleted, as OpenShift
    /// Virtualization has it, in all namespaces.
    pub async fn protect_machines(&self) -> Result<()> {
        virt_api::protect(&self.client().await?).await
    }

    /// Fails where the programs came without kube-controller-manager, as setup-envtest's do: nothing collects garbage then, and
    /// namespaces stay Terminating.
    pub fn require_controller_manager(&self) -> Result<()> {
        if self.programs().controller_manager.is_some() {
            return Ok(());
        }
        bail!(
            "the control plane has no `kube-controller-manager`\n\
             hint: unset `KUBEBUILDER_ASSETS` or put it there, or install Go 1.26 or later to have it built"
        )
    }

    /// Kill the API server, as a crash does: connections break, nothing listens on its port.
    pub fn stop_api_server(&self) {
        drop(self.programs().api_server.take());
    }

    /// Start the API server, on the port that it had, and wait until it is ready. Where it runs already it is killed first.
    pub async fn start_api_server(&self) -> Result<()> {
        self.stop_api_server();
        let guard = Guard::start(
            &commands::api_server(&self.binaries, &self.folder, self.port)?,
            &log(&self.folder, "kube-apiserver"),
            None,
        )?;
        self.programs().api_server = Some(guard);
        let client = self.client().await?;
        let start = Instant::now();
        loop {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            let last = match time::timeout(Duration::from_secs(5), client.request_text(request)).await {
                Ok(Ok(text)) if text == "ok" => return Ok(()),
                Ok(Ok(text)) => text,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in 5 s".to_owned(),
            };
            let ended = self.programs().api_server.as_mut().and_then(Guard::ended);
            let log = log(&self.folder, "kube-apiserver");
            if let Some(status) = ended {
                bail!("kube-apiserver ended, {status}\n{}", binaries::last_lines(&log, 10));
            }
            if start.elapsed() > READY {
                bail!(
                    "kube-apiserver not ready after {} s, {last}\n{}",
                    READY.as_secs(),
                    binaries::last_lines(&log, 10)
                );
            }
            time::sleep(POLL).await;
        }
    }

    /// Do not remove the folder with the logs at the end, and say where it is.
    pub fn keep_logs(&self) {
        let keep = self.folder.join("keep");
        if keep.exists() {
            return;
        }
        // It is a help for the reader of a failure, and must not become one.
        let _ = fs::write(keep, "");
        let _ = writeln!(
            std::io::stderr(),
            "testbed: logs of the control plane are in {}",
            self.logs().display()
        );
    }

    fn programs(&self) -> MutexGuard<'_, Programs> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn certificate(&self, user: &str, groups: &[&str]) -> Result<Credential> {
        Ok(Credential::Certificate(self.authority.0.client(user, groups)?))
    }

    fn write_kubeconfig(&self, name: &str, credential: &Credential) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, &self.url(), &self.authority.0.pem()?, credential)?;
        Ok(path)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
    }
}

/// The class of claims that name none: they may grow, and snapshots can be taken of them.
async fn storage(client: &Client) -> Result<()> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": CLASS, "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": DRIVER, "allowVolumeExpansion": true, "volumeBindingMode": "Immediate",
    });
    apply(client, &format!("/apis/storage.k8s.io/v1/storageclasses/{CLASS}"), &class).await?;
    let snapshots = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": { "name": CLASS },
        "driver": DRIVER, "deletionPolicy": "Delete",
    });
    apply(client, &format!("/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses/{CLASS}"), &snapshots)
        .await
}

/// A client of whoever `kubeconfig` is for.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Apply `object` server-side at `path`.
pub(crate) async fn apply(client: &Client, path: &str, object: &Value) -> Result<()> {
    apply_bytes(client, path, serde_json::to_vec(object)?).await.map(drop)
}

async fn apply_bytes(client: &Client, path: &str, document: Vec<u8>) -> Result<Value> {
    let request = http::Request::patch(format!("{path}?fieldManager=testbed&force=true"))
        .header("content-type", "application/apply-patch+yaml")
        .body(document)?;
    client.request(request).await.with_context(|| format!("cannot apply `{path}`"))
}

fn log(folder: &Path, program: &str) -> PathBuf {
    folder.join("logs").join(format!("{program}.log"))
}

/// A user's name may hold `:` and `/`.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
