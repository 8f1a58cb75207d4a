//! What is waited for, and where it is looked for.

use cluster::{Cluster, Hold, Name};
use gitops::RemoteArgs;
use step::{Failure, Kind};
use vm::conditions::Until;

use crate::args::{ChangeArgs, RequireArgs};

/// What is waited for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Argo CD's Application of the machine; without one the machine itself is the only witness.
    pub application: Option<Name>,
    /// The Application that makes it.
    pub parent_application: Option<Name>,
    /// Full id of the commit to be live.
    pub commit: Option<String>,
    /// Digest of the request that the machine has to carry.
    pub digest: Option<String>,
    /// The machine's folder in Git.
    pub path: Option<String>,
    /// The machine.
    pub vm: Name,
    /// The state to reach.
    pub until: Until,
    /// Ready only with a guest agent that answers.
    pub require_guest_agent: bool,
    /// Ready only with an IP address.
    pub require_ip: bool,
    /// Ready only when this TCP port accepts a connection.
    pub require_tcp_port: Option<u16>,
    /// Ready only as another instance than the one with this uid: a machine that was restarted.
    pub not_instance: Option<String>,
    /// Absent only with these claims, in the machine's namespace, still there.
    pub keep_claims: Vec<String>,
    /// Absent only with these claims, in the machine's namespace, gone, and the data volumes of their names.
    pub gone_claims: Vec<String>,
}

/// Where it is looked for, and with which rights.
#[derive(Debug, Clone)]
pub struct Connections {
    /// The cluster of the Application.
    pub cluster: Cluster,
    /// The machine's own cluster, which may be the same.
    pub machine: Cluster,
    /// The repository to ask whether a later commit holds ours; none is asked if none is named.
    pub git: Option<RemoteArgs>,
    /// The machine's Lease, if we hold it: the wait ends as soon as it is lost.
    pub hold: Option<Hold>,
}

impl Wanted {
    /// What these flags say.
    pub fn new(change: ChangeArgs, until: Until, require: &RequireArgs) -> Self {
        let ChangeArgs { application, parent_application, commit, digest, path, vm } = change;
        Self {
            application,
            parent_application,
            commit,
            digest,
            path,
            vm,
            until,
            require_guest_agent: require.require_guest_agent,
            require_ip: require.require_ip,
            require_tcp_port: require.require_tcp_port,
            not_instance: None,
            keep_claims: Vec::new(),
            gone_claims: Vec::new(),
        }
    }

    /// Without a witness that a change is live, an old state would pass for the new one: [`Kind::Usage`]. For waits that
    /// follow a change in Git.
    pub fn witnessed(&self) -> Result<(), Failure> {
        let fault = match self.until {
            Until::Absent => return Ok(()),
            _ if self.application.is_none() && self.digest.is_none() => {
                "neither `--application` nor `--digest` is given"
            }
            _ if self.application.is_some() && self.commit.is_none() && self.digest.is_none() => {
                "`--application` is given without `--commit` or `--digest`"
            }
            _ => return Ok(()),
        };
        Err(Failure::new(Kind::Usage, format!("cannot tell the new state from the old: {fault}"))
            .hint("give `--application` with the `commit` result of git-push"))
    }
}
