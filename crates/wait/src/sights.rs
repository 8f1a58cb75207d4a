//! The objects that are looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{
    APPLICATION, Cluster, DATA_VOLUME, Error, Name, Object, PERSISTENT_VOLUME_CLAIM, Seen, Sight,
    VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE, Watched,
};
use serde_json::Value;
use tokio::sync::Notify;
use vm::conditions::claims;

use crate::Wanted;

/// All objects, followed.
#[derive(Debug)]
pub(crate) struct Sights {
    cluster: Cluster,
    machine_cluster: Cluster,
    application: Option<Watched>,
    parent: Option<Watched>,
    vm: Watched,
    vmi: Watched,
    disks: BTreeMap<String, Watched>,
    /// The claims that are to stay or to go, each with the data volume of its name.
    claims: BTreeMap<String, [Watched; 2]>,
    bell: Arc<Notify>,
}

/// All objects as last read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// The Application, where one was named.
    pub(crate) application: Option<Sight>,
    /// Its parent, where one was named.
    pub(crate) parent: Option<Sight>,
    pub(crate) vm: Sight,
    pub(crate) vmi: Sight,
    /// The data volumes of the machine's claims.
    pub(crate) disks: BTreeMap<String, Sight>,
    /// The claims that are to stay or to go, each with the data volume of its name.
    pub(crate) claims: BTreeMap<String, [Sight; 2]>,
}

impl Sights {
    pub(crate) fn new(wanted: &Wanted, cluster: Cluster, machine_cluster: Cluster) -> Self {
        let bell = Arc::new(Notify::new());
        let watch = |cluster: &Cluster, object: Object| Watched::new(cluster, object, Arc::clone(&bell));
        let application = |name: &Option<Name>| {
            name.as_ref().map(|name| watch(&cluster, Object { kind: APPLICATION, name: name.clone() }))
        };
        let claims = wanted.keep_claims.iter().chain(&wanted.gone_claims).filter_map(|claim| {
            let name = wanted.vm.sibling(claim).ok()?;
            let kinds = [PERSISTENT_VOLUME_CLAIM, DATA_VOLUME];
            let both = kinds.map(|kind| watch(&machine_cluster, Object { kind, name: name.clone() }));
            Some((claim.clone(), both))
        });
        Self {
            claims: claims.collect(),
            application: application(&wanted.application),
            parent: application(&wanted.parent_application),
            vm: watch(&machine_cluster, Object { kind: VIRTUAL_MACHINE, name: wanted.vm.clone() }),
            vmi: watch(&machine_cluster, Object { kind: VIRTUAL_MACHINE_INSTANCE, name: wanted.vm.clone() }),
            disks: BTreeMap::new(),
            bell: Arc::clone(&bell),
            cluster,
            machine_cluster,
        }
    }

    /// Resolves at the next change.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// The cluster of the Application.
    pub(crate) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The cluster of the machine.
    pub(crate) const fn machine_cluster(&self) -> &Cluster {
        &self.machine_cluster
    }

    /// The machine, if it is there.
    pub(crate) fn vm(&self) -> Option<Arc<Value>> {
        present(self.vm.sight())
    }

    /// Its instance, if it is there.
    pub(crate) fn vmi(&self) -> Option<Arc<Value>> {
        present(self.vmi.sight())
    }

    /// What is known now. The disks that the machine names are followed from here on.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let vm = self.vm.sight();
        let names: Vec<&str> = vm.object().map(claims).unwrap_or_default();
        self.disks.retain(|name, _| names.contains(&name.as_str()));
        for object in names
            .iter()
            .filter(|n| !self.disks.contains_key(**n))
            .filter_map(|n| self.disk(n))
            .collect::<Vec<_>>()
        {
            let name = object.name.name().to_owned();
            self.disks.insert(name, Watched::new(&self.machine_cluster, object, Arc::clone(&self.bell)));
        }
        Snapshot {
            application: self.application.as_ref().map(Watched::sight),
            parent: self.parent.as_ref().map(Watched::sight),
            vmi: self.vmi.sight(),
            disks: self.disks.iter().map(|(name, disk)| (name.clone(), disk.sight())).collect(),
            claims: self
                .claims
                .iter()
                .map(|(name, both)| (name.clone(), both.each_ref().map(Watched::sight)))
                .collect(),
            vm,
        }
    }

    /// All objects with what is known of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Object, Sight)> {
        let disks = self.disks.values().chain(self.claims.values().flatten());
        let all = self.application.iter().chain(&self.parent).chain([&self.vm, &self.vmi]).chain(disks);
        all.map(|watched| (watched.object(), watched.sight()))
    }

    /// Everything read again, one after the other, the Application before the machine and after it: what was live
    /// before the machine was read is what it was read with, and no sync had begun when it had been.
    pub(crate) async fn read_again(&self) -> Result<[Snapshot; 2], Error> {
        let parent = self.parent.as_ref().map(Watched::sight);
        let application = read(&self.cluster, self.application.as_ref().map(Watched::object)).await?;
        let vm = seen(self.machine_cluster.get(self.vm.object()).await?);
        let vmi = seen(self.machine_cluster.get(self.vmi.object()).await?);
        let mut disks = BTreeMap::new();
        for object in vm.object().map(claims).unwrap_or_default().into_iter().filter_map(|n| self.disk(n)) {
            let name = object.name.name().to_owned();
            let sight = match self.disks.get(&name).map(Watched::sight) {
                Some(sight) if sight.seen == Seen::NotServed => sight,
                _ => seen(self.machine_cluster.get(&object).await?),
            };
            disks.insert(name, sight);
        }
        let mut claims = BTreeMap::new();
        for (name, both) in &self.claims {
            let mut sights = both.each_ref().map(Watched::sight);
            for (watched, sight) in both.iter().zip(&mut sights) {
                if sight.seen != Seen::NotServed {
                    *sight = seen(self.machine_cluster.get(watched.object()).await?);
                }
            }
            claims.insert(name.clone(), sights);
        }
        let before = Snapshot { application, parent, vm, vmi, disks, claims };
        let application = read(&self.cluster, self.application.as_ref().map(Watched::object)).await?;
        Ok([before.clone(), Snapshot { application, ..before }])
    }

    /// The last warning that the machine's own cluster has about the machine, if it may be read.
    pub(crate) async fn last_warning(&self) -> Option<String> {
        self.machine_cluster.last_warning(&self.vm.object().name).await
    }

    /// None for a claim whose name no object can have.
    fn disk(&self, claim: &str) -> Option<Object> {
        let name = self.vm.object().name.sibling(claim).ok()?;
        Some(Object { kind: DATA_VOLUME, name })
    }
}

async fn read(cluster: &Cluster, object: Option<&Object>) -> Result<Option<Sight>, Error> {
    match object {
        Some(object) => Ok(Some(seen(cluster.get(object).await?))),
        None => Ok(None),
    }
}

fn present(sight: Sight) -> Option<Arc<Value>> {
    match sight.seen {
        Seen::Present(object) => Some(object),
        _ => None,
    }
}

fn seen(object: Option<Value>) -> Sight {
    Sight { seen: object.map_or(Seen::Absent, |o| Seen::Present(Arc::new(o))), trouble: None }
}
