//! An API server in memory: objects, lists, watches, create, replace, merge patch, delete with finalizers and uids. It knows no
//! schema; what it shows is never what a cluster showed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What the server holds. Paths are those of the API.
#[derive(Default)]
pub(crate) struct Store {
    objects: BTreeMap<String, Value>,
    pub(crate) history: Vec<(u64, &'static str, String, Value)>,
    pub(crate) version: u64,
    /// Method and path of each request but reads.
    pub(crate) changes: Vec<String>,
    /// The `OpenAPI` documents by path.
    pub(crate) described: BTreeMap<String, Value>,
    /// Why a create at this collection is denied, if it is.
    pub(crate) deny: BTreeMap<String, String>,
    /// The controllers do nothing.
    pub(crate) frozen: bool,
    /// Objects that lists and watches show like this for ever: they are behind, reads are not.
    pub(crate) behind: BTreeMap<String, Value>,
    /// The object whose first read is forbidden, and whose later ones get no answer.
    pub(crate) forbidden: Option<String>,
    /// How often each object was read.
    pub(crate) reads: BTreeMap<String, usize>,
}

impl Store {
    pub(crate) fn get(&self, path: &str) -> Option<&Value> {
        self.objects.get(path)
    }

    /// Everything in a collection.
    pub(crate) fn all(&self, collection: &str) -> Vec<(String, Value)> {
        let inside = format!("{collection}/");
        self.objects
            .iter()
            .filter(|(p, _)| p.starts_with(&inside))
            .map(|(p, o)| (p.clone(), o.clone()))
            .collect()
    }

    /// Make or replace an object; what a new one lacks is filled in.
    pub(crate) fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let old = self.objects.get(path);
        let fresh = json!(format!("00000000-0000-4000-8000-{:012}", self.version));
        let name = path.rsplit('/').next().unwrap();
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(name);
        metadata["resourceVersion"] = json!(self.version.to_string());
        if metadata["uid"].is_null() {
            metadata["uid"] = old.map_or(fresh, |o| o["metadata"]["uid"].clone());
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!(now());
        }
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.history.push((self.version, kind, path.to_owned(), object.clone()));
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    /// Change an object, if it is there.
    pub(crate) fn edit(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        if let Some(mut object) = self.objects.get(path).cloned() {
            let before = object.clone();
            change(&mut object);
            if object != before {
                let finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
                if !object["metadata"]["deletionTimestamp"].is_null() && !finalizers {
                    self.drop(path);
                } else {
                    self.put(path, object);
                }
            }
        }
    }

    /// Delete it, or mark it where finalizers keep it.
    pub(crate) fn delete(&mut self, path: &str) {
        let kept = self
            .objects
            .get(path)
            .is_some_and(|o| o["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty()));
        if kept {
            self.edit(path, |o| {
                if o["metadata"]["deletionTimestamp"].is_null() {
                    o["metadata"]["deletionTimestamp"] = json!(now());
                }
            });
        } else {
            self.drop(path);
        }
    }

    fn drop(&mut self, path: &str) {
        self.version += 1;
        if let Some(object) = self.objects.remove(path) {
            self.history.push((self.version, "DELETED", path.to_owned(), object));
        }
    }
}

/// Now, as Kubernetes writes it.
pub(crate) fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap().to_string()
}

/// The server; clones share it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) store: Arc<Mutex<Store>>,
    changed: Arc<watch::Sender<u64>>,
    address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { store: Arc::default(), changed: Arc::new(watch::channel(0).0), address };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let connection = listener.accept().await.unwrap().0;
                let server = serving.clone();
                tokio::spawn(async move {
                    let answer = hyper::service::service_fn(|request| server.answer(request));
                    let http = hyper::server::conn::http1::Builder::new();
                    // a client may be killed at any time
                    let _ = http.serve_connection(TokioIo::new(connection), answer).await;
                });
            }
        });
        server
    }

    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        })
        .to_string()
    }

    /// Do this with the store, and tell whoever watches.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let (done, version) = {
            let mut store = self.store.lock().unwrap();
            (work(&mut store), store.version)
        };
        self.changed.send_if_modified(|known| std::mem::replace(known, version) != version);
        done
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let path = request.uri().path().to_owned();
        let query: BTreeMap<String, String> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.replace("%3D", "=")))
            .collect();
        let method = request.method().clone();
        if query.contains_key("watch") {
            return Ok(self.watch(&path, &query));
        }
        let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let answer = self.with(|store| {
            let refuses = store.forbidden.as_deref() == Some(&path) && method == Method::GET;
            if !refuses {
                return Some(handle(store, &method, &path, &body));
            }
            let reads = store.reads.entry(path.clone()).or_default();
            *reads += 1;
            (*reads == 1)
                .then(|| status(403, "Forbidden", "no rule allows it", path.rsplit('/').next().unwrap()))
        });
        let Some((code, answer)) = answer else { return std::future::pending().await };
        let body = Full::new(Bytes::from(answer.to_string())).map_err(|never: Infallible| match never {});
        Ok(Response::builder()
            .status(StatusCode::from_u16(code).unwrap())
            .body(UnsyncBoxBody::new(body))
            .unwrap())
    }

    fn watch(&self, collection: &str, query: &BTreeMap<String, String>) -> Response<Body> {
        let name = query["fieldSelector"].strip_prefix("metadata.name=").unwrap();
        let path = format!("{collection}/{name}");
        let end = tokio::time::Instant::now() + Duration::from_secs(query["timeoutSeconds"].parse().unwrap());
        let from: u64 = query
            .get("resourceVersion")
            .map_or_else(|| self.store.lock().unwrap().version, |v| v.parse().unwrap());
        let later = stream::unfold(
            (self.clone(), self.changed.subscribe(), from),
            move |(server, mut changed, from)| {
                let path = path.clone();
                async move {
                    loop {
                        let next = {
                            let store = server.store.lock().unwrap();
                            let heard = |p: &str| p == path && !store.behind.contains_key(p);
                            store.history.iter().find(|(v, _, p, _)| *v > from && heard(p)).cloned()
                        };
                        if let Some((version, kind, _, object)) = next {
                            let line = json!({"type": kind, "object": object}).to_string() + "\n";
                            return Some((line, (server, changed, version)));
                        }
                        tokio::select! {
                            _ = changed.changed() => {}
                            () = tokio::time::sleep_until(end) => return None,
                        }
                    }
                }
            },
        );
        let lines = later.map(|line| Ok(Frame::data(Bytes::from(line))));
        Response::new(UnsyncBoxBody::new(StreamBody::new(lines)))
    }
}

