//! The objects that are looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{
    APPLICATION, Cluster, DATA_VOLUME, Error, Name, Object, Seen, Sight, VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_INSTANCE, Watched,
};
use tokio::sync::Notify;
use vm::conditions::claims;

use crate::Args;

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
}

impl Sights {
    pub(crate) fn new(args: &Args, cluster: Cluster, machine_cluster: Cluster) -> Self {
        let bell = Arc::new(Notify::new());
        let watch = |cluster: &Cluster, object: Object| Watched::new(cluster, object, Arc::clone(&bell));
        let application = |name: &Option<Name>| {
            name.as_ref().map(|name| watch(&cluster, Object { kind: APPLICATION, name: name.clone() }))
        };
        Self {
            application: application(&args.application),
            parent: application(&args.parent_application),
            vm: watch(&machine_cluster, Object { kind: VIRTUAL_MACHINE, name: args.vm.clone() }),
            vmi: watch(&machine_cluster, Object { kind: VIRTUAL_MACHINE_INSTANCE, name: args.vm.clone() }),
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
            vm,
        }
    }

    /// All objects with what is known of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Object, Sight)> {
        let disks = self.disks.values();
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
        let before = Snapshot { application, parent, vm, vmi, disks };
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

fn seen(object: Option<serde_json::Value>) -> Sight {
    Sight { seen: object.map_or(Seen::Absent, |o| Seen::Present(Arc::new(o))), trouble: None }
}
