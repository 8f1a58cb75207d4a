//! `start`, `stop` and `restart` (KubeVirt 1.8, pkg/virt-api/rest/lifecycle.go).

use anyhow::Result;
use serde_json::{Value, json};

use super::serve::Answer;
use crate::{
    kubevirt::strategy,
    standin::{Objects, instances, items, machines, text},
};

/// An answer that ends the request early, or the failure of the API server behind it.
enum Stop {
    Say(Answer),
    Fail(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Fail(error)
    }
}

/// Answer a request about the machine `name`.
pub(super) async fn ask(objects: &Objects, namespace: &str, name: &str, verb: &str, body: &[u8]) -> Answer {
    match lifecycle(objects, namespace, name, verb, body).await {
        Ok(()) => (202, None),
        Err(Stop::Say(answer)) => answer,
        Err(Stop::Fail(error)) => internal(&error.to_string()),
    }
}

async fn lifecycle(
    objects: &Objects,
    namespace: &str,
    name: &str,
    verb: &str,
    body: &[u8],
) -> Result<(), Stop> {
    let options: Value = if body.trim_ascii().is_empty() {
        json!({})
    } else {
        let wrong = |error| bad_request(&format!("Can not unmarshal Request body to struct, error: {error}"));
        serde_json::from_slice(body).map_err(|error| Stop::Say(wrong(error)))?
    };
    let Some(machine) = objects.get(&machines().path(namespace, name)).await? else {
        return Err(Stop::Say(not_found(name)));
    };
    let instance = objects.get(&instances().path(namespace, name)).await?;
    let request =
        Request { objects, name, machine: &machine, instance: instance.as_ref(), options: &options };
    match verb {
        "start" => request.start().await,
        "stop" => request.stop().await,
        "restart" => request.restart().await,
        _ => Err(Stop::Say((404, None))),
    }
}

struct Request<'a> {
    objects: &'a Objects,
    name: &'a str,
    machine: &'a Value,
    instance: Option<&'a Value>,
    options: &'a Value,
}

