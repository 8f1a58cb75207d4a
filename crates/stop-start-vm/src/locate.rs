//! Where in the repository the machine's power is.

use std::collections::BTreeMap;

use gitops::{FilePath, Remote};
use step::{Failure, Kind};
use vm::edit::Fault;
use vm::edit::power::{self, Machine, Overlay, Power};

use crate::Args;

/// The value, and the file that has it.
pub(crate) struct Located {
    pub(crate) file: FilePath,
    pub(crate) power: Power,
}

/// Where the flags say that the power is.
pub(crate) enum Place {
    File(FilePath),
    Overlay(FilePath),
}

impl Place {
    pub(crate) fn of(args: &Args) -> Result<Self, Failure> {
        if let Some(overlay) = &args.overlay {
            return Ok(Self::Overlay(overlay.clone()));
        }
        if let Some(file) = &args.file {
            return Ok(Self::File(file.clone()));
        }
        let (vm, cluster) = (&args.change.vm, &args.cluster_name);
        let path = format!("vms/{cluster}/{}/{}/{}", vm.namespace(), vm.name(), vm::layout::MACHINE_FILE);
        path.parse().map(Self::File).map_err(|why| {
            Failure::new(Kind::Usage, format!("cannot use the value of `--cluster-name`: {why}"))
        })
    }

    /// Find the value at this commit.
    pub(crate) fn locate(
        &self,
        remote: &Remote,
        commit: &str,
        machine: Machine<'_>,
    ) -> Result<Located, Failure> {
        let source = Source { remote, commit };
        match self {
            Self::File(file) => {
                let text = source.text(file.as_str())?.ok_or_else(|| source.missing(file.as_str()))?;
                let power = power::in_base(&text, machine).map_err(|f| refused(file.as_str(), &f))?;
                Ok(Located { file: file.clone(), power })
            }
            Self::Overlay(path) => source.overlay(path, machine),
        }
    }
}

/// The files of one commit.
struct Source<'a> {
    remote: &'a Remote,
    commit: &'a str,
}

impl Source<'_> {
    fn overlay(&self, path: &FilePath, machine: Machine<'_>) -> Result<Located, Failure> {
        let (folder, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        if let Some(text) = self.text(path.as_str())? {
            if power::is_kustomization(name) {
                return self.kustomization(folder, path.as_str(), &text, machine);
            }
            let power = power::in_patch(&text, machine).map_err(|f| refused(path.as_str(), &f))?;
            let power = power.ok_or_else(|| {
                let (namespace, name) = (machine.namespace, machine.name);
                let what = format!("`{path}` does not set the power of `{namespace}/{name}`");
                Failure::new(Kind::Refused, what).hint("add `spec.runStrategy` to that patch")
            })?;
            return Ok(Located { file: path.clone(), power });
        }
        for name in power::KUSTOMIZATIONS {
            let file = format!("{path}/{name}");
            if let Some(text) = self.text(&file)? {
                return self.kustomization(path.as_str(), &file, &text, machine);
            }
        }
        Err(self.missing(path.as_str()))
    }

    fn kustomization(
        &self,
        folder: &str,
        path: &str,
        text: &str,
        machine: Machine<'_>,
    ) -> Result<Located, Failure> {
        let overlay = Overlay::read(text, machine).map_err(|f| refused(path, &f))?;
        let mut files = BTreeMap::new();
        for file in overlay.files() {
            if let Some(full) = joined(folder, file)
                && let Some(text) = self.text(&full)?
            {
                files.insert(file.to_owned(), text);
            }
        }
        let found = overlay.find(&files).map_err(|f| refused(path, &f))?;
        let file = found.file.and_then(|file| joined(folder, &file)).unwrap_or_else(|| path.to_owned());
        let file = file
            .parse()
            .map_err(|why| Failure::new(Kind::Refused, format!("cannot write to `{file}`: {why}")))?;
        Ok(Located { file, power: found.power })
    }

    fn text(&self, path: &str) -> Result<Option<String>, Failure> {
        let Some(bytes) = self.remote.read(self.commit, path)? else { return Ok(None) };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Failure::new(Kind::Refused, format!("cannot read `{path}`: it is not UTF-8")))
    }

    fn missing(&self, path: &str) -> Failure {
        let (branch, host) = (self.remote.branch(), self.remote.host());
        let what = format!("there is no `{path}` on branch `{branch}` at `{host}`");
        Failure::new(Kind::Usage, what)
            .hint("`--file` names the machine's file, `--overlay` the overlay that sets its power")
    }
}

fn refused(path: &str, fault: &Fault) -> Failure {
    let failure = Failure::new(Kind::Refused, format!("cannot change the power in `{path}`: {fault}"));
    fault.way_out().into_iter().fold(failure, Failure::hint)
}

/// The path of a file that a folder's file names; none if it leads out of the repository.
fn joined(folder: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
