//! Operations on machines that are there: what each phase makes of their files.

mod golden;
mod kept;
mod order;
mod points;

use std::collections::BTreeMap;

use render_vm::{Change, Rendered, Site, Templates, phase, render, render_phase};
use serde_json::{Value, json};
use step::{Failure, Kind};
use vm::definition::Definition;
use vm::operation::Phase;
use vm::request::{Accepted, Target};

use crate::{all_requests, site};

/// The files of a repository with one machine in it.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) target: Target,
}

impl Repository {
    /// A machine of the examples, as it is provisioned.
    pub(crate) fn example(name: &str) -> Self {
        Self::provisioned(&format!("examples/{name}"))
    }

    pub(crate) fn provisioned(name: &str) -> Self {
        let (_, request) = all_requests().into_iter().find(|(found, _)| found == name).unwrap();
        let files = render(&Templates::new().unwrap(), &request, &site()).unwrap();
        let files = files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
        Self { files, target: request.spec.target }
    }

    pub(crate) fn definition(&self) -> Definition {
        Definition::read(&self.files, &self.target).unwrap()
    }

    /// A file of the machine.
    pub(crate) fn text(&self, name: &str) -> &str {
        let path = format!("{}/{name}", self.target.path());
        str::from_utf8(self.files.get(&path).unwrap_or_else(|| panic!("{path}"))).unwrap()
    }

    pub(crate) fn set(&mut self, name: &str, text: &str) {
        self.files.insert(format!("{}/{name}", self.target.path()), text.as_bytes().to_vec());
    }

    /// The names of the machine's files.
    pub(crate) fn names(&self) -> Vec<&str> {
        let folder = format!("{}/", self.target.path());
        self.files.keys().filter_map(|path| path.strip_prefix(&folder)).collect()
    }

    /// A request about the machine.
    pub(crate) fn request(&self, id: &str, operation: &str, spec: &Value) -> vm::day_two::Request {
        let value = json!({
            "apiVersion": "vmlifecycle.dev/v1alpha1",
            "kind": "VMRequest",
            "metadata": {"requestId": id, "requestedBy": "jane@corp.example"},
            "spec": {"operation": operation, "target": self.target, "operationSpec": spec},
        });
        let Accepted::DayTwo(request) = Accepted::parse(&value.to_string()).unwrap() else {
            panic!("{value}")
        };
        request
    }

    /// What a phase is rendered to; nothing is changed.
    pub(crate) fn render(
        &self,
        request: &vm::day_two::Request,
        word: &str,
        site: &Site,
    ) -> Result<Rendered, Failure> {
        let phase = phase(&request.spec.operation, Some(word.parse().unwrap()))?;
        render_phase(&Templates::new().unwrap(), &self.definition(), request, phase, site)
    }

    /// Carry out a phase.
    #[track_caller]
    pub(crate) fn run(&mut self, id: &str, operation: &str, spec: &Value, phase: &str) -> Change {
        let request = self.request(id, operation, spec);
        match self.render(&request, phase, &site()).unwrap_or_else(|error| panic!("{phase}: {error}")) {
            Rendered::Change(change) => {
                self.apply(&change);
                change
            }
            Rendered::Already(change) => panic!("done already: {change:?}"),
        }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        for path in &change.remove {
            assert!(self.files.remove(path).is_some(), "{path} is not there");
        }
        self.files.extend(change.files.clone());
        assert!(self.files.contains_key(&change.marker), "{}", change.marker);
    }

    /// Why a phase is refused.
    #[track_caller]
    pub(crate) fn refused(&self, id: &str, operation: &str, spec: &Value, phase: &str) -> (Kind, String) {
        let failure = self.render(&self.request(id, operation, spec), phase, &site()).unwrap_err();
        (failure.kind(), failure.message().to_owned())
    }

    /// That a phase is done, and by which file.
    #[track_caller]
    pub(crate) fn already(&self, id: &str, operation: &str, spec: &Value, phase: &str) -> Change {
        match self.render(&self.request(id, operation, spec), phase, &site()) {
            Ok(Rendered::Already(change)) => change,
            other => panic!("{phase}: {other:?}"),
        }
    }
}

/// Every operation with its phases, on a machine with a boot disk and a data disk, in an order that can be carried out: each
/// with its request id, its word, its part of the request and its phase.
pub(crate) fn life() -> Vec<(&'static str, &'static str, Value, Phase)> {
    use Phase::{Cleanup, Power, Remove, Repave, Resize, Rollback, Start, Stop, Undelete};
    let none = json!({});
    let image = json!({"image": {"source": "registry", "reference": "quay.io/disks/fedora:43"}});
    let resize = json!({
        "compute": {"instanceType": "u1.large"},
        "disks": [{"name": "data", "size": "400Gi"}, {"name": "root", "size": "50Gi"}],
        "allowRestart": true,
    });
    vec![
        ("R01", "stop", json!({"forceAfterSeconds": 30}), Power),
        ("R02", "start", none.clone(), Power),
        ("R03", "restart", none.clone(), Power),
        ("R04", "restore", json!({"snapshot": "pay-db-01-0123456789"}), Stop),
        ("R04", "restore", json!({"snapshot": "pay-db-01-0123456789"}), Start),
        ("R05", "patch", json!({"profile": "dnf-update"}), Stop),
        ("R05", "patch", json!({"profile": "dnf-update"}), Start),
        ("R06", "resize", resize, Resize),
        ("R07", "repave", none.clone(), Repave),
        ("R07", "repave", none.clone(), Rollback),
        ("R08", "repave", image.clone(), Repave),
        ("R08", "repave", image, Cleanup),
        ("R09", "deprovision", none.clone(), Stop),
        ("R09", "deprovision", none.clone(), Remove),
        ("R10", "undelete", none.clone(), Undelete),
        ("R11", "start", none, Power),
        ("R12", "deprovision", json!({"disks": "delete"}), Stop),
        ("R12", "deprovision", json!({"disks": "delete"}), Remove),
        ("R13", "undelete", json!({"requestId": "REQ0012346"}), Undelete),
    ]
}
