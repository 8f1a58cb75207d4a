//! Scenarios on a stage.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time;

use super::{Scenario, Turn, Wrong};
use crate::conformance::{Recorder, Subject};
use crate::git;
use crate::stage::{ARGOCD, Stage};
use crate::standin::{Objects, applications, machines, text};

/// How long an Application of before may take to be synced.
const LEFTOVER: Duration = Duration::from_mins(2);
/// How long a cause may take to be there, on a machine as busy as may be.
const ARRIVAL: Duration = Duration::from_mins(4);

/// Where a scenario takes place.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The cluster.
    pub stage: &'a Stage,
    /// What its Argo CD applies.
    pub server: &'a git::Server,
    /// The machine's namespace.
    pub namespace: String,
    /// The machine's name.
    pub name: String,
    /// The Application that makes that of the machine.
    pub parent: String,
    /// The volume of the machine's boot disk, if it is to have one.
    pub volume: Option<String>,
}

impl Place<'_> {
    /// The name of the machine's Application.
    pub fn application(&self) -> String {
        format!("in-cluster.{}.{}", self.namespace, self.name)
    }

    fn folder(&self) -> String {
        format!("vms/in-cluster/{}/{}", self.namespace, self.name)
    }
}

impl Scenario {
    /// Do what is wrong from the beginning: to be called before the flow.
    pub async fn begin(&self, place: &Place<'_>) -> Result<()> {
        let (stage, application) = (place.stage, place.application());
        for wrong in (self.wrong)() {
            match wrong {
                Wrong::Application(fault) => stage.argocd.fail(&application, fault),
                Wrong::Parent(fault) => stage.argocd.fail(&place.parent, fault),
                Wrong::Machine(fault) => stage.kubevirt.fail(&place.namespace, &place.name, fault),
                Wrong::Disk(fault) => {
                    let volume = place.volume.as_deref().context("a scenario of a disk without a disk")?;
                    stage.cdi.fail(&place.namespace, volume, fault);
                }
                Wrong::Leftover(option) => leave(place, option).await?,
            }
        }
        Ok(())
    }

    /// Wait until the cause is there, if it is one that stays: to be called when the wait of the flow is about to begin.
    pub async fn arrive(&self, place: &Place<'_>) -> Result<()> {
        let Some((object, facet, value)) = self.shown else { return Ok(()) };
        let client = place.stage.plane().client().await?;
        let subject = Subject::new(&place.namespace, &place.name);
        let recorder = Recorder::start(client.clone(), &subject, self.name, "stand-ins");
        let parent = Subject { application: (ARGOCD.to_owned(), place.parent.clone()), ..subject.clone() };
        for asked in [parent, subject] {
            asked.refresh(client.clone()).await?;
        }
        recorder.until(object, facet, value, ARRIVAL).await
    }

    /// Do what somebody does on the way: to be called once, when a step says [`Scenario::turns_at`].
    pub async fn turn(&self, place: &Place<'_>) -> Result<()> {
        let Some((_, turn)) = self.turn else { return Ok(()) };
        let git = place.server.git();
        match turn {
            Turn::Heal => {}
            Turn::Overtake(commits) => {
                for number in 0..commits {
                    let file =
                        git::Entry::file(format!("others/{}.txt", place.namespace), format!("{number}\n"));
                    commit(place, &file)?;
                }
            }
            Turn::Replace(strategy) => {
                let path = format!("{}/virtual-machine.yaml", place.folder());
                let text = String::from_utf8(git.read("main", &path)?)?;
                let replaced = text.replace("\"Always\"", &format!("{strategy:?}"));
                commit(place, &git::Entry::file(&path, replaced))?;
            }
            Turn::Halt => {
                let halted = json!({ "spec": { "runStrategy": "Halted" } });
                let machine = machines().path(&place.namespace, &place.name);
                objects(place).await?.merge(&machine, &halted).await?;
            }
        }
        self.end(place);
        Ok(())
    }

    /// Whatever is wrong is right again.
    pub fn end(&self, place: &Place<'_>) {
        for application in [&place.application(), &place.parent] {
            place.stage.argocd.heal(application);
        }
        place.stage.kubevirt.heal(&place.namespace, &place.name);
        if let Some(volume) = &place.volume {
            place.stage.cdi.heal(&place.namespace, volume);
        }
    }
}

async fn objects(place: &Place<'_>) -> Result<Objects> {
    Ok(Objects::new(place.stage.plane().client().await?))
}

/// As somebody else, of whom there may be many: the branch may move at the same moment.
fn commit(place: &Place<'_>, file: &git::Entry) -> Result<()> {
    let git = place.server.git();
    let mut made = git.commit(std::slice::from_ref(file), "of somebody else");
    for _ in 0..20 {
        if made.is_ok() {
            break;
        }
        made = git.commit(std::slice::from_ref(file), "of somebody else");
    }
    made.map(drop)
}

/// An Application as the flow renders it, which has applied an object that Git does not hold any more.
async fn leave(place: &Place<'_>, option: &str) -> Result<()> {
    let (namespace, folder) = (&place.namespace, place.folder());
    let leftover = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "leftover", "namespace": namespace, "annotations": {"argocd.argoproj.io/sync-options": option},
        },
    });
    let file = format!("{folder}/leftover.yaml");
    commit(place, &git::Entry::file(&file, leftover.to_string()))?;
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": place.application(), "namespace": ARGOCD},
        "spec": {
            "project": "default",
            "source": {"repoURL": place.server.url(), "targetRevision": "main", "path": folder},
            "destination": {"name": "in-cluster", "namespace": namespace},
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
        },
    });
    let objects = objects(place).await?;
    objects.create(&applications(), &application).await?;
    let path = applications().path(ARGOCD, &place.application());
    let synced = async {
        loop {
            let seen = objects.get(&path).await?.context("the Application is gone")?;
            if text(&seen, "/status/sync/status") == "Synced" && seen.get("operation").is_none() {
                return Ok::<_, anyhow::Error>(());
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    time::timeout(LEFTOVER, synced).await.context("an Application of before is not synced")??;
    commit(place, &git::Entry::absent(&file))
}
