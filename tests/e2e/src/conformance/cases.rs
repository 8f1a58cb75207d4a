//! What both sides are asked, and what is waited for.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testbed::cdi::Fault;
use testbed::conformance::{Recorder, Recording, Subject};
use testbed::git::Entry;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::sides::Side;
use crate::setup::{BLANK, World};

/// A real cluster imports and boots within this.
const LIMIT: Duration = Duration::from_mins(5);
/// Nothing has changed for so long: it has come to rest.
const QUIET: Duration = Duration::from_secs(4);
/// What never rests, such as an importer that is started again and again, is recorded as far as that.
const RESTLESS: Duration = Duration::from_secs(20);

/// The file of the facts.
const FACTS: &str = "facts.json";

/// What requests name, and clusters differ in. Kept beside the recordings.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) run: String,
    pub(super) namespace: String,
    disk_url: String,
    /// A storage class that makes volumes for their first consumer.
    first_consumer: Option<String>,
    /// Whether CDI leaves such volumes to their first consumer, and does not consume them by its own importer (its feature gate
    /// `HonorWaitForFirstConsumer`).
    consumer_is_waited_for: bool,
}

impl Facts {
    pub(super) fn of(world: &World) -> Result<Self> {
        Ok(Self {
            run: world.run.clone(),
            namespace: world.machines.clone(),
            disk_url: world.disk_url.clone(),
            first_consumer: world.first_consumer()?,
            consumer_is_waited_for: world.consumer_is_waited_for()?,
        })
    }

    /// As [`Facts::write`] left them.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(FACTS);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join(FACTS);
        fs::write(&file, serde_json::to_string_pretty(self)?).with_context(|| file.display().to_string())
    }

    /// Where the disk image lies.
    pub(super) fn url_prefix(&self) -> &str {
        self.disk_url.trim_end_matches("disk.img")
    }
}

/// One scenario.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What differs from a machine from a container disk; an error says what the cluster lacks.
    spec: fn(&mut Value, &Facts) -> Result<()>,
    /// What the stand-in for CDI does about the boot disk, where the request alone does not make it.
    disk: fn(&Facts) -> Option<Fault>,
    /// The object's facet that has this value when it was shown.
    until: (&'static str, &'static str, &'static str),
    /// What somebody commits to the machine's folder then, and what that leads to.
    act: Option<Act>,
}

struct Act {
    /// Another text for the file of this name.
    file: &'static str,
    edit: fn(&str) -> String,
    until: (&'static str, &'static str, &'static str),
}

const READY: (&str, &str, &str) = ("VirtualMachine", "Ready", "True");

impl Case {
    const fn new(name: &'static str, until: (&'static str, &'static str, &'static str)) -> Self {
        Self { name, spec: |_, _| Ok(()), disk: |_| None, until, act: None }
    }
}

/// What a real cluster can show.
pub(super) const CASES: [Case; 12] = [
    Case::new("start", READY),
    Case {
        spec: |spec, _| {
            spec["power"] = "off".into();
            Ok(())
        },
        ..Case::new("stopped-at-birth", ("Application", "health", "Healthy"))
    },
    Case {
        spec: |spec, _| {
            spec["image"]["reference"] = "registry.local/missing:1".into();
            Ok(())
        },
        ..Case::new("image-missing", ("VirtualMachine", "printableStatus", "ImagePullBackOff"))
    },
    Case {
        spec: |spec, _| {
            spec["compute"]["memory"] = "900Gi".into();
            Ok(())
        },
        ..Case::new("unschedulable", ("VirtualMachine", "printableStatus", "ErrorUnschedulable"))
    },
    Case {
        spec: |spec, _| {
            spec["image"] = json!({"source": "pvc", "claim": "absent"});
            Ok(())
        },
        ..Case::new("claim-missing", ("VirtualMachine", "printableStatus", "ErrorPvcNotFound"))
    },
    Case { spec: |spec, facts| http(spec, &facts.disk_url), ..Case::new("http-import", READY) },
    Case {
        spec: |spec, facts| http(spec, &facts.disk_url.replace("disk.img", "absent.img")),
        disk: |_| Some(Fault::Import("Error", "Unable to connect to http data source".to_owned())),
        ..Case::new("import-fails", ("DataVolume root", "Running", "False Error"))
    },
    Case { spec: first_consumer, disk: for_consumer, ..Case::new("first-consumer", READY) },
    Case {
        spec: |spec, facts| {
            spec["power"] = "off".into();
            first_consumer(spec, facts)
        },
        disk: for_consumer,
        ..Case::new("stopped-first-consumer", ("Application", "sync", "Synced"))
    },
    Case {
        act: Some(Act {
            file: "kustomization.yaml",
            edit: |text| format!("{text}  - absent.yaml\n"),
            until: ("Application", "conditions", "ComparisonError"),
        }),
        ..Case::new("manifest-error", READY)
    },
    Case {
        act: Some(Act {
            file: "virtual-machine.yaml",
            edit: |text| text.replace("terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds: 6"),
            until: ("VirtualMachine", "RestartRequired", "True"),
        }),
        ..Case::new("restart-required", READY)
    },
    Case {
        act: Some(Act {
            file: "virtual-machine.yaml",
            edit: |text| text.replace("\"Always\"", "\"Halted\""),
            until: ("VirtualMachineInstance", "exists", "no"),
        }),
        ..Case::new("stop", READY)
    },
];