fn handle(store: &mut Store, method: &Method, path: &str, body: &Value) -> (u16, Value) {
    if *method != Method::GET {
        store.changes.push(format!("{method} {}", path.split("/namespaces/").last().unwrap()));
    }
    if path.starts_with("/openapi/v3") {
        return store.described.get(path).map_or_else(unserved, |d| (200, d.clone()));
    }
    let parts: Vec<&str> = path.split('/').collect();
    let is_collection = parts.len() == if parts[1] == "api" { 6 } else { 7 };
    match *method {
        Method::GET if is_collection => {
            let items = store.all(path).into_iter();
            let items: Vec<Value> = items.map(|(p, o)| store.behind.get(&p).cloned().unwrap_or(o)).collect();
            (200, json!({"items": items, "metadata": {"resourceVersion": store.version.to_string()}}))
        }
        Method::POST => {
            let name = body["metadata"]["name"].as_str().unwrap();
            let object = format!("{path}/{name}");
            if let Some(why) = store.deny.get(path) {
                let message =
                    format!("admission webhook \"validator.kubevirt.io\" denied the request: {why}");
                return status(422, "Invalid", &message, name);
            }
            if store.get(&object).is_some() {
                return status(409, "AlreadyExists", &format!("\"{name}\" already exists"), name);
            }
            (201, store.put(&object, body.clone()))
        }
        _ => one(store, method, path, body),
    }
}

fn one(store: &mut Store, method: &Method, path: &str, body: &Value) -> (u16, Value) {
    let name = path.rsplit('/').next().unwrap();
    let Some(object) = store.get(path).cloned() else {
        return status(404, "NotFound", &format!("\"{name}\" not found"), name);
    };
    let version = &body["metadata"]["resourceVersion"];
    if matches!(*method, Method::PUT | Method::PATCH)
        && !version.is_null()
        && *version != object["metadata"]["resourceVersion"]
    {
        return status(409, "Conflict", "the object has been modified", name);
    }
    match *method {
        Method::GET => {
            *store.reads.entry(path.to_owned()).or_default() += 1;
            (200, object)
        }
        Method::PUT => (200, store.put(path, body.clone())),
        Method::PATCH => {
            store.edit(path, |object| merge(object, body));
            (200, store.get(path).cloned().unwrap_or(object))
        }
        _ => {
            let wanted = &body["preconditions"]["uid"];
            if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
                let message = format!("Precondition failed: UID in precondition: {wanted}");
                return status(409, "Conflict", &message, name);
            }
            store.delete(path);
            (200, json!({"kind": "Status", "status": "Success"}))
        }
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

fn unserved() -> (u16, Value) {
    (
        404,
        json!({"kind": "Status", "status": "Failure", "message": "the server could not find the requested resource", "reason": "NotFound", "code": 404, "details": {}}),
    )
}

fn status(code: u16, reason: &str, message: &str, name: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code, "details": {"name": name}}),
    )
}
