//! What KubeVirt 1.8, CDI 1.65 and Argo CD 3.5 do about snapshots and restores, one step each tick, as their sources have it and as
//! a cluster was seen to do.

use serde_json::{Value, json};

use crate::bed::server::{Store, now};
use crate::bed::world::{
    APPLICATION, CLAIMS, CONTENTS, DATA_VOLUMES, MARK, RESTORES, SNAPSHOTS, VM, VMI, VOLUME_SNAPSHOTS, Ways,
    claim, time,
};

const STAMP: &str = "restore.kubevirt.io/lastRestoreUID";

/// One step of each controller.
pub(crate) fn tick(store: &mut Store, ways: &mut Ways) {
    if store.frozen {
        return;
    }
    for (path, snapshot) in store.all(SNAPSHOTS) {
        snapshot_step(store, ways, &path, &snapshot);
    }
    for (path, restore) in store.all(RESTORES) {
        restore_step(store, ways, &path, &restore);
    }
    data_volumes(store);
    argo_cd(store, ways);
}

#[expect(clippy::too_many_lines, reason = "the states of one controller, in their order")]
fn snapshot_step(store: &mut Store, ways: &Ways, path: &str, snapshot: &Value) {
    let name = snapshot["metadata"]["name"].as_str().unwrap().to_owned();
    let uid = snapshot["metadata"]["uid"].as_str().unwrap();
    let content = format!("{CONTENTS}/vmsnapshot-content-{uid}");
    let unlock = |store: &mut Store| {
        store.edit(VM, |vm| {
            if vm["status"]["snapshotInProgress"] == name.as_str() {
                vm["status"].as_object_mut().unwrap().remove("snapshotInProgress");
            }
        });
    };
    if !snapshot["metadata"]["deletionTimestamp"].is_null() {
        unlock(store);
        for (volume, _) in store.all(VOLUME_SNAPSHOTS).into_iter().filter(|(p, _)| p.contains(uid)) {
            store.delete(&volume);
        }
        store.delete(&content);
        return store.edit(path, |s| s["metadata"]["finalizers"] = json!([]));
    }
    let Some(vm) = store.get(VM).cloned() else { return };
    let status = &snapshot["status"];
    if status.is_null() {
        return store.edit(path, |s| {
            s["metadata"]["finalizers"] = json!(["snapshot.kubevirt.io/vmsnapshot-protection"]);
            s["status"] = json!({"phase": "InProgress", "readyToUse": false, "sourceUID": vm["metadata"]["uid"],
                "indications": ways.indications, "conditions": conditions("False", "Source not locked")});
        });
    }
    match status["phase"].as_str().unwrap() {
        "InProgress" => {
            if let Some(words) = ways.snapshot_fails {
                unlock(store);
                return store.edit(path, |s| {
                    s["status"]["phase"] = json!("Failed");
                    s["status"]["error"] = json!({"message": words});
                    s["status"]["conditions"] = json!([{"type": "Failure", "status": "True", "reason": "snapshot deadline exceeded"}]);
                });
            }
            let holder = vm["status"]["snapshotInProgress"].as_str();
            if ways.snapshot_stays == Some("lock") || holder.is_some_and(|h| h != name) {
                return;
            }
            if holder.is_none() {
                return store.edit(VM, |vm| vm["status"]["snapshotInProgress"] = json!(name));
            }
            let volumes: Vec<(String, String)> = vm["spec"]["template"]["spec"]["volumes"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|v| {
                    Some((
                        v["name"].as_str()?.to_owned(),
                        v["persistentVolumeClaim"]["claimName"].as_str()?.to_owned(),
                    ))
                })
                .collect();
            let taken: Vec<_> =
                volumes.iter().filter(|(v, _)| ways.snapshots.contains(&v.as_str())).collect();
            let backups: Vec<Value> = taken
                .iter()
                .map(|(volume, claim)| {
                    let source = store.get(&format!("{CLAIMS}/{claim}")).unwrap().clone();
                    let snapshot = format!("vmsnapshot-{uid}-volume-{volume}");
                    store.put(
                        &format!("{VOLUME_SNAPSHOTS}/{snapshot}"),
                        json!({MARK: source[MARK], "status": {"readyToUse": true, "restoreSize": "1Gi"}}),
                    );
                    json!({"volumeName": volume, "volumeSnapshotName": snapshot,
                        "persistentVolumeClaim": {"metadata": {"name": claim}, "spec": source["spec"]}})
                })
                .collect();
            let mut machine = vm.clone();
            if ways.revision {
                machine["spec"]["instancetype"]["revisionName"] = json!("web01-small-1");
            }
            store.put(
                &content,
                json!({"spec": {"volumeBackups": backups, "source": {"virtualMachine": machine}}}),
            );
            let included: Vec<&str> = taken.iter().map(|(v, _)| v.as_str()).collect();
            let name = content.rsplit('/').next().unwrap();
            store.edit(path, |s| {
                s["status"]["phase"] = json!("Succeeded");
                s["status"]["creationTime"] = json!(now());
                s["status"]["snapshotVolumes"] = json!({"includedVolumes": included});
                s["status"]["virtualMachineSnapshotContentName"] = json!(name);
            });
            unlock(store);
        }
        "Succeeded" if ways.snapshot_stays != Some("ready") => {
            let lost: Vec<String> = store.get(&content).unwrap()["spec"]["volumeBackups"]
                .as_array()
                .unwrap()
                .iter()
                .map(|b| b["volumeSnapshotName"].as_str().unwrap().to_owned())
                .filter(|name| store.get(&format!("{VOLUME_SNAPSHOTS}/{name}")).is_none())
                .collect();
            store.edit(path, |s| {
                s["status"]["readyToUse"] = json!(lost.is_empty());
                if !lost.is_empty() {
                    s["status"]["error"] =
                        json!({"message": format!("VolumeSnapshots ({}) missing", lost.join(","))});
                }
            });
        }
        _ => {}
    }
}

