//! From which volume snapshots a new machine's disks can be made: CDI's `source.snapshot` takes the names, and a disk has to be
//! at least as large as what it is made from.

use std::path::Path;

use cluster::{Object, VIRTUAL_MACHINE_SNAPSHOT_CONTENT, VOLUME_SNAPSHOT};
use serde_json::{Value, json};
use snapshots::{Work, text};
use step::{Done, Failure, Kind};
use vm::conditions::restore::backups;
use vm::quantity::{Quantity, bytes};

use crate::SOURCES;
use crate::table::{print, result};
use crate::wanted::{Wanted, is_of};

/// The most bytes of the result: what is longer does not fit into a pod's termination message beside the others.
const MOST: usize = 480;
/// In place of what does not fit.
const MORE: &str = ",…";

/// What one disk can be made from.
#[derive(Debug)]
struct Source {
    volume: String,
    snapshot: String,
    /// The least size of a disk that is made from it, as a request writes it; empty where the storage says none.
    size: String,
    document: Value,
}

/// Print them.
pub(crate) async fn sources(work: &Work, wanted: &Wanted, output: Option<&Path>) -> Result<Done, Failure> {
    let object = wanted.one()?;
    let missing = || Failure::new(Kind::Failed, format!("{object} does not exist"));
    let snapshot = work.read(object).await?.ok_or_else(missing)?;
    if !is_of(&snapshot, wanted.vm.name()) {
        return Err(Failure::new(Kind::Conflict, format!("{object} is of another virtual machine")));
    }
    result(work, &snapshot);
    let found = of(work, object, &snapshot).await?;
    work.context.result(SOURCES, line(&found));
    let count = found.len();
    let volumes: Vec<Value> = found.into_iter().map(|source| source.document).collect();
    let document = json!({"snapshot": object.name.name(), "vm": wanted.vm.to_string(), "volumes": volumes});
    // a value made of strings and lists cannot fail to serialise
    print(output, &(serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"))?;
    Ok(Done::new(format!("{object} has {count} volumes to make disks from")))
}

/// Tell them of a snapshot that was just taken.
pub(crate) async fn tell(work: &Work, object: &Object, snapshot: &Value) -> Result<(), Failure> {
    let found = of(work, object, snapshot).await?;
    work.context.result(SOURCES, line(&found));
    Ok(())
}

async fn of(work: &Work, object: &Object, snapshot: &Value) -> Result<Vec<Source>, Failure> {
    let unusable = |why: String| Failure::new(Kind::Failed, format!("{object} {why}"));
    if snapshot.pointer("/status/readyToUse") != Some(&Value::Bool(true)) {
        return Err(unusable("is not ready to use".to_owned()));
    }
    let named = |kind, name: &str| {
        let name = object.name.sibling(name).map_err(|why| unusable(format!("names no object: {why}")))?;
        Ok::<_, Failure>(Object { kind, name })
    };
    let content = text(snapshot, "/status/virtualMachineSnapshotContentName");
    let content = named(VIRTUAL_MACHINE_SNAPSHOT_CONTENT, content)?;
    let held = work.read(&content).await?.ok_or_else(|| unusable(format!("has lost {content}")))?;
    let mut sources = Vec::new();
    for backup in backups(&held) {
        let source = named(VOLUME_SNAPSHOT, backup.volume_snapshot)?;
        let found = work.read(&source).await?.ok_or_else(|| unusable(format!("has lost {source}")))?;
        if found.pointer("/status/readyToUse") != Some(&Value::Bool(true)) {
            return Err(unusable(format!("is not ready: {source} is not")));
        }
        // storage that says no size has 0 there (external-snapshotter v1 types.go, restoreSize)
        let said = [text(&found, "/status/restoreSize"), text(backup.spec, "/resources/requests/storage")];
        let size = said.into_iter().find_map(least).unwrap_or_default();
        sources.push(Source {
            document: json!({
                "volume": backup.volume,
                "claim": backup.claim,
                "volumeSnapshot": backup.volume_snapshot,
                "namespace": object.name.namespace(),
                "size": size,
                "storageClass": text(backup.spec, "/storageClassName"),
                "accessModes": backup.spec.get("accessModes").unwrap_or(&Value::Null),
                "volumeMode": text(backup.spec, "/volumeMode"),
            }),
            volume: backup.volume.to_owned(),
            snapshot: backup.volume_snapshot.to_owned(),
            size,
        });
    }
    Ok(sources)
}

/// An amount as requests write it, in whole MiB, no less than what the storage says; none for nothing.
fn least(said: &str) -> Option<String> {
    let mebibytes = bytes(said).filter(|bytes| *bytes > 0)?.div_ceil(1 << 20);
    format!("{mebibytes}Mi").parse::<Quantity>().ok().map(|size| size.to_string())
}

/// `root=NAME:43Gi,data=NAME:212Gi`, whole ones only.
fn line(sources: &[Source]) -> String {
    let mut line = String::new();
    for (at, Source { volume, snapshot, size, .. }) in sources.iter().enumerate() {
        let comma = if line.is_empty() { "" } else { "," };
        let colon = if size.is_empty() { "" } else { ":" };
        let one = format!("{comma}{volume}={snapshot}{colon}{size}");
        let room = if at + 1 == sources.len() { 0 } else { MORE.len() };
        if line.len() + one.len() + room > MOST {
            line.push_str(MORE.trim_start_matches(if line.is_empty() { "," } else { "" }));
            break;
        }
        line.push_str(&one);
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{MOST, Source, least, line};

    #[test]
    fn a_size_is_one_that_a_request_takes() {
        let sizes = [
            ("2276332667", Some("2171Mi")),
            ("2Gi", Some("2Gi")),
            ("1500M", Some("1431Mi")),
            ("1", Some("1Mi")),
            ("0", None),
            ("", None),
        ];
        for (said, size) in sizes {
            assert_eq!(least(said).as_deref(), size, "{said}");
        }
    }

    #[test]
    fn as_many_as_fit_are_told_whole() {
        let source = |volume: &str, size: &str| Source {
            volume: volume.to_owned(),
            snapshot: format!("vmsnapshot-5f0c3f6e-1d2b-4c7a-9a58-0b6f3d1e2c4a-volume-{volume}"),
            size: size.to_owned(),
            document: Value::Null,
        };
        assert_eq!(
            line(&[source("root", "43Gi"), source("data", "")]),
            "root=vmsnapshot-5f0c3f6e-1d2b-4c7a-9a58-0b6f3d1e2c4a-volume-root:43Gi,\
             data=vmsnapshot-5f0c3f6e-1d2b-4c7a-9a58-0b6f3d1e2c4a-volume-data"
        );
        assert_eq!(line(&[]), "");
        for disks in 7..20 {
            let names: Vec<String> = (0..disks).map(|n| format!("disk-{n}")).collect();
            let all: Vec<Source> = names.iter().map(|name| source(name, "212Gi")).collect();
            let line = line(&all);
            assert!(line.len() <= MOST, "{}", line.len());
            let (told, rest) = line.rsplit_once(',').unwrap();
            assert_eq!(rest, "…", "{disks}");
            assert!(told.split(',').zip(&names).all(|(one, name)| one.starts_with(&format!("{name}=vms"))));
            assert!(told.split(',').all(|one| one.ends_with(":212Gi")), "{line}");
        }
    }
}
