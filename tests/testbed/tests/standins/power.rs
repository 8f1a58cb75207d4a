//! Machines are started, stopped and restarted by the API, in KubeVirt's words.

use anyhow::Result;
use kube::api::{DeleteParams, Preconditions};
use serde_json::{Value, json};
use testbed::{control_plane::ControlPlane, kubevirt::IGNORES_ACPI};

use super::bed::{Bed, gone, printed, reason, record, refusal, until};

const CONFLICT: &str = "Operation cannot be fulfilled on virtualmachine.kubevirt.io \"web\": ";

async fn strategy(bed: &Bed, strategy: &str) -> Result<()> {
    Ok(bed.patch(&bed.machines(), "web", json!({ "spec": { "runStrategy": strategy } })).await?)
}

async fn up(bed: &Bed) -> Result<Value> {
    until(&bed.machines(), "web", "up", |machine| machine["status"]["ready"] == true).await?;
    Ok(serde_json::to_value(bed.instances().get("web").await?)?)
}

async fn down(bed: &Bed) -> Result<Value> {
    until(&bed.instances(), "web", "down", gone).await?;
    until(&bed.machines(), "web", "stopped", |machine| {
        machine["status"].get("created").is_none() && machine["status"].get("stateChangeRequests").is_none()
    })
    .await
}

fn conflict(why: &str) -> (u16, String) {
    (409, format!("{CONFLICT}{why}"))
}

