//! What the verbs come back with.

use std::time::Duration;

use cluster::{
    Created, DATA_VOLUME, Deleted, LEASE, PERSISTENT_VOLUME_CLAIM, POD, VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_RESTORE,
};
use serde_json::{Value, json};
use step::Kind;

use crate::{begin, object};

fn claim(labels: &Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_made_once_changed_and_deleted_as_itself_alone() {
    let cluster = begin("verbs-one").await;
    let pvc = object(PERSISTENT_VOLUME_CLAIM, "verbs-one/disk");
    assert_eq!(cluster.merge_patch(&pvc, &json!({})).await, Ok(None));
    assert_eq!(cluster.json_patch(&pvc, &json!([])).await, Ok(None));
    assert_eq!(cluster.delete(&pvc, None).await, Ok(Deleted::Gone));
    let Created::New(made) = cluster.create(&pvc, &claim(&json!({"a": "b"}))).await.unwrap() else {
        panic!("there was one")
    };
    assert_eq!(cluster.create(&pvc, &claim(&json!({}))).await, Ok(Created::Exists));

    let changed =
        cluster.merge_patch(&pvc, &json!({"metadata": {"labels": {"c": "d"}}})).await.unwrap().unwrap();
    assert_eq!(changed["metadata"]["labels"], json!({"a": "b", "c": "d"}));
    assert_eq!(cluster.replace(&pvc, &made).await, Ok(None), "a change came between");
    let mut again = changed;
    again["metadata"]["labels"] = json!({"e": "f"});
    let replaced = cluster.replace(&pvc, &again).await.unwrap().unwrap();
    assert_eq!(replaced["metadata"]["labels"], json!({"e": "f"}));

    let patch = json!([{"op": "test", "path": "/metadata/labels/e", "value": "x"}, {"op": "remove", "path": "/metadata/labels/e"}]);
    let error = cluster.json_patch(&pvc, &patch).await.unwrap_err();
    assert_eq!((error.status(), error.test_failed(), error.kind()), (422, true, Kind::Failed), "{error}");
    let patch = json!([{"op": "test", "path": "/metadata/labels/e", "value": "f"}, {"op": "remove", "path": "/metadata/labels/e"}]);
    let patched = cluster.json_patch(&pvc, &patch).await.unwrap().unwrap();
    assert_eq!(patched.pointer("/metadata/labels"), None);

    assert_eq!(cluster.delete(&pvc, Some("another-uid")).await, Ok(Deleted::Other));
    let uid = patched["metadata"]["uid"].as_str().unwrap();
    assert_eq!(cluster.delete(&pvc, Some(uid)).await, Ok(Deleted::Asked));
    let left = cluster.get(&pvc).await.unwrap();
    assert!(left.is_none_or(|o| o["metadata"]["deletionTimestamp"].is_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_all_of_a_label_however_many_pages() {
    let cluster = begin("verbs-list").await;
    for n in 0..502 {
        let lease = object(LEASE, &format!("verbs-list/l{n}"));
        let labels = if n == 7 { json!({"of": "a_b", "x": "3"}) } else { json!({}) };
        let made = cluster.create(&lease, &json!({"metadata": {"labels": labels}})).await.unwrap();
        assert!(matches!(made, Created::New(_)));
    }
    let all = cluster.list(LEASE, "verbs-list", None).await.unwrap();
    let mut names: Vec<&str> = all.iter().map(|l| l["metadata"]["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 502);
    let one = cluster.list(LEASE, "verbs-list", Some("of in (a_b),x=3")).await.unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["metadata"]["name"], "l7");
    assert_eq!(cluster.list(POD, "verbs-list", Some("of=a_b")).await, Ok(vec![]));
    let error = cluster.list(POD, "verbs-list?x=", None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_those_of_the_cluster() {
    let cluster = begin("verbs-fields").await;
    // the API server describes what was installed some seconds later
    for kind in [VIRTUAL_MACHINE_RESTORE, VIRTUAL_MACHINE] {
        let described = async {
            while !matches!(cluster.has_field(kind, "spec", None).await, Ok(true)) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), described).await.unwrap();
    }
    for (kind, path, value, there) in [
        (VIRTUAL_MACHINE_RESTORE, "spec/volumeRestorePolicy", None, true),
        (VIRTUAL_MACHINE_RESTORE, "spec/volumeRestorePolicy", Some("InPlace"), true),
        (VIRTUAL_MACHINE_RESTORE, "spec/volumeOldPolicy", None, false),
        (VIRTUAL_MACHINE, "spec/template/spec/domain/devices/disks/serial", None, true),
        (LEASE, "spec/holderIdentity", None, true),
        (POD, "spec/containers/restartPolicy", None, true),
        (POD, "spec/containers/restartPolice", None, false),
    ] {
        assert_eq!(cluster.has_field(kind, path, value).await, Ok(there), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_apart() {
    let cluster = begin("verbs-refused").await;
    let disk = object(DATA_VOLUME, "verbs-refused/disk");
    let error = cluster.create(&disk, &json!({"spec": {"source": 7}})).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (Kind::Failed, 422), "{error}");
    let plane = testbed::control_plane::ControlPlane::shared().await.unwrap();
    let config = plane.kubeconfig_for_service_account("verbs-refused", "nobody").await.unwrap();
    let nobody = cluster::Cluster::connect(Some(&config)).await.unwrap();
    let error = nobody.delete(&disk, None).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (Kind::Permission, 403), "{error}");
    assert_eq!(
        nobody.has_field(VIRTUAL_MACHINE_RESTORE, "spec/target", None).await,
        Ok(true),
        "every account may read what kinds have"
    );
    // there is no KubeVirt here: its API is not served, which is no answer of a machine
    let vm = object(VIRTUAL_MACHINE, "verbs-refused/web01");
    let error = cluster.subresource(&vm, "restart", &json!({})).await.unwrap_err();
    assert_eq!((error.status(), error.not_served()), (404, true), "{error}");
}
