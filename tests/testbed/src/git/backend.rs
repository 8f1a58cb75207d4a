//! `git http-backend` as a CGI program.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, anyhow};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Shared;
use super::repository::ENVIRONMENT;

/// Hand one request to git and gather its whole answer. The request is passed on as it arrives, so a client that dies in
/// the middle of a push dies in git's input as well; the answer is held back until it is complete, so that faults can
/// lose any part of it.
pub(super) async fn answer(
    shared: &Shared,
    user: &str,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Bytes>> {
    let mut command = Command::new("git");
    let header = |name: HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    command
        .arg("http-backend")
        .current_dir(&shared.root)
        .envs(ENVIRONMENT)
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(CONTENT_ENCODING))
        .env("REMOTE_USER", user)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if !shared.old.load(Ordering::Relaxed) {
        command.env("GIT_PROTOCOL", header(HeaderName::from_static("git-protocol")));
    }
    if let Some(peer) = parts.extensions.get::<SocketAddr>() {
        command.env("REMOTE_ADDR", peer.ip().to_string()).env("REMOTE_PORT", peer.port().to_string());
    }
    // absent for a chunked body: git then reads to its end
    if !header(CONTENT_LENGTH).is_empty() {
        command.env("CONTENT_LENGTH", header(CONTENT_LENGTH));
    }
    let mut child = command.spawn().context("cannot start `git http-backend`")?;
    let input = child.stdin.take().context("no pipe to git")?;
    // git may answer before it has read everything, so both run at once; a pipe that git closed early is no error
    let (sent, output) = tokio::join!(pass_on(body, input), child.wait_with_output());
    let output = output?;
    if !output.stderr.is_empty() {
        tracing::debug!(stderr = %String::from_utf8_lossy(&output.stderr), "git http-backend");
    }
    sent.context("the client went away")?;
    parse(&Bytes::from(output.stdout))
}

/// An error is the client's; the write side failing means that git has decided without reading on.
async fn pass_on(mut body: Incoming, mut input: tokio::process::ChildStdin) -> Result<()> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if input.write_all(&data).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A CGI answer: header lines, an empty line, the body. `Status` is 200 where it is not given.
fn parse(output: &Bytes) -> Result<Response<Bytes>> {
    let end =
        output.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| anyhow!("git sent no header"))?;
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end])?.lines() {
        let (name, value) = line.split_once(':').context("git sent a header without a colon")?;
        let value = value.trim();
        response = if name.eq_ignore_ascii_case("status") {
            response.status(value.split(' ').next().unwrap_or_default().parse::<u16>()?)
        } else {
            response.header(name, HeaderValue::from_str(value)?)
        };
    }
    Ok(response.body(output.slice(end + 4..))?)
}
