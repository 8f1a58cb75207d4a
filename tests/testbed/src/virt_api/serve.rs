//! Requests come in over TLS; each is answered from what the API server holds.

use std::{convert::Infallible, io, net::SocketAddr, path::Path, pin::Pin, sync::Arc};

use anyhow::Result;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use openssl::ssl::{Ssl, SslAcceptor};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::{GROUP, admission, power};
use crate::{control_plane, standin::Objects};

pub(super) fn run(
    acceptor: SslAcceptor,
    kubeconfig: &Path,
    ready: oneshot::Sender<Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let begun = async {
            let objects = Objects::new(control_plane::client(kubeconfig).await?);
            anyhow::Ok((objects, TcpListener::bind(("127.0.0.1", 0)).await?))
        };
        let (objects, listener) = match begun.await {
            Ok(begun) => begun,
            Err(error) => return drop(ready.send(Err(error))),
        };
        // Whoever waits for the address may have given up.
        let _ = ready.send(listener.local_addr().map_err(Into::into));
        let acceptor = Arc::new(acceptor);
        tokio::select! {
            () = accept(&listener, &acceptor, &objects) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: &TcpListener, acceptor: &Arc<SslAcceptor>, objects: &Objects) {
    loop {
        // One connection that cannot be accepted is its client's trouble.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, objects) = (Arc::clone(acceptor), objects.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(&acceptor, stream, objects).await {
                tracing::debug!("virt-api: {error:#}");
            }
        });
    }
}

async fn connection(acceptor: &SslAcceptor, stream: TcpStream, objects: Objects) -> Result<()> {
    let mut stream = tokio_openssl::SslStream::new(Ssl::new(acceptor.context())?, stream)?;
    Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
    let service = service_fn(move |request| {
        let objects = objects.clone();
        async move { Ok::<_, Infallible>(answer(request, &objects).await) }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// What is said to a request: a code, and a body where there is one.
pub(super) type Answer = (u16, Option<Value>);

async fn answer(request: Request<Incoming>, objects: &Objects) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path().trim_matches('/').to_owned();
    let words: Vec<_> = path.split('/').collect();
    let (code, body) = match (&parts.method, words.as_slice()) {
        (&Method::POST, ["datavolumes-mutate"]) => admission::review(&body, objects, true).await,
        (&Method::POST, [_]) => admission::review(&body, objects, false).await,
        (&Method::GET, ["apis", GROUP, "v1"]) => (200, Some(resources())),
        (&Method::GET, ["apis", GROUP]) => (200, Some(group())),
        (&Method::PUT, ["apis", GROUP, "v1", "namespaces", namespace, "virtualmachines", name, verb]) => {
            power::ask(objects, namespace, name, verb, &body).await
        }
        (_, ["apis", GROUP, "v1", "namespaces", ..]) => (405, None),
        _ => (404, None),
    };
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn resources() -> Value {
    let resources: Vec<_> = ["start", "stop", "restart"]
        .iter()
        .map(|verb| {
            json!({
                "name": format!("virtualmachines/{verb}"), "singularName": "", "namespaced": true, "kind": "", "verbs": null,
            })
        })
        .collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/v1"), "resources": resources })
}

fn group() -> Value {
    let version = json!({ "groupVersion": format!("{GROUP}/v1"), "version": "v1" });
    json!({ "kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version })
}