#[tokio::test]
async fn stop_and_start_change_the_spec_of_a_machine_that_always_runs() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "power-always").await?;
    bed.machine("Always").await?;
    let first = up(&bed).await?;
    assert_eq!(bed.subresource("start", "").await?, conflict("VM is already running"));
    let grace = "For force restart, only gracePeriod=0 is supported for now";
    assert_eq!(bed.subresource("restart", r#"{"gracePeriodSeconds":5}"#).await?, (400, grace.to_owned()));
    assert_eq!(bed.subresource("restart", "").await?, (202, String::new()));
    let underway = "Internal error occurred: unable to complete request: stop/start already underway";
    assert_eq!(bed.subresource("restart", "").await?, (500, underway.to_owned()));
    let uid = first["metadata"]["uid"].clone();
    until(&bed.instances(), "web", "another instance", |instance| {
        instance.is_object() && instance["metadata"]["uid"] != uid
    })
    .await?;
    up(&bed).await?;

    assert_eq!(bed.subresource("stop", "").await?, (202, String::new()));
    let stopped = down(&bed).await?;
    assert_eq!(stopped["spec"]["runStrategy"], "Halted");
    assert_eq!(bed.subresource("stop", "").await?, conflict("VM is not running"));
    let halted = "RunStategy Halted does not support manual restart requests";
    assert_eq!(bed.subresource("restart", "").await?, conflict(halted));
    assert_eq!(bed.subresource("start", "").await?, (202, String::new()));
    up(&bed).await?;
    assert_eq!(serde_json::to_value(bed.machines().get("web").await?)?["spec"]["runStrategy"], "Always");
    Ok(())
}

#[tokio::test]
async fn manual_machines_are_asked_by_their_status_and_their_spec_stays() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "power-manual").await?;
    bed.machine("Manual").await?;
    // a status that is being written is a conflict of its own
    until(&bed.machines(), "web", "stopped", |machine| machine["status"]["printableStatus"] == "Stopped")
        .await?;
    assert_eq!(bed.subresource("stop", "").await?, conflict("VM is not running"));
    assert_eq!(bed.subresource("restart", "").await?, conflict("VM is not running: Halted"));
    let eof =
        "Can not unmarshal Request body to struct, error: EOF while parsing a string at line 1 column 5";
    assert_eq!(bed.subresource("start", "{\"bad").await?, (400, eof.to_owned()));
    assert_eq!(bed.subresource("start", r#"{"x":1}"#).await?, (202, String::new()));
    let first = up(&bed).await?;
    assert_eq!(bed.subresource("restart", r#"{"gracePeriodSeconds":0}"#).await?, (202, String::new()));
    until(&bed.instances(), "web", "another instance", |instance| {
        instance.is_object() && instance["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await?;
    up(&bed).await?;
    assert_eq!(bed.subresource("stop", "").await?, (202, String::new()));
    let stopped = down(&bed).await?;
    assert_eq!(stopped["spec"]["runStrategy"], "Manual");
    assert_eq!(stopped["metadata"]["generation"], 1);
    Ok(())
}

/// A restart that was asked for before a stop brings the machine up again, and changes the spec for it: seen on a real cluster.
#[tokio::test]
async fn a_stop_does_not_take_back_a_restart() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "power-restart").await?;
    bed.machine("Always").await?;
    up(&bed).await?;
    let mut strategies = record(bed.machines(), "web", |machine| {
        machine["spec"]["runStrategy"].as_str().unwrap_or("-").to_owned()
    })
    .await?;
    assert_eq!(bed.subresource("restart", "").await?.0, 202);
    assert_eq!(bed.subresource("stop", "").await?.0, 202);
    until(&bed.machines(), "web", "up after all", |machine| {
        machine["spec"]["runStrategy"] == "Always"
            && machine["status"]["ready"] == true
            && machine["status"].get("stateChangeRequests").is_none()
            && machine["metadata"]["generation"] == 3
    })
    .await?;
    strategies.is(&["Always", "Halted", "Always"]).await
}

#[tokio::test]
async fn a_guest_that_ignores_the_power_button_is_killed_when_its_time_is_over() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "power-deaf").await?;
    bed.machine("Halted").await?;
    let deaf = json!({
        "metadata": { "annotations": { IGNORES_ACPI: "true" } },
        "spec": { "runStrategy": "Always", "template": { "spec": { "terminationGracePeriodSeconds": 60 } } },
    });
    bed.patch(&bed.machines(), "web", deaf).await?;
    up(&bed).await?;
    let mut phases = record(bed.instances(), "web", |instance| {
        instance["status"]["phase"].as_str().unwrap_or("-").to_owned()
    })
    .await?;
    strategy(&bed, "Halted").await?;
    until(&bed.instances(), "web", "stopping", |instance| reason(instance, "Ready").0 == "PodTerminating")
        .await?;
    // the controller has written to the machine what there is to write: a call that it gets between is half done, and is refused
    // when it is made again
    until(&bed.machines(), "web", "stopping", |machine| {
        reason(machine, "Ready").0 == "PodTerminating" && printed("Stopping")(machine)
    })
    .await?;
    let longer = "Halted only supports manual stop requests with a shorter graceperiod";
    assert_eq!(bed.subresource("stop", "").await?, conflict(longer));
    assert_eq!(bed.subresource("stop", r#"{"gracePeriod":60}"#).await?, conflict(longer));
    assert_eq!(bed.subresource("stop", r#"{"gracePeriod":0}"#).await?, (202, String::new()));
    down(&bed).await?;
    phases.is(&["Running", "Failed"]).await
}

#[tokio::test]
async fn an_instance_that_is_deleted_by_its_uid_is_followed_by_another() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "power-uid").await?;
    bed.machine("Always").await?;
    let first = up(&bed).await?;
    let uid = first["metadata"]["uid"].as_str().unwrap().to_owned();
    let wrong = DeleteParams {
        preconditions: Some(Preconditions { uid: Some("other".to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    let refused = refusal(bed.instances().delete("web", &wrong).await.map(drop));
    assert_eq!(refused.0, 409, "{}", refused.1);
    let right = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    bed.instances().delete("web", &right).await?;
    until(&bed.instances(), "web", "another instance", |instance| {
        instance.is_object() && instance["metadata"]["uid"] != uid
    })
    .await?;
    up(&bed).await?;
    Ok(())
}

#[tokio::test]
async fn a_larger_machine_needs_a_restart_until_it_has_one() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "power-resize").await?;
    bed.machine("Always").await?;
    up(&bed).await?;
    let more =
        json!({ "spec": { "template": { "spec": { "domain": { "memory": { "guest": "128Mi" } } } } } });
    bed.patch(&bed.machines(), "web", more).await?;
    let words = "memory updated in template spec. Memory-hotplug is only available for migratable VMs";
    let waiting = until(&bed.machines(), "web", "restart required", |machine| {
        reason(machine, "RestartRequired").1 == words
    })
    .await?;
    assert_eq!(
        (&waiting["status"]["observedGeneration"], &waiting["status"]["desiredGeneration"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(bed.subresource("restart", "").await?.0, 202);
    let done = until(&bed.machines(), "web", "restarted", |machine| {
        machine["status"]["observedGeneration"] == 2 && machine["status"]["ready"] == true
    })
    .await?;
    assert_eq!(reason(&done, "RestartRequired").1, "");
    Ok(())
}
