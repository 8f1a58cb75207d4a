//! Connections, authentication and faults around the backend.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, channel::Channel};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use openssl::ssl::Ssl;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::backend;
use super::fault::{Ending, Fault, On};
use super::forge::State;
use super::repository::{ENVIRONMENT, Repository};
use super::{NAME, Seen, Shared, USER, lock, tls::Identity};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Serve until told to stop. Connections end with the runtime, which ends with this thread.
pub(super) fn run(
    shared: &Arc<Shared>,
    address: IpAddr,
    identity: Option<Identity>,
    ready: oneshot::Sender<io::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let listener = match TcpListener::bind((address, 0)).await {
            Ok(listener) => listener,
            Err(error) => return drop(ready.send(Err(error))),
        };
        // whoever waits for the address may have given up
        let _ = ready.send(listener.local_addr());
        tokio::select! {
            () = accept(shared, listener, identity.map(Arc::new)) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(shared: &Arc<Shared>, listener: TcpListener, identity: Option<Arc<Identity>>) {
    loop {
        // one connection that cannot be accepted is its client's trouble
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (shared, identity) = (Arc::clone(shared), identity.clone());
        tokio::spawn(async move {
            // a client that breaks off is part of the tests
            if let Err(error) = connection(&shared, stream, identity.as_deref()).await {
                tracing::debug!(%error, "connection");
            }
        });
    }
}

async fn connection(
    shared: &Arc<Shared>,
    stream: TcpStream,
    identity: Option<&Identity>,
) -> anyhow::Result<()> {
    let handle = Arc::new(Handle::new(&stream)?);
    let service = service_fn({
        let shared = Arc::clone(shared);
        move |request| request_answer(Arc::clone(&shared), Arc::clone(&handle), request)
    });
    let builder = http1::Builder::new();
    match identity {
        None => builder.serve_connection(TokioIo::new(stream), service).await?,
        Some(identity) => {
            let ssl = Ssl::new(identity.acceptor.context())?;
            let mut stream = tokio_openssl::SslStream::new(ssl, stream)?;
            Pin::new(&mut stream).accept().await?;
            builder.serve_connection(TokioIo::new(stream), service).await?;
        }
    }
    Ok(())
}

/// The connection's socket once more, to reset it from within an answer.
struct Handle {
    socket: rustix::fd::OwnedFd,
    peer: SocketAddr,
}

impl Handle {
    fn new(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self { socket: rustix::io::dup(stream)?, peer: stream.peer_addr()? })
    }

    /// Make the coming close a reset.
    fn reset(&self) -> io::Error {
        let zero = Some(Duration::ZERO);
        match rustix::net::sockopt::set_socket_linger(&self.socket, zero) {
            Ok(()) => io::ErrorKind::ConnectionReset.into(),
            Err(error) => error.into(),
        }
    }
}

/// An error ends the connection without another byte.
async fn request_answer(
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(handle.peer);
    if let Some(forge) = &shared.forge {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        match path.strip_prefix(forge.dialect.repository()).filter(|rest| rest.starts_with('/')) {
            // for Git it is under the one name that it has on disk
            Some(rest) => parts.uri = format!("/{NAME}{rest}").parse().map_err(io::Error::other)?,
            None => return api(&shared, forge, &handle, &parts, body).await,
        }
    }
    let Some(on) = purpose(&parts) else { return Ok(plain(StatusCode::NOT_FOUND)) };
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    shared.received.fetch_add(length.unwrap_or(0), Ordering::Relaxed);
    let authorization = parts.headers.contains_key(AUTHORIZATION);
    lock(&shared.seen).push(Seen { on, authorization });
    // a client asks without credentials first; a fault is for the request that counts
    let Some(user) = user(&shared, &parts) else {
        let mut response = plain(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"git\""));
        return Ok(response);
    };
    shared.gate.pass(user, on).await;
    let fault = {
        let mut faults = lock(&shared.faults);
        faults.iter().position(|(at, _)| *at == on).map(|n| faults.remove(n).1)
    };
    match fault {
        None => git(&shared, parts, body).await.map(whole),
        Some(Fault::Status(code, retry_after)) => {
            // a client that still sends would miss the answer; that is `Reset`
            body.collect().await.map_err(io::Error::other)?;
            let mut response = plain(StatusCode::from_u16(code).map_err(io::Error::other)?);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Ok(response)
        }
        Some(Fault::Says(code, words)) => {
            body.collect().await.map_err(io::Error::other)?;
            let mut response = Response::new(Bytes::from_static(words.as_bytes()));
            *response.status_mut() = StatusCode::from_u16(code).map_err(io::Error::other)?;
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            Ok(whole(response))
        }
        Some(Fault::Reset) => Err(handle.reset()),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Redirect(code, to)) => {
            body.collect().await.map_err(io::Error::other)?;
            let to = format!("{to}{}", parts.uri.path_and_query().map_or("", |p| p.as_str()));
            let mut response = plain(StatusCode::from_u16(code).map_err(io::Error::other)?);
            response.headers_mut().insert(LOCATION, HeaderValue::from_str(&to).map_err(io::Error::other)?);
            Ok(response)
        }
        Some(Fault::Meanwhile(arguments)) => {
            let mut command = tokio::process::Command::new("git");
            let status =
                command.args(arguments).current_dir(shared.root.join(NAME)).envs(ENVIRONMENT).status();
            if !status.await?.success() {
                return Err(io::Error::other("git fails"));
            }
            git(&shared, parts, body).await.map(whole)
        }
        Some(Fault::Drip) => git(&shared, parts, body).await.map(drip),
        Some(Fault::Late(time)) => {
            tokio::time::sleep(time).await;
            git(&shared, parts, body).await.map(whole)
        }
        Some(Fault::Locked) => {
            let lock = shared.root.join(NAME).join("refs/heads/main.lock");
            std::fs::write(&lock, "")?;
            let answer = git(&shared, parts, body).await;
            std::fs::remove_file(&lock)?;
            answer.map(whole)
        }
        Some(Fault::Accepted(ending)) => lose(git(&shared, parts, body).await?, ending, &handle).await,
    }
}

