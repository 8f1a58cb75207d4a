//! A small web server for files, such as the disk images that CDI imports.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
pub use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves whole files and byte ranges (nbdkit, which CDI imports with, reads ranges) until it is dropped.
#[derive(Debug)]
pub struct Files {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Files {
    /// Serve `files`, by name, on a free port of `address`.
    pub async fn serve(address: IpAddr, files: BTreeMap<String, Bytes>) -> Result<Self> {
        let listener =
            TcpListener::bind((address, 0)).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let files = Arc::new(files);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let files = Arc::clone(&files);
                let answer = service_fn(move |request| {
                    let answer = answer(&files, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // a client that hangs up ends its own connection only
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        Ok(Self { address, task })
    }

    /// The address of one file.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(files: &BTreeMap<String, Bytes>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    };
    let Some(file) = files.get(request.uri().path().trim_start_matches('/')) else {
        return plain(StatusCode::NOT_FOUND);
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let asked =
        request.headers().get(header::RANGE).and_then(|v| v.to_str().ok()).and_then(|v| range(v, file.len()));
    let (status, from, to) =
        asked.map_or((StatusCode::OK, 0, file.len()), |(a, b)| (StatusCode::PARTIAL_CONTENT, a, b));
    let mut response = plain(status);
    let number = |n: usize| header::HeaderValue::from(n as u64);
    response.headers_mut().insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {from}-{}/{}", to - 1, file.len()).parse()
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, number(to - from));
    if request.method() == Method::GET {
        *response.body_mut() = Full::new(file.slice(from..to));
    }
    response
}

/// `bytes=A-B` or `bytes=A-` as a half-open range within `length`; nothing else is understood, and then all is sent.
fn range(value: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let to = if to.is_empty() { length } else { to.parse::<usize>().ok()?.checked_add(1)?.min(length) };
    (from < to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges() {
        for (value, wanted) in [
            ("bytes=0-3", Some((0, 4))),
            ("bytes=2-", Some((2, 10))),
            ("bytes=8-99", Some((8, 10))),
            ("bytes=10-", None),
            ("bytes=-3", None),
            ("bytes=0-1,4-5", None),
        ] {
            assert_eq!(super::range(value, 10), wanted, "{value}");
        }
    }
}