#[expect(clippy::too_many_lines, reason = "the states of one controller, in their order")]
fn restore_step(store: &mut Store, ways: &Ways, path: &str, restore: &Value) {
    let name = restore["metadata"]["name"].as_str().unwrap().to_owned();
    let stamp = format!("{name}-{}", restore["metadata"]["uid"].as_str().unwrap());
    let unlock = |store: &mut Store| {
        store.edit(VM, |vm| {
            if vm["status"]["restoreInProgress"] == name.as_str() {
                vm["status"].as_object_mut().unwrap().remove("restoreInProgress");
            }
        });
    };
    if !restore["metadata"]["deletionTimestamp"].is_null() {
        unlock(store);
        return store.edit(path, |r| r["metadata"]["finalizers"] = json!([]));
    }
    let say = |store: &mut Store, progressing: &str, reason: &str| {
        store.edit(path, |r| r["status"]["conditions"] = conditions(progressing, reason));
    };
    let status = &restore["status"];
    let failed = status["conditions"].as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "Failure"));
    let fail = |store: &mut Store, words: &str| {
        store.edit(path, |r| {
            r["status"]["conditions"]
                .as_array_mut()
                .unwrap()
                .push(json!({"type": "Failure", "status": "True", "reason": words}));
        });
    };
    let Some(vm) = store.get(VM).cloned() else { return };
    if status["complete"] == true || failed {
        return;
    }
    if status.is_null() {
        return store.edit(path, |r| {
            r["metadata"]["finalizers"] = json!(["snapshot.kubevirt.io/vmrestore-protection"]);
            r["status"] = json!({"complete": false, "conditions": conditions("True", "Initializing VirtualMachineRestore")});
        });
    }
    if store.get(VMI).is_some() {
        return fail(store, "Restore target VMI must be powered off before restore operation");
    }
    let snapshot = format!("{SNAPSHOTS}/{}", restore["spec"]["virtualMachineSnapshotName"].as_str().unwrap());
    let Some(snapshot) = store.get(&snapshot).cloned() else {
        return say(store, "False", "VMSnapshot does not exist");
    };
    if snapshot["status"]["readyToUse"] != true {
        return say(store, "False", "VMSnapshot not ready");
    }
    if snapshot["status"]["sourceUID"] != vm["metadata"]["uid"] {
        return say(
            store,
            "False",
            "restore source and restore target are different but restore target already exists",
        );
    }
    if ways.restore_stays == Some("begin") {
        return say(store, "False", "persistentvolumeclaims is forbidden: exceeded quota");
    }
    if let Some(words) = ways.restore_fails.and_then(|w| w.strip_prefix("begin: ")) {
        return fail(store, words);
    }
    if vm["status"]["restoreInProgress"].is_null() && vm["metadata"]["annotations"][STAMP] != stamp.as_str() {
        return store.edit(VM, |vm| vm["status"]["restoreInProgress"] = json!(name));
    }
    let content =
        format!("{CONTENTS}/{}", snapshot["status"]["virtualMachineSnapshotContentName"].as_str().unwrap());
    let content = store.get(&content).unwrap().clone();
    let in_place = restore["spec"]["volumeRestorePolicy"] == "InPlace";
    let backups = content["spec"]["volumeBackups"].as_array().unwrap().clone();
    let target = |b: &Value| {
        let (volume, claim) = (
            b["volumeName"].as_str().unwrap(),
            b["persistentVolumeClaim"]["metadata"]["name"].as_str().unwrap(),
        );
        if in_place {
            claim.to_owned()
        } else {
            format!("restore-{}-{volume}", restore["metadata"]["uid"].as_str().unwrap())
        }
    };
    if status["restores"].is_null() {
        let restores: Vec<Value> = backups
            .iter()
            .map(|b| json!({"volumeName": b["volumeName"], "persistentVolumeClaim": target(b)}))
            .collect();
        return store.edit(path, |r| r["status"]["restores"] = json!(restores));
    }
    let mut waits = false;
    for backup in &backups {
        let disk = target(backup);
        let at = format!("{CLAIMS}/{disk}");
        let dv = format!("{DATA_VOLUMES}/{disk}");
        match store.get(&at).cloned() {
            Some(found) if found["metadata"]["annotations"][STAMP] == stamp.as_str() => {}
            Some(found) => {
                waits = true;
                if !found["metadata"]["deletionTimestamp"].is_null() {
                    continue;
                }
                store.edit(&dv, |dv| {
                    dv["metadata"]["annotations"]["cdi.kubevirt.io/storage.prePopulated"] = json!(disk);
                });
                store.delete(&at);
            }
            None if ways.restore_stays == Some("claims") => waits = true,
            None => {
                if let Some(words) = ways.restore_fails.and_then(|w| w.strip_prefix("claims: ")) {
                    return fail(store, words);
                }
                let source = format!("{VOLUME_SNAPSHOTS}/{}", backup["volumeSnapshotName"].as_str().unwrap());
                let mark = store.get(&source).unwrap()[MARK].as_str().unwrap().to_owned();
                let owned = store.get(&dv).is_none() && restore["spec"]["volumeOwnershipPolicy"] != "None";
                let owners = if owned {
                    json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "web01", "uid": vm["metadata"]["uid"]}])
                } else {
                    json!([])
                };
                let mut made = claim(&mark, &owners);
                made["metadata"]["annotations"] = json!({STAMP: stamp, "restore.kubevirt.io/name": name});
                if ways.pending {
                    made["status"]["phase"] = json!("Pending");
                }
                store.put(&at, made);
                waits = true;
            }
        }
    }
    if waits {
        return say(store, "True", "Creating new PVCs");
    }
    if vm["metadata"]["annotations"][STAMP] != stamp.as_str() {
        return store.edit(VM, |vm| {
            let strategy = vm["spec"]["runStrategy"].clone();
            vm["spec"] = content["spec"]["source"]["virtualMachine"]["spec"].clone();
            vm["spec"]["runStrategy"] = strategy;
            for volume in vm["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap() {
                if let Some(backup) = backups.iter().find(|b| b["volumeName"] == volume["name"]) {
                    volume["persistentVolumeClaim"]["claimName"] = json!(target(backup));
                }
            }
            vm["metadata"]["annotations"][STAMP] = json!(stamp);
        });
    }
    unlock(store);
    store.edit(path, |r| {
        r["status"]["complete"] = json!(true);
        r["status"]["conditions"] = conditions("False", "Operation complete");
    });
}

