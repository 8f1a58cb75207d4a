//! An API server in memory: objects, watches, changes with their preconditions. It knows no schema and no admission.

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
/// Answers a `PUT` of a subresource: machine, verb, body.
type Verbs = Arc<dyn Fn(&World, &str, &str, &Value) -> (u16, String) + Send + Sync>;

const SUBRESOURCES: &str = "/apis/subresources.kubevirt.io/v1/";

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Type, path and object by version.
    history: Vec<(u64, &'static str, String, Value)>,
    version: u64,
    /// Every request that changes something: method, path, body.
    changes: Vec<(Method, String, Value)>,
    /// Every object that was read, a watch left out.
    reads: Vec<String>,
    /// Watches tell nothing of these.
    mute: Vec<&'static str>,
}

/// The server; clones share it.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    verbs: Arc<Mutex<Option<Verbs>>>,
    address: SocketAddr,
}

impl World {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = Self {
            state: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
            verbs: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let server = world.clone();
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let server = server.clone();
                tokio::spawn(async move {
                    let answer = hyper::service::service_fn(|request| server.answer(request));
                    // a client may go away when it likes
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), answer)
                        .await;
                });
            }
        });
        world
    }

    pub(crate) fn on_verb(
        &self,
        verbs: impl Fn(&Self, &str, &str, &Value) -> (u16, String) + Send + Sync + 'static,
    ) {
        *self.verbs.lock().unwrap() = Some(Arc::new(verbs));
    }

    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {"token": "token"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        })
        .to_string()
    }

    /// The changes that were asked for, as `METHOD last/part body`, refreshes and Leases left out.
    pub(crate) fn changes(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let told = |(method, path, body): &(Method, String, Value)| {
            let last: Vec<_> = path.rsplit('/').take(2).collect();
            format!("{method} {}/{} {body}", last[1], last[0])
        };
        let ours = |(_, path, _): &&(Method, String, Value)| {
            !path.contains("/leases") && !path.contains("/applications/")
        };
        state.changes.iter().filter(ours).map(told).collect()
    }

    /// How often this object was read.
    pub(crate) fn reads(&self, path: &str) -> usize {
        self.state.lock().unwrap().reads.iter().filter(|read| *read == path).count()
    }

    /// Let the watches of these objects fall behind, and those of others catch up.
    pub(crate) fn mute(&self, paths: &[&'static str]) {
        self.state.lock().unwrap().mute = paths.to_vec();
        self.changed.send_modify(|_| ());
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    /// Resolves at the next change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Make, replace or take away an object in one step.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(Option<Value>) -> Option<Value>) {
        let version = {
            let mut state = self.state.lock().unwrap();
            let before = state.objects.get(path).cloned();
            let Some(mut after) = edit(before.clone()) else {
                let Some(gone) = before else { return };
                state.objects.remove(path);
                state.version += 1;
                let version = state.version;
                state.history.push((version, "DELETED", path.to_owned(), gone));
                self.changed.send_replace(version);
                return;
            };
            let same = before.as_ref() == Some(&after);
            if same {
                return;
            }
            state.version += 1;
            let version = state.version;
            after["metadata"]["resourceVersion"] = json!(version.to_string());
            let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
            state.objects.insert(path.to_owned(), after.clone());
            state.history.push((version, kind, path.to_owned(), after));
            version
        };
        self.changed.send_replace(version);
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.edit(path, |_| Some(object));
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let query: BTreeMap<String, String> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.replace("%3D", "=")))
            .collect();
        if method == Method::GET {
            if query.contains_key("watch") {
                return Ok(self.follow(&path, &query));
            }
            self.state.lock().unwrap().reads.push(path.clone());
            self.changed.send_modify(|_| ());
            return Ok(self.get(&path).map_or_else(|| missing(&path), |object| answer(200, &object)));
        }
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        self.state.lock().unwrap().changes.push((method.clone(), path.clone(), body.clone()));
        if let Some(rest) = path.strip_prefix(SUBRESOURCES) {
            let parts: Vec<_> = rest.split('/').collect();
            let verbs = self.verbs.lock().unwrap().clone().unwrap();
            let (code, words) = verbs(self, parts[3], parts[4], &body);
            return Ok(if code < 300 { answer(code, &json!({})) } else { status(code, &words, "", None) });
        }
        Ok(match method {
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.get(&path).is_some() {
                    status(409, "already exists", "AlreadyExists", None)
                } else {
                    self.put(&path, body);
                    answer(201, &self.get(&path).unwrap())
                }
            }
            Method::PUT => match self.get(&path) {
                None => missing(&path),
                Some(old) if old["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] => {
                    status(409, "the object has been modified", "Conflict", None)
                }
                Some(_) => {
                    self.put(&path, body);
                    answer(200, &self.get(&path).unwrap())
                }
            },
            Method::DELETE => {
                let wanted = &body["preconditions"]["uid"];
                match self.get(&path) {
                    None => missing(&path),
                    Some(object) if !wanted.is_null() && object["metadata"]["uid"] != *wanted => {
                        let words = format!(
                            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {}",
                            object["metadata"]["uid"]
                        );
                        status(409, &words, "Conflict", None)
                    }
                    // finalizers keep it
                    Some(mut object) => {
                        object["metadata"]["deletionTimestamp"] = json!("2026-11-21T06:00:00Z");
                        self.put(&path, object.clone());
                        answer(200, &object)
                    }
                }
            }
            // a refresh: Argo CD has compared, and the annotation is gone again
            Method::PATCH => {
                self.edit(&path, |object| {
                    let mut object = object?;
                    let count = object["status"]["count"].as_u64().unwrap_or(0) + 1;
                    object["status"]["count"] = json!(count);
                    object["status"]["reconciledAt"] = json!(format!("2026-11-21T06:00:{:02}Z", count % 60));
                    Some(object)
                });
                self.get(&path).map_or_else(|| missing(&path), |object| answer(200, &object))
            }
            _ => status(405, "no such method", "", None),
        })
    }

    fn follow(&self, collection: &str, query: &BTreeMap<String, String>) -> Response<Body> {
        let name = query["fieldSelector"].strip_prefix("metadata.name=").unwrap();
        let path = format!("{collection}/{name}");
        let end = tokio::time::Instant::now() + Duration::from_secs(query["timeoutSeconds"].parse().unwrap());
        let from: u64 = query.get("resourceVersion").map_or(0, |v| v.parse().unwrap());
        let later = stream::unfold((from, self.watch()), {
            let world = self.clone();
            move |(from, mut changed)| {
                let (world, path) = (world.clone(), path.clone());
                async move {
                    loop {
                        let next = {
                            let state = world.state.lock().unwrap();
                            let next = state.history.iter().find(|(v, _, p, _)| *v > from && *p == path);
                            next.filter(|_| !state.mute.contains(&path.as_str())).cloned()
                        };
                        if let Some((version, kind, _, object)) = next {
                            let line = json!({"type": kind, "object": object}).to_string() + "\n";
                            return Some((line, (version, changed)));
                        }
                        tokio::select! {
                            _ = changed.changed() => {}
                            () = tokio::time::sleep_until(end) => return None,
                        }
                    }
                }
            }
        });
        let lines = later.map(|line| Ok(Frame::data(Bytes::from(line))));
        Response::new(UnsyncBoxBody::new(StreamBody::new(lines)))
    }
}

fn missing(path: &str) -> Response<Body> {
    let name = path.rsplit('/').next().unwrap_or_default();
    status(404, &format!("{name} not found"), "NotFound", Some(name))
}

fn status(code: u16, message: &str, reason: &str, name: Option<&str>) -> Response<Body> {
    let details = name.map_or(json!({}), |name| json!({"name": name}));
    let object = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code, "details": details});
    answer(code, &object)
}

fn answer(code: u16, object: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(object.to_string())).map_err(|never: Infallible| match never {});
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(UnsyncBoxBody::new(body)).unwrap()
}
