//! Requests, each with its own deadline.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use step::{Failure, Kind};
use tokio::time::timeout;

use crate::connect::Source;
use crate::error::Error;
use crate::gate::Gate;
use crate::object::{Name, Object};

/// The deadline of one request: until its answer is whole, or until a watch begins.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);
/// From this many failures in a row on, credentials and CA are read anew for each further attempt.
const STALE: u32 = 2;

/// One API server. Cheap to clone; clones share connections and the gate that slows all requests down while the server
/// does not answer.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    client: RwLock<Client>,
    gate: Gate,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("source", &self.inner.source).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster of this kubeconfig, or of the pod. No request is made; what is wrong with the file is found here.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, Failure> {
        let source = Source::new(kubeconfig);
        let client = RwLock::new(source.client().await?);
        Ok(Self { inner: Arc::new(Inner { source, client, gate: Gate::default() }) })
    }

    /// What answers is this.
    #[cfg(test)]
    pub(crate) fn asking(client: Client) -> Self {
        let inner = Inner { source: Source::Pod, client: RwLock::new(client), gate: Gate::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The machine's own cluster by its kubeconfig, or this one without. No request is made.
    pub async fn of_machine(&self, kubeconfig: Option<&Path>) -> Result<Self, Failure> {
        match kubeconfig {
            Some(path) => Self::connect(Some(path)).await,
            None => Ok(self.clone()),
        }
    }

    /// The object as the server has it now (a quorum read), or none if it is not there.
    pub async fn get(&self, object: &Object) -> Result<Option<Value>, Error> {
        let answer = self.send(Request::get(object.path()), Vec::new()).await;
        match answer {
            Err(Refused { absent: true, .. }) => Ok(None),
            Err(refused) => Err(refused.error),
            Ok(value) => Ok(Some(value)),
        }
    }

    /// Ask Argo CD to compare an Application with Git, by the annotation that it takes away when it has.
    /// False if there is no such Application.
    pub async fn refresh(&self, application: &Object) -> Result<bool, Error> {
        let patch =
            serde_json::json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
        let request = Request::patch(format!("{}?fieldManager=vm-lifecycle", application.path()))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json");
        match self.send(request, patch.to_string().into_bytes()).await {
            Err(Refused { absent: true, .. }) => Ok(false),
            Err(refused) => Err(refused.error),
            Ok(_) => Ok(true),
        }
    }

    /// The newest event of type Warning about objects of this name, as `Reason: message`. None if there is none, or if
    /// events may not be read: they help to explain and decide nothing. One request.
    pub async fn last_warning(&self, name: &Name) -> Option<String> {
        let uri = format!(
            "/api/v1/namespaces/{}/events?limit=100&fieldSelector=type%3DWarning%2CinvolvedObject.name%3D{}",
            name.namespace(),
            name.name(),
        );
        let events = timeout(REQUEST, self.send(Request::get(uri), Vec::new())).await.ok()?.ok()?;
        let text = |event: &Value, field: &str| {
            event.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        // events of the old API have lastTimestamp, those of the new one eventTime; both RFC 3339 in UTC
        let newest = events
            .get("items")?
            .as_array()?
            .iter()
            .max_by_key(|e| text(e, "lastTimestamp").max(text(e, "eventTime")))?;
        Some(format!("{}: {}", text(newest, "reason"), text(newest, "message")))
    }

    /// Events of one object from this version on, or from its present state if none is given, for at most `length`.
    pub(crate) async fn events(
        &self,
        object: &Object,
        version: Option<&str>,
        length: Duration,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, Error>> + use<>, Error> {
        let from = version.map_or_else(String::new, |v| format!("&resourceVersion={v}"));
        let uri = format!(
            "{}?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D{}&timeoutSeconds={}{from}",
            object.collection(),
            object.name.name(),
            length.as_secs(),
        );
        let ask = async |client: Client| {
            let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
            client.request_events::<Value>(request).await
        };
        let events = self.through_gate(ask).await.map_err(|r| r.error)?;
        Ok(events.map(|event: kube::Result<WatchEvent<Value>>| event.map_err(Error::from)))
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<Value, Refused> {
        self.through_gate(async |client: Client| {
            client.request::<Value>(request.body(body).map_err(kube::Error::HttpError)?).await
        })
        .await
    }

    pub(crate) async fn through_gate<T>(
        &self,
        ask: impl AsyncFnOnce(Client) -> kube::Result<T>,
    ) -> Result<T, Refused> {
        let ticket = self.inner.gate.enter().await;
        let client = self.inner.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = timeout(REQUEST, ask(client)).await;
        let refused = match answer {
            Ok(Ok(value)) => {
                ticket.answered();
                return Ok(value);
            }
            Ok(Err(error)) => Refused::from(error),
            Err(_) => Refused { absent: false, error: Error::silent(REQUEST) },
        };
        let outage = refused.error.outage();
        let failures = if outage {
            ticket.failed(refused.error.retry_after())
        } else {
            ticket.answered();
            None
        };
        if refused.error.kind() == Kind::Permission || failures.is_some_and(|f| f >= STALE) {
            self.reconnect().await;
        }
        Err(refused)
    }

    /// Read credentials and CA anew. Should that fail, the file is being replaced right now: the old client stays.
    async fn reconnect(&self) {
        match self.inner.source.client().await {
            Ok(client) => *self.inner.client.write().unwrap_or_else(PoisonError::into_inner) = client,
            Err(failure) => tracing::debug!("{failure}"),
        }
    }
}

/// An answer that is not the object.
pub(crate) struct Refused {
    /// The server knows the kind, and has no object of that name.
    pub(crate) absent: bool,
    pub(crate) error: Error,
}

impl From<kube::Error> for Refused {
    fn from(error: kube::Error) -> Self {
        // A 404 without the name is not about the object: a server that has just started says so of kinds that it has
        // not read yet. Taken for absence it would end a wait for deletion with a lie.
        let absent = match &error {
            kube::Error::Api(status) => {
                status.code == 404 && status.details.as_ref().is_some_and(|d| !d.name.is_empty())
            }
            _ => false,
        };
        Self { absent, error: Error::from(error) }
    }
}
