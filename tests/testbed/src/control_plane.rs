//! A real control plane for tests and the demo: etcd, kube-apiserver and kube-controller-manager on this machine.
//!
//! The programs are looked for in `KUBEBUILDER_ASSETS`, in `~/.cache/vm-lifecycle-tasks/control-plane`, are built with `go` from
//! `tests/control-plane`, or are downloaded by setup-envtest, in this order. There are no nodes and no scheduler: what would run
//! in pods is played by the stand-ins beside this module. Of the controllers only garbage collection, namespaces,
//! service accounts and the protection of claims in use run.

mod binaries;
mod crds;
mod guard;
mod kubeconfig;
mod pki;

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use kube::{
    Client, Config,
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

/// The controllers of kube-controller-manager that run: those that tests of this project can tell from their absence.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
                           root-ca-certificate-publisher-controller,persistentvolumeclaim-protection-controller";
/// How long the API server may take to become ready on a busy machine.
const READY: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

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
        let binaries = task::spawn_blocking(|| Search::from_env()?.find()).await??;
        // Between choosing a port and listening on it somebody else may take it.
        let mut last = None;
        for _ in 0..3 {
            match Self::start_with(binaries.clone()).await {
                Ok(started) => return Ok(started),
                Err(error) if format!("{error:#}").contains("address already in use") => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    async fn start_with(binaries: Binaries) -> Result<Self> {
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
        let etcd =
            Guard::start(&etcd(&binaries, folder.path())?, &log(folder.path(), "etcd"), Some(folder.path()))?;
        let folder = folder.keep();
        let programs = Mutex::new(Programs { controller_manager: None, api_server: None, _etcd: etcd });
        let started = Self { folder, authority: Secret(authority), binaries, port, programs };
        started.write_kubeconfig("admin", &started.certificate("admin", &["system:masters"])?)?;
        let manager = started.certificate("system:kube-controller-manager", &[])?;
        started.write_kubeconfig("controller-manager", &manager)?;
        match started.bring_up().await {
            Ok(()) => Ok(started),
            Err(error) => {
                started.keep_logs();
                Err(error)
            }
        }
    }

    async fn bring_up(&self) -> Result<()> {
        self.start_api_server().await?;
        crds::install(&self.client().await?).await?;
        // After the CRDs: the garbage collector looks for new kinds only every 30 s.
        if let Some(command) = self.controller_manager() {
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
        let guard = Guard::start(&self.api_server()?, &log(&self.folder, "kube-apiserver"), None)?;
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

    fn api_server(&self) -> Result<Command> {
        let mut command = self.binaries.command("kube-apiserver").context("no `kube-apiserver`")?;
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.folder.join(name).display());
        command.args([
            format!("--etcd-servers=unix://{}", self.folder.join("etcd.sock").display()),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            file("cert-dir", "certificates"),
            file("tls-cert-file", "server.crt"),
            file("tls-private-key-file", "server.key"),
            file("client-ca-file", "ca.crt"),
            file("service-account-key-file", "tokens.key"),
            file("service-account-signing-key-file", "tokens.key"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--allow-privileged=true".to_owned(),
        ]);
        Ok(command)
    }

    fn controller_manager(&self) -> Option<Command> {
        let mut command = self.binaries.command("kube-controller-manager")?;
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.folder.join(name).display());
        command.args([
            file("kubeconfig", "controller-manager.kubeconfig"),
            file("service-account-private-key-file", "tokens.key"),
            file("root-ca-file", "ca.crt"),
            format!("--controllers={CONTROLLERS}"),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]);
        Some(command)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
    }
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

fn etcd(binaries: &Binaries, folder: &Path) -> Result<Command> {
    let mut command = binaries.command("etcd").context("no `etcd`")?;
    command.args([
        format!("--data-dir={}", folder.join("etcd").display()),
        // A socket in our own folder: nobody else reaches it, and no port is taken.
        format!("--listen-client-urls=unix://{}", folder.join("etcd.sock").display()),
        // Nobody asks for it, but it has to look like an address.
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]);
    Ok(command)
}

fn log(folder: &Path, program: &str) -> PathBuf {
    folder.join("logs").join(format!("{program}.log"))
}

/// A user's name may hold `:` and `/`.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
