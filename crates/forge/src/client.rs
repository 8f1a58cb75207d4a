//! One request to the one server, and its whole answer.

use std::time::{Duration, Instant};

use gitops::{Access, Address, Secrets};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use openssl::ssl::SslConnector;
use serde_json::Value;
use step::{Failure, Kind};

use crate::answer::{self, Answer, Class, Trouble};
use crate::connect::{self, Problem};

/// A request and its answer are over within this.
const REQUEST: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes: a page of pull requests with the difference in the text of each.
const LONGEST: usize = 8 * 1024 * 1024;

/// One request: what is asked, below the API's own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// From the API's path on, with its query, such as `/repos/team/machines/pulls?per_page=20`.
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

impl Call {
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::GET, path, body: None }
    }

    pub(crate) fn send(method: Method, path: String, body: Value) -> Self {
        Self { method, path, body: Some(body) }
    }
}

/// The API of one server.
pub(crate) struct Client {
    server: Address,
    /// Before every path, such as `/api/v3`.
    prefix: String,
    proxy: Option<String>,
    trust: SslConnector,
    secrets: Secrets,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(server: Address, prefix: String, access: &Access) -> Result<Self, Failure> {
        let trust = gitops::trust(access.authorities.as_deref())?;
        let (proxy, secrets) = (access.proxy.clone(), access.secrets.clone());
        Ok(Self { server, prefix, proxy, trust, secrets })
    }

    /// Host and port, as messages name them.
    pub(crate) fn host(&self) -> String {
        self.server.host()
    }

    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Send it on a connection of its own. An answer that says no is trouble as well as none.
    pub(crate) async fn send(
        &self,
        call: &Call,
        authorization: Option<HeaderValue>,
        until: Instant,
    ) -> Result<Answer, Trouble> {
        let left = until.saturating_duration_since(Instant::now()).min(REQUEST);
        let answer = tokio::time::timeout(left, self.exchange(call, authorization)).await;
        let answer = answer.map_err(|_| Trouble::passing("no answer in time"))??;
        tracing::debug!("{} {}: {}", call.method, call.path, answer.status);
        Ok(answer)
    }

    async fn exchange(&self, call: &Call, authorization: Option<HeaderValue>) -> Result<Answer, Trouble> {
        let stream = connect::connect(&self.server, self.proxy.as_deref(), &self.trust).await;
        let stream = stream.map_err(|problem| self.unconnected(problem))?;
        let passing =
            |error: &dyn std::fmt::Display| Trouble::passing(self.secrets.redact(&error.to_string()));
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| passing(&e))?;
        // it ends with the one answer, or when the sender is dropped
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{}{}", self.prefix, call.path))
            .header(HOST, self.server.host())
            .header(USER_AGENT, concat!("vm-lifecycle-tasks/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| {
            // a name that no path can hold
            Trouble::new(Class::Lasting(Kind::Usage), e.to_string())
        })?;
        let answered = async {
            let (parts, body) = sender.send_request(request).await.map_err(|e| passing(&e))?.into_parts();
            let bytes = Limited::new(body, LONGEST).collect().await.map_err(|e| passing(&e))?.to_bytes();
            Ok((parts, bytes))
        };
        let answered = answered.await;
        connection.abort();
        let (parts, bytes) = answered?;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { status: parts.status, wait: answer::wait(&parts.headers, Timestamp::now()), body })
    }

    fn unconnected(&self, problem: Problem) -> Trouble {
        let permission = Class::Lasting(Kind::Permission);
        match problem {
            Problem::Network(words) => Trouble::passing(self.secrets.redact(&words)),
            Problem::Untrusted(why) => {
                Trouble::new(permission, format!("its certificate is not trusted: {why}"))
            }
            Problem::Proxy(status @ (401 | 403 | 407)) => {
                Trouble::new(permission, format!("the proxy answers http status {status}"))
            }
            Problem::Proxy(status) => Trouble::passing(format!("the proxy answers http status {status}")),
        }
    }
}
