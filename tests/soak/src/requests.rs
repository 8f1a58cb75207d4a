//! What is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use testbed::git::history::Request;

/// The namespace of every machine; its file is everybody's.
const NAMESPACE: &str = "team-a";

/// A machine with so many processors: new, or changed since the commit `base`.
pub(crate) fn machine(id: &str, name: &str, cpu: u16, base: Option<&str>) -> Request {
    machine_in(NAMESPACE, id, name, cpu, base)
}

/// The same in this namespace.
pub(crate) fn machine_in(namespace: &str, id: &str, name: &str, cpu: u16, base: Option<&str>) -> Request {
    let folder = format!("vms/in-cluster/{namespace}/{name}");
    // as `render-vm` normalises it
    let request = format!(
        "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMRequest\nmetadata:\n  requestId: {id}\n  requestedBy: jane@example.org\n\
         spec:\n  operation: provision\n  target: {{name: {name}, namespace: {namespace}, cluster: in-cluster}}\n\
         \x20 compute: {{cpu: {cpu}, memory: 1Gi}}\n  image: {{source: container-disk, reference: \"quay.io/disks/linux:1\"}}\n"
    );
    let files = [
        (format!("{folder}/request.yaml"), request),
        (format!("{folder}/virtual-machine.yaml"), format!("name: {name}\ncpu: {cpu}\n")),
    ];
    let kept = format!("namespaces/in-cluster/{namespace}/namespace.yaml");
    Request {
        id: id.to_owned(),
        base: base.map(str::to_owned),
        files: files.map(|(path, text)| (path, text.into_bytes())).into(),
        kept: BTreeMap::from([(kept, format!("name: {namespace}\n").into_bytes())]),
    }
}

/// Its files as a source for `git-push`.
pub(crate) fn lay_out(request: &Request, folder: &Path) -> Result<()> {
    for (path, bytes) in request.files.iter().chain(&request.kept) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a path without a folder")?)?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// The process that pushes what lies in `source`; where to and how long is still to be said.
pub(crate) fn git_push(binary: &Path, source: &Path, results: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .arg(format!("--source={}", source.display()))
        .arg(format!("--outcome-path={}", results.join("outcome").display()))
        .env_clear();
    command
}

/// A script of `git` as people write it, run in the folder of the request that it is called by (`$ID`), for the repository at `$URL`.
pub(crate) fn with_git(script: &str, place: &Path, url: &str, ssh: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .current_dir(place)
        .env("ID", place.file_name().unwrap_or_default())
        .env("URL", url)
        .env("HOME", place)
        .env("GIT_SSH_COMMAND", ssh)
        .envs([("GIT_AUTHOR_NAME", "jane"), ("GIT_AUTHOR_EMAIL", "jane@example.org")])
        .envs([("GIT_COMMITTER_NAME", "jane"), ("GIT_COMMITTER_EMAIL", "jane@example.org")]);
    command
}
