//! What of the machine's access the cluster keeps: `accessCredentials`.

use serde_json::{Value, json};
use vm::request::{Propagation, Request, SshKeySecret};

use crate::files::{Refused, refused};

/// How cloud-init gets keys of Secrets at the first boot, if it gets any.
pub(crate) fn at_boot(request: &Request) -> Result<Option<Propagation>, Refused> {
    let by_agent = |secret: &&SshKeySecret| secret.propagation_method == Propagation::QemuGuestAgent;
    let mut methods = request.spec.access.ssh_key_secrets.iter().filter(|secret| !by_agent(secret));
    let Some(first) = methods.next().map(|secret| secret.propagation_method) else { return Ok(None) };
    if methods.all(|secret| secret.propagation_method == first) {
        Ok(Some(first))
    } else {
        Err(refused("`/spec/access/sshKeySecrets` holds both `noCloud` and `configDrive`"))
    }
}

/// What the template may place: KubeVirt wants users with the guest agent, and takes them with nothing else.
pub(crate) fn ssh_keys(request: &Request) -> Result<Vec<Value>, Refused> {
    let context = |secret: &SshKeySecret| {
        let method = secret.propagation_method;
        if (method == Propagation::QemuGuestAgent) == secret.users.is_empty() {
            let why =
                format!("the keys of Secret `{}` have a `propagationMethod` of another use", secret.name);
            return Err(refused(why));
        }
        let drive = method == Propagation::ConfigDrive;
        Ok(json!({ "secret": secret.name, "users": secret.users, "config_drive": drive }))
    };
    request.spec.access.ssh_key_secrets.iter().map(context).collect()
}