/// A request to the API of the forge.
async fn api(
    shared: &Shared,
    forge: &State,
    handle: &Handle,
    parts: &Parts,
    body: Incoming,
) -> io::Result<Response<Body>> {
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let repository = Repository::at(shared.root.join(NAME));
    let reply = forge.answer(parts, &body, &repository, &shared.password).map_err(io::Error::other)?;
    let Some((status, headers, body)) = reply else { return Err(handle.reset()) };
    let mut response = Response::new(Bytes::from(body.to_string()));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(whole(response))
}

fn purpose(parts: &Parts) -> Option<On> {
    let path = parts.uri.path().strip_prefix('/')?.strip_prefix(NAME)?;
    match (path, parts.uri.query()) {
        ("/info/refs", Some("service=git-upload-pack")) => Some(On::FetchRefs),
        ("/info/refs", Some("service=git-receive-pack")) => Some(On::PushRefs),
        ("/git-upload-pack", _) => Some(On::Fetch),
        ("/git-receive-pack", _) => Some(On::Push),
        _ => None,
    }
}

/// The user of a request with the right password.
fn user(shared: &Shared, parts: &Parts) -> Option<String> {
    let given = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let login = String::from_utf8(openssl::base64::decode_block(given).ok()?).ok()?;
    let (user, password) = login.split_once(':')?;
    let token = shared.forge.as_ref().is_some_and(|forge| forge.has_token(password));
    (password == shared.password || token).then(|| user.to_owned())
}

/// Git's answer. It works to its end even if the client goes away: that is how a push lands without its sender knowing.
async fn git(shared: &Arc<Shared>, parts: Parts, body: Incoming) -> io::Result<Response<Bytes>> {
    let (sent, shared) = (shared, Arc::clone(shared));
    let work = tokio::spawn(async move { backend::answer(&shared, USER, &parts, body).await });
    let answer = work.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    sent.sent.fetch_add(answer.body().len() as u64, Ordering::Relaxed);
    Ok(answer)
}

fn whole(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    whole(response)
}

fn drip(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| {
        let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
        tokio::spawn(async move {
            for at in 0..bytes.len() {
                // a client that has left ends it
                if sender.send_data(bytes.slice(at..=at)).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        body.boxed_unsync()
    })
}

/// Git has answered; the client does not hear it.
async fn lose(response: Response<Bytes>, ending: Ending, handle: &Handle) -> io::Result<Response<Body>> {
    let (mut parts, bytes) = response.into_parts();
    match ending {
        Ending::Reset => Err(handle.reset()),
        Ending::Close => Err(io::ErrorKind::ConnectionAborted.into()),
        Ending::Empty => Ok(whole(Response::from_parts(parts, Bytes::new()))),
        Ending::BadGateway => Ok(plain(StatusCode::BAD_GATEWAY)),
        Ending::Silence => std::future::pending().await,
        Ending::Half => {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
            tokio::spawn(async move {
                let half = bytes.slice(..bytes.len() / 2);
                // the client may be gone, which is the same to it
                if sender.send_data(half).await.is_ok() {
                    sender.abort(io::ErrorKind::ConnectionAborted.into());
                }
            });
            Ok(Response::from_parts(parts, body.boxed_unsync()))
        }
    }
}
