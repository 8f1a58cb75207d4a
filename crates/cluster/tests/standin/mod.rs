//! A stand-in for a Kubernetes API server: objects, watches with versions, and faults on command. It knows no schema,
//! no admission and no controller; what it shows is never what a cluster showed. `wait-synced` uses it as well.

mod writes;

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

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Watch,
    Patch,
    Post,
    Put,
    Delete,
}

/// What to do instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This HTTP status, with a `Status` object of that code.
    Status(u16),
    /// The 404 of a server that does not know the kind.
    Unserved,
    /// Nothing, until the client gives up.
    Silence,
    /// An end of the connection without an answer.
    Reset,
    /// For a watch: an event of type ERROR with this code.
    Event(u16),
    /// For a watch: a good beginning and no event, ever.
    Deaf,
    /// For a watch: an end at once.
    Cut,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) verb: Verb,
    pub(crate) path: String,
}

type Hook = Arc<dyn Fn(&Standin, u32) + Send + Sync>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Type, path and object by version.
    history: Vec<(u64, &'static str, String, Value)>,
    version: u64,
    /// Verb, part of the path, what happens, and how often.
    faults: Vec<(Verb, &'static str, Fault, u32)>,
    requests: Vec<Seen>,
    refreshes: u32,
    token: Option<String>,
}

/// The server; clones share it.
#[derive(Clone)]
pub(crate) struct Standin {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    refresh: Arc<Mutex<Option<Hook>>>,
    address: SocketAddr,
    /// Raised to end all connections.
    epoch: Arc<watch::Sender<u32>>,
}

impl Standin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let standin = Self {
            state: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
            refresh: Arc::default(),
            address: listener.local_addr().unwrap(),
            epoch: Arc::new(watch::channel(0).0),
        };
        standin.serve(listener);
        standin
    }

    /// A kubeconfig for it.
    pub(crate) fn kubeconfig(&self, token: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        })
        .to_string()
    }

    /// Refuse every token but this one.
    pub(crate) fn only_token(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.to_owned());
    }

    /// End all connections and refuse new ones.
    pub(crate) fn stop(&self) {
        self.epoch.send_modify(|e| *e += 1);
    }

    /// Accept connections again, on the same port.
    pub(crate) async fn restart(&self) {
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return self.serve(listener),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Do this instead of answering, for the next `times` requests of this verb.
    pub(crate) fn fault(&self, verb: Verb, fault: Fault, times: u32) {
        self.fault_at("", verb, fault, times);
    }

    /// The same, for paths that hold this part.
    pub(crate) fn fault_at(&self, part: &'static str, verb: Verb, fault: Fault, times: u32) {
        self.state.lock().unwrap().faults.push((verb, part, fault, times));
    }

    /// Called at each refresh of an Application, with the number of refreshes so far. The annotation is gone already.
    pub(crate) fn on_refresh(&self, hook: impl Fn(&Self, u32) + Send + Sync + 'static) {
        *self.refresh.lock().unwrap() = Some(Arc::new(hook));
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    /// Make or replace an object.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let version = {
            let mut state = self.state.lock().unwrap();
            state.version += 1;
            let version = state.version;
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            let kind = if state.objects.insert(path.to_owned(), object.clone()).is_some() {
                "MODIFIED"
            } else {
                "ADDED"
            };
            state.history.push((version, kind, path.to_owned(), object));
            version
        };
        self.changed.send_replace(version);
    }

    pub(crate) fn delete(&self, path: &str) {
        let version = {
            let mut state = self.state.lock().unwrap();
            state.version += 1;
            let version = state.version;
            let Some(object) = state.objects.remove(path) else { return };
            state.history.push((version, "DELETED", path.to_owned(), object));
            version
        };
        self.changed.send_replace(version);
    }

    fn serve(&self, listener: TcpListener) {
        let standin = self.clone();
        let mut end = self.epoch.subscribe();
        tokio::spawn(async move {
            loop {
                let connection = tokio::select! {
                    connection = listener.accept() => connection.unwrap().0,
                    _ = end.changed() => return,
                };
                let (standin, mut end) = (standin.clone(), end.clone());
                tokio::spawn(async move {
                    let answer = hyper::service::service_fn(|request| standin.answer(request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), answer);
                    tokio::select! {
                        // a client may go away when it likes
                        _ = connection => {}
                        _ = end.changed() => {}
                    }
                });
            }
        });
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
        let verb = match *request.method() {
            Method::PATCH => Verb::Patch,
            Method::POST => Verb::Post,
            Method::PUT => Verb::Put,
            Method::DELETE => Verb::Delete,
            _ if query.contains_key("watch") => Verb::Watch,
            _ => Verb::Get,
        };
        let authorization = request
            .headers()
            .get("authorization")
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(Seen { verb, path: path.clone() });
            if state.token.as_ref().is_some_and(|t| authorization != format!("Bearer {t}")) {
                return Ok(status(401, "Unauthorized", None));
            }
            let meets = |v: Verb, part: &str| v == verb && path.contains(part);
            let due = state.faults.iter_mut().find(|(v, part, _, times)| *times > 0 && meets(*v, part));
            due.map(|(_, _, fault, times)| {
                *times -= 1;
                *fault
            })
        };
        match fault {
            Some(Fault::Status(code)) => return Ok(status(code, "injected", None)),
            Some(Fault::Unserved) => {
                return Ok(status(404, "the server could not find the requested resource", None));
            }
            Some(Fault::Silence) => return std::future::pending().await,
            Some(Fault::Reset) => return Err(std::io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        if verb == Verb::Watch {
            return Ok(self.watch(&path, &query, fault));
        }
        let json_patch =
            request.headers().get("content-type").is_some_and(|t| t == "application/json-patch+json");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if verb == Verb::Post {
            return Ok(self.create(&path, body));
        }
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(mut object) = self.get(&path) else {
            return Ok(status(404, &format!("{name} not found"), Some(&name)));
        };
        if verb == Verb::Put {
            return Ok(self.replace(&path, &object, body));
        }
        if verb == Verb::Delete {
            self.delete(&path);
            return Ok(answer(200, &object));
        }
        if json_patch {
            return Ok(match writes::patched(object, &body) {
                Some(object) => {
                    self.put(&path, object.clone());
                    answer(200, &object)
                }
                None => status(422, "the server rejected our request due to an error in our request", None),
            });
        }
        if verb == Verb::Patch {
            assert_eq!(body, json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}));
            object["metadata"]["annotations"]["argocd.argoproj.io/refresh"] = json!("normal");
            self.put(&path, object.clone());
            let count = {
                let mut state = self.state.lock().unwrap();
                state.refreshes += 1;
                state.refreshes
            };
            if let Some(mut taken) = self.get(&path) {
                taken["metadata"]["annotations"]
                    .as_object_mut()
                    .unwrap()
                    .remove("argocd.argoproj.io/refresh");
                self.put(&path, taken);
            }
            let hook = self.refresh.lock().unwrap().clone();
            if let Some(hook) = hook {
                hook(self, count);
            }
        }
        Ok(answer(200, &object))
    }

    fn watch(
        &self,
        collection: &str,
        query: &BTreeMap<String, String>,
        fault: Option<Fault>,
    ) -> Response<Body> {
        let name = query["fieldSelector"].strip_prefix("metadata.name=").unwrap();
        let path = format!("{collection}/{name}");
        let end = tokio::time::Instant::now() + Duration::from_secs(query["timeoutSeconds"].parse().unwrap());
        let (from, first) = if let Some(version) = query.get("resourceVersion") {
            (version.parse().unwrap(), None)
        } else {
            let state = self.state.lock().unwrap();
            (state.version, state.objects.get(&path).map(|o| line("ADDED", o)))
        };
        let first = match fault {
            Some(Fault::Event(code)) => {
                Some(line("ERROR", &status_object(code, "too old resource version", None)))
            }
            _ => first,
        };
        let (deaf, once) = (fault == Some(Fault::Deaf), matches!(fault, Some(Fault::Cut | Fault::Event(_))));
        let (standin, changed) = (self.clone(), self.changed.subscribe());
        let later = stream::unfold((from, changed), move |(from, mut changed)| {
            let (standin, path) = (standin.clone(), path.clone());
            async move {
                loop {
                    let next = {
                        let state = standin.state.lock().unwrap();
                        state.history.iter().find(|(v, _, p, _)| *v > from && *p == path && !deaf).cloned()
                    };
                    if let Some((version, kind, _, object)) = next {
                        return Some((line(kind, &object), (version, changed)));
                    }
                    tokio::select! {
                        _ = changed.changed() => {}
                        () = tokio::time::sleep_until(end) => return None,
                    }
                }
            }
        });
        let later = if once { stream::empty().boxed() } else { later.boxed() };
        let lines = stream::iter(first).chain(later).map(|line| Ok(Frame::data(Bytes::from(line))));
        Response::new(UnsyncBoxBody::new(StreamBody::new(lines)))
    }
}

fn line(kind: &str, object: &Value) -> String {
    json!({"type": kind, "object": object}).to_string() + "\n"
}

fn status_object(code: u16, message: &str, name: Option<&str>) -> Value {
    let details = name.map_or(json!({}), |name| json!({"name": name}));
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "Injected", "code": code, "details": details})
}

fn status(code: u16, message: &str, name: Option<&str>) -> Response<Body> {
    answer(code, &status_object(code, message, name))
}

fn answer(code: u16, object: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(object.to_string())).map_err(|never: Infallible| match never {});
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(UnsyncBoxBody::new(body)).unwrap()
}
