//! Health by Argo CD's rules (`resource_customizations/kubevirt.io/VirtualMachine/health.lua` and its neighbours in 3.5.7).

use std::collections::HashMap;

use anyhow::Result;
use serde_json::Value;

use crate::standin::{Kind, Objects, applications, claims, condition, items, key, machines, text, volumes};

/// The live objects that have a health.
pub(super) struct Live(HashMap<(&'static str, String, String), Value>);

impl Live {
    pub(super) async fn read(objects: &Objects) -> Result<Self> {
        let mut live = HashMap::new();
        let read = async |kind: &'static str, place: Kind| {
            let seen = objects.list(&place).await?;
            anyhow::Ok(seen.into_iter().map(move |object| (kind, object)))
        };
        let (machines, volumes, claims, applications) = tokio::try_join!(
            read("VirtualMachine", machines()),
            read("DataVolume", volumes()),
            read("PersistentVolumeClaim", claims()),
            read("Application", applications()),
        )?;
        for (kind, object) in machines.chain(volumes).chain(claims).chain(applications) {
            let (namespace, name) = key(&object);
            live.insert((kind, namespace, name), object);
        }
        Ok(Self(live))
    }

    /// An object, or null where it is gone; none where its kind is not looked at.
    pub(super) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let kind = ["VirtualMachine", "DataVolume", "PersistentVolumeClaim", "Application"]
            .into_iter()
            .find(|other| *other == kind)?;
        Some(self.0.get(&(kind, namespace.to_owned(), name.to_owned())).unwrap_or(&Value::Null))
    }

    /// The health of an application with these resources: that of the worst. One that is missing does not count, unless all are.
    /// `suspends`: a stopped machine is Suspended.
    pub(super) fn of(&self, resources: &[Value], suspends: bool) -> &'static str {
        let order = ["Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"];
        let mut worst = 0;
        let mut missing = 0;
        for resource in resources {
            match self.one(resource, suspends) {
                Some("Missing") => missing += 1,
                Some(health) => {
                    worst = worst.max(order.iter().position(|name| *name == health).unwrap_or(0));
                }
                None => {
                    missing += usize::from(
                        resource["status"] == "OutOfSync" && resource.get("requiresPruning").is_none(),
                    );
                }
            }
        }
        if !resources.is_empty() && missing == resources.len() { "Missing" } else { order[worst] }
    }

    /// The health of one resource; none where its kind has none.
    pub(super) fn one(&self, resource: &Value, suspends: bool) -> Option<&'static str> {
        let kind = ["VirtualMachine", "DataVolume", "PersistentVolumeClaim"]
            .into_iter()
            .find(|kind| resource["kind"] == *kind)?;
        let place = (kind, text(resource, "/namespace").to_owned(), text(resource, "/name").to_owned());
        let Some(object) = self.0.get(&place) else { return Some("Missing") };
        Some(match kind {
            "VirtualMachine" => machine(object, suspends),
            "DataVolume" => volume(object),
            _ if object["status"]["phase"] == "Bound" => "Healthy",
            _ => "Progressing",
        })
    }
}

fn machine(object: &Value, suspends: bool) -> &'static str {
    let created = object["status"]["created"] == true;
    let stopped = object["spec"]["running"] == false || object["spec"]["runStrategy"] == "Halted";
    if stopped && !created && !suspends {
        return "Healthy";
    }
    if condition(object, "Paused").is_some_and(|condition| condition["status"] == "True") {
        return "Suspended";
    }
    match condition(object, "Ready") {
        Some(ready) if ready["status"] == "True" => "Healthy",
        Some(_) if !created => "Suspended",
        _ => "Progressing",
    }
}

fn volume(object: &Value) -> &'static str {
    match text(object, "/status/phase") {
        "Succeeded" => return "Healthy",
        "Paused" => return "Suspended",
        "Failed" | "Unknown" => return "Degraded",
        _ => {}
    }
    let broken = items(object, "/status/conditions").iter().any(|condition| {
        condition["type"] == "Running" && condition["status"] == "False" && condition["reason"] == "Error"
    });
    if broken { "Degraded" } else { "Progressing" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_is_as_healthy_as_argo_cd_says() {
        let ready = |status: &str| json!([{ "type": "Ready", "status": status }]);
        let cases = [
            (json!({ "spec": { "runStrategy": "Halted" } }), "Healthy"),
            (
                json!({ "spec": { "runStrategy": "Halted" }, "status": { "created": true, "conditions": ready("False") } }),
                "Progressing",
            ),
            (json!({ "spec": { "runStrategy": "Always" } }), "Progressing"),
            (
                json!({ "spec": { "runStrategy": "Always" }, "status": { "conditions": ready("False") } }),
                "Suspended",
            ),
            (
                json!({ "spec": { "runStrategy": "Always" }, "status": { "created": true, "conditions": ready("False") } }),
                "Progressing",
            ),
            (
                json!({ "spec": { "runStrategy": "Always" }, "status": { "created": true, "conditions": ready("True") } }),
                "Healthy",
            ),
        ];
        for (object, health) in cases {
            assert_eq!(machine(&object, false), health, "{object}");
        }
        let halted =
            json!({ "spec": { "runStrategy": "Halted" }, "status": { "conditions": ready("False") } });
        assert_eq!([machine(&halted, false), machine(&halted, true)], ["Healthy", "Suspended"]);
    }
}