#[expect(clippy::unnecessary_wraps, reason = "as every request of a case")]
fn http(spec: &mut Value, url: &str) -> Result<()> {
    spec["image"] = json!({"source": "http", "url": url});
    spec["disks"] = json!([{"name": "root", "role": "root", "size": "64Mi"}]);
    Ok(())
}

fn for_consumer(facts: &Facts) -> Option<Fault> {
    let phases = Fault::Through(&["PendingPopulation", "ImportScheduled", "ImportInProgress"]);
    facts.consumer_is_waited_for.then_some(phases)
}

fn first_consumer(spec: &mut Value, facts: &Facts) -> Result<()> {
    let class = facts.first_consumer.as_ref();
    let class = class.context("the cluster has no StorageClass that waits for the first consumer")?;
    http(spec, &facts.disk_url)?;
    spec["disks"][0]["storageClass"] = class.as_str().into();
    Ok(())
}

impl Case {
    /// The machine's name: as many as there are cases, in one namespace, and none the beginning of another.
    fn machine(&self) -> String {
        format!("c-{}", self.name)
    }

    fn request(&self, facts: &Facts) -> Result<Value> {
        let mut request = json!({
            "apiVersion": "vmlifecycle.dev/v1alpha1",
            "kind": "VMRequest",
            "metadata": {"requestId": format!("{}-c-{}", facts.run, self.name), "requestedBy": "e2e"},
            "spec": {
                "operation": "provision",
                "target": {"name": self.machine(), "namespace": facts.namespace},
                "compute": {"cpu": 1, "memory": "128Mi", "preference": facts.namespace},
                "image": {"source": "container-disk", "reference": BLANK},
                "lifecycle": {"gracePeriodSeconds": 5},
            },
        });
        (self.spec)(&mut request["spec"], facts)?;
        Ok(request)
    }

    /// Show it on one side; the words say why it was not shown.
    pub(super) fn on(&self, side: &impl Side, facts: &Facts) -> Result<Recording, String> {
        println!("e2e: {} on {}", self.name, side.name());
        let recorded = block_in_place(|| self.record(side, facts));
        if let Err(error) = &recorded {
            println!("e2e: {} on {}: {error:#}", self.name, side.name());
        }
        recorded.map_err(|error| format!("{error:#}"))
    }

    fn record(&self, side: &impl Side, facts: &Facts) -> Result<Recording> {
        let request = self.request(facts)?;
        let runtime = Handle::current();
        let subject = Subject::new(&facts.namespace, &self.machine());
        // in the runtime's context, where its watches go on
        let recorder = {
            let _context = runtime.enter();
            Recorder::start(side.client(), &subject, self.name, &side.name())
        };
        side.provision(&self.machine(), &request, (self.disk)(facts), &|| {
            let wait = async |(object, facet, value): (&str, &str, &str)| {
                recorder.until(object, facet, value, LIMIT).await?;
                recorder.settle(QUIET, RESTLESS).await;
                Ok::<_, anyhow::Error>(())
            };
            runtime.block_on(wait(self.until))?;
            let Some(act) = &self.act else { return Ok(()) };
            let path = format!("vms/in-cluster/{}/{}/{}", facts.namespace, self.machine(), act.file);
            let text = String::from_utf8(side.git().read("main", &path)?)?;
            let edited = (act.edit)(&text);
            anyhow::ensure!(edited != text, "nothing to edit in {path}");
            side.git().commit(&[Entry::file(&path, edited)], "of somebody else")?;
            runtime.block_on(subject.refresh(side.client()))?;
            runtime.block_on(wait(act.until))
        })?;
        Ok(recorder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::CASES;

    /// A disk is found by the name of its machine and a dash.
    #[test]
    fn no_machine_is_called_as_anothers_disk() {
        for case in &CASES {
            let disk = format!("{}-", case.name);
            let other = CASES.iter().find(|other| other.name.starts_with(&disk));
            assert!(other.is_none(), "{disk}");
        }
    }
}
