//! Which cluster, and as whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use step::{Failure, Kind};

/// A connection is made within this, or the request counts as not answered.
const CONNECT: Duration = Duration::from_secs(5);

/// The flag that says which cluster.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Kubeconfig with a token or a client certificate, or the folder that holds it as `kubeconfig`; without it, the pod's
    /// own ServiceAccount is used
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Where credentials and addresses come from. They are read anew when requests fail: tokens and CAs are rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A kubeconfig file, current context.
    File(PathBuf),
    /// The ServiceAccount of the pod.
    Pod,
}

impl Source {
    pub(crate) fn new(kubeconfig: Option<&Path>) -> Self {
        // a folder is what a Tekton workspace is; a path below it would be one also where no workspace is bound
        kubeconfig.map_or(Self::Pod, |path| {
            Self::File(if path.is_dir() { path.join("kubeconfig") } else { path.to_owned() })
        })
    }

    /// A client for it. No request is made.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let mut config = match self {
            Self::Pod => Config::incluster().map_err(|e| {
                Failure::new(
                    Kind::Usage,
                    format!("no cluster to speak to: no `--kubeconfig`, and not in a pod: {e}"),
                )
                .hint("give `--kubeconfig FILE`, or run in a pod whose ServiceAccount token is mounted")
            })?,
            Self::File(path) => from_file(path).await?,
        };
        config.connect_timeout = Some(CONNECT);
        // the gate of this crate decides when to ask again; kube's own would do so 15 times, up to 1000 s apart
        config.default_retry = false;
        Client::try_from(config).map_err(|e| self.unusable(&e))
    }

    fn unusable(&self, why: &dyn std::error::Error) -> Failure {
        let what = match self {
            Self::File(path) => format!("cannot use kubeconfig `{}`", path.display()),
            Self::Pod => "cannot use the pod's ServiceAccount".to_owned(),
        };
        Failure::new(Kind::Usage, format!("{what}: {why}"))
    }
}

async fn from_file(path: &Path) -> Result<Config, Failure> {
    let source = Source::File(path.to_owned());
    let kubeconfig = Kubeconfig::read_from(path).map_err(|e| source.unusable(&e))?;
    let refuse = |what: &str| {
        Failure::new(Kind::Usage, format!("cannot use kubeconfig `{}`: {what}", path.display()))
            .hint("make one with a token or a client certificate in it, such as a ServiceAccount's")
    };
    // a kubeconfig is data: one that arrives in a workspace must not start a program
    let users = kubeconfig.auth_infos.iter().filter_map(|u| u.auth_info.as_ref());
    for user in users {
        if user.exec.is_some() {
            return Err(refuse("it runs a program to log in (`exec`)"));
        }
        if user.auth_provider.is_some() {
            return Err(refuse("it logs in with an `auth-provider`"));
        }
    }
    let proxied =
        kubeconfig.clusters.iter().any(|c| c.cluster.as_ref().is_some_and(|c| c.proxy_url.is_some()));
    if proxied {
        return Err(refuse("it goes through a proxy (`proxy-url`), which is not supported"));
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|e| source.unusable(&e))?;
    // HTTPS_PROXY is set for Git hosts; the API server is reached directly, as from a pod
    config.proxy_url = None;
    Ok(config)
}