impl Request<'_> {
    async fn start(&self) -> Result<(), Stop> {
        let phase = self.instance.map_or("", |instance| text(instance, "/status/phase"));
        if self.running() && !matches!(phase, "Unknown" | "") {
            return self.conflict("VM is already running");
        }
        let mut start = json!({ "action": "Start" });
        if self.options["paused"] == true {
            start["data"] = json!({ "paused": "true" });
        }
        match strategy(self.machine) {
            "Halted" if self.options["paused"] == true => self.request(vec![start]).await,
            "Halted" => self.set_power(true).await,
            "RerunOnFailure" if phase == "Failed" => {
                self.conflict("RerunOnFailure does not support starting VM from failed state")
            }
            "Manual" | "RerunOnFailure" => match self.instance {
                Some(instance) if !self.running() => self.request(vec![stop_of(instance), start]).await,
                _ => self.request(vec![start]).await,
            },
            other => self.conflict(&format!("{other} does not support manual start requests")),
        }
    }

    async fn stop(&self) -> Result<(), Stop> {
        let grace = self.options["gracePeriod"].as_i64();
        let mut before = None;
        if let (Some(instance), Some(grace)) = (self.instance.filter(|_| self.running()), grace) {
            before = instance["spec"]["terminationGracePeriodSeconds"].as_i64();
            let part = ("/spec/terminationGracePeriodSeconds", json!(grace));
            self.patch(&instances().of(instance), instance, &[part]).await?;
        }
        match (strategy(self.machine), self.instance.filter(|_| self.running())) {
            ("Always" | "Once", _) => self.set_power(false).await,
            (_, None) => self.conflict("VM is not running"),
            ("Halted", Some(_)) if grace.is_none_or(|grace| before.is_some_and(|before| grace >= before)) => {
                self.conflict("Halted only supports manual stop requests with a shorter graceperiod")
            }
            (_, Some(instance)) => self.request(vec![stop_of(instance)]).await,
        }
    }

    async fn restart(&self) -> Result<(), Stop> {
        let grace = self.options["gracePeriodSeconds"].as_i64();
        if grace.is_some_and(|grace| grace > 0) {
            return Err(Stop::Say(bad_request("For force restart, only gracePeriod=0 is supported for now")));
        }
        if grace.is_some_and(|grace| grace < 0) {
            return Err(Stop::Say(bad_request("gracePeriod has to be greater or equal to 0")));
        }
        let strategy = strategy(self.machine);
        if matches!(strategy, "Halted" | "Once") {
            return self.conflict(&format!("RunStategy {strategy} does not support manual restart requests"));
        }
        let Some(instance) = self.instance else { return self.conflict("VM is not running: Halted") };
        self.request(vec![stop_of(instance), json!({ "action": "Start" })]).await?;
        if grace == Some(0) {
            // KubeVirt deletes the pod, which leaves the guest one second.
            let part = ("/spec/terminationGracePeriodSeconds", json!(1));
            self.patch(&instances().of(instance), instance, &[part]).await?;
        }
        Ok(())
    }

    fn running(&self) -> bool {
        self.instance
            .is_some_and(|instance| !matches!(text(instance, "/status/phase"), "Succeeded" | "Failed"))
    }

    /// Change the machine's `spec`: whoever owns it in Git sees drift.
    async fn set_power(&self, on: bool) -> Result<(), Stop> {
        let part = if self.machine["spec"].get("runStrategy").is_some() {
            ("/spec/runStrategy", json!(if on { "Always" } else { "Halted" }))
        } else {
            ("/spec/running", json!(on))
        };
        self.patch(&machines().of(self.machine), self.machine, &[part]).await
    }

    /// Ask the controller, by the machine's `status`.
    async fn request(&self, changes: Vec<Value>) -> Result<(), Stop> {
        let pending = !items(self.machine, "/status/stateChangeRequests").is_empty();
        let replaces = changes.len() == 1 && changes[0]["action"] == "Stop";
        if pending && !replaces {
            return Err(Stop::Say(internal("unable to complete request: stop/start already underway")));
        }
        let mut parts = vec![("/status/stateChangeRequests", Value::Array(changes))];
        if self.machine["status"].get("startFailure").is_some() {
            parts.push(("/status/startFailure", Value::Null));
        }
        self.patch(&format!("{}/status", machines().of(self.machine)), self.machine, &parts).await
    }

    /// Write, unless somebody wrote before: real ones test the old value alone, and say 500 as well.
    async fn patch(&self, path: &str, object: &Value, parts: &[(&str, Value)]) -> Result<(), Stop> {
        if items(self.options, "/dryRun").iter().any(|word| word == "All") {
            return Ok(());
        }
        match self.objects.set_unchanged(path, object, parts).await {
            Ok(()) => Ok(()),
            Err(error) => Err(Stop::Say(internal(&said(&error)))),
        }
    }

    fn conflict(&self, why: &str) -> Result<(), Stop> {
        let message =
            format!("Operation cannot be fulfilled on virtualmachine.kubevirt.io \"{}\": {why}", self.name);
        Err(Stop::Say(failure(409, "Conflict", &message, Some(self.name))))
    }
}

fn stop_of(instance: &Value) -> Value {
    json!({ "action": "Stop", "uid": instance["metadata"]["uid"] })
}

/// The API server's own words.
fn said(error: &anyhow::Error) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => error.to_string(),
    }
}

fn not_found(name: &str) -> Answer {
    failure(404, "NotFound", &format!("virtualmachine.kubevirt.io \"{name}\" not found"), Some(name))
}

fn bad_request(message: &str) -> Answer {
    failure(400, "BadRequest", message, None)
}

fn internal(why: &str) -> Answer {
    let (code, mut status) = failure(500, "InternalError", &format!("Internal error occurred: {why}"), None);
    if let Some(status) = status.as_mut() {
        status["details"] = json!({ "causes": [{ "message": why }] });
    }
    (code, status)
}

fn failure(code: u16, reason: &str, message: &str, name: Option<&str>) -> Answer {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code,
    });
    if let Some(name) = name {
        status["details"] = json!({ "name": name, "group": "kubevirt.io", "kind": "virtualmachine" });
    }
    (code, Some(status))
}