/// CDI takes a restored claim for its data volume again, and makes one that is missing anew unless told not to.
fn data_volumes(store: &mut Store) {
    for (path, dv) in store.all(DATA_VOLUMES) {
        let name = path.rsplit('/').next().unwrap();
        let at = format!("{CLAIMS}/{name}");
        let owner = json!([{"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": name, "uid": dv["metadata"]["uid"]}]);
        if store.get(&at).is_none()
            && dv["metadata"]["annotations"]["cdi.kubevirt.io/storage.prePopulated"].is_null()
        {
            store.put(&at, claim("golden image", &owner));
        }
        store.edit(&at, |c| {
            if c["metadata"]["ownerReferences"] == json!([]) {
                c["metadata"]["ownerReferences"] = owner;
            }
        });
    }
}

/// Self-heal: what Git says, at once; and a comparison at each refresh.
fn argo_cd(store: &mut Store, ways: &mut Ways) {
    let Some(application) = store.get(APPLICATION).cloned() else { return };
    let annotations = &application["metadata"]["annotations"];
    if annotations["argocd.argoproj.io/skip-reconcile"] == "true" {
        return;
    }
    let git = ways.git.clone();
    if ways.machine_heard_late
        && let Some(vm) = store.get(VM).filter(|vm| vm["spec"]["template"]["spec"]["volumes"] != git).cloned()
    {
        store.behind.insert(VM.to_owned(), vm);
    }
    store.edit(VM, |vm| vm["spec"]["template"]["spec"]["volumes"] = git.clone());
    if ways.plain_claims {
        for volume in git.as_array().unwrap() {
            let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
            if store.get(&format!("{CLAIMS}/{name}")).is_none() {
                store.put(&format!("{CLAIMS}/{name}"), claim("empty", &json!([])));
            }
        }
    }
    if !annotations["argocd.argoproj.io/refresh"].is_null() {
        ways.clock += 1;
        let reconciled = time(ways.clock);
        store.edit(APPLICATION, |a| {
            a["metadata"]["annotations"].as_object_mut().unwrap().remove("argocd.argoproj.io/refresh");
            a["status"]["reconciledAt"] = json!(reconciled);
        });
    }
}

fn conditions(progressing: &str, reason: &str) -> Value {
    json!([{"type": "Progressing", "status": progressing, "reason": reason}, {"type": "Ready", "status": "False", "reason": reason}])
}
