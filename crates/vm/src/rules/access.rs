//! Public keys that a Secret holds: how they come into the guest, and for whom. KubeVirt refuses the same
//! (`vmi-create-admitter.go`, `validateAccessCredentials`), but only when the machine is applied.

use serde_json::Value;

use crate::problem::{Code, Problem};

use super::Facts;
use super::reference::SYSPREP;

/// Secrets with public keys.
pub(super) const SSH_KEY_SECRETS: &str = "/spec/access/sshKeySecrets";
/// The Secret with passwords.
pub(super) const PASSWORD_SECRET: &str = "/spec/access/passwordSecret";

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    let mut first = None;
    for (secret, _) in facts.items(SSH_KEY_SECRETS) {
        let pointer = format!("{secret}/propagationMethod");
        let method = if facts.has(&pointer) { facts.text(&pointer) } else { Some("noCloud") };
        let users = format!("{secret}/users");
        let none = facts.get(&users).and_then(Value::as_array).is_some_and(Vec::is_empty);
        let (Some(method), any) = (method, facts.has(&users) && !none) else { continue };
        if method == "qemuGuestAgent" {
            if !any && !facts.has_unknown(&secret) {
                let problem = Problem::new(users, Code::Required, "missing: whose keys they are");
                found.push(problem.hint("such as `[jane]`: the guest agent asks for each of them"));
            }
            continue;
        }
        if any {
            let message = format!("with `{method}` they are the first user's");
            let problem = Problem::new(users, Code::Exclusive, message);
            found.push(problem.hint("leave them out, or add `propagationMethod: qemuGuestAgent`"));
        }
        if facts.has(SYSPREP) {
            let problem = Problem::new(pointer, Code::Exclusive, "cloud-init does not go with `sysprep`");
            found.push(problem.hint("`qemuGuestAgent`"));
        } else if *first.get_or_insert(method) != method {
            let problem = Problem::new(pointer, Code::Exclusive, "`noCloud` beside `configDrive`");
            found.push(problem.hint("a machine has one of them: take the same for all"));
        }
    }
}
