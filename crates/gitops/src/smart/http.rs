//! One request to a server by HTTP, and its answer.

use std::io::{BufRead as _, ErrorKind, Read};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::ssl::SslConnector;
use secrecy::ExposeSecret as _;
use step::{Kind, one_line};

use super::{Failed, Service};
use crate::exchange::Link;
use crate::trouble::{Class, Trouble};
use crate::wire::http::{Body, Head};
use crate::wire::pktline::cut_off;
use crate::wire::stream::{Connection, Patience, Route};
use crate::wire::{AGENT, Error};

impl Link {
    /// One request, to `info/refs` without a body, and its answer, which `read` takes from the connection.
    pub(super) fn request<T>(
        &self,
        tls: Option<&SslConnector>,
        service: Service,
        body: Option<&[u8]>,
        until: Instant,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Failed> {
        let mut request = self.head(service, body.map(<[u8]>::len));
        request.extend(body.unwrap_or_default());
        let patience = service.patience(until);
        // what moves the branch is sent once, whatever becomes of it
        let repeatable = service == Service::Fetch || body.is_none();
        let before = |trouble| Failed::Trouble { trouble, sent: false };
        let mut kept = self.smart.state.borrow_mut().connection.take();
        let (mut connection, head) = loop {
            let used = kept.is_some();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.connect(tls, patience).map_err(before)?,
            };
            connection.allow(patience);
            let answered = match connection.send(&request) {
                Err(error) if error.kind() == ErrorKind::TimedOut => Err(error),
                sent => match (sent, connection.fill_buf()) {
                    // a server may answer before it has heard everything, and then hear no more
                    (_, Ok([_, ..])) => Ok(()),
                    (Err(error), _) | (Ok(()), Err(error)) => Err(error),
                    (Ok(()), Ok([])) => Err(cut_off()),
                },
            };
            match answered {
                Ok(()) => {}
                // a server closes a connection that was idle for a while
                Err(error) if used && repeatable && error.kind() != ErrorKind::TimedOut => continue,
                Err(error) => return Err(Failed::Answer(error.into())),
            }
            let head = Head::read(&mut connection).map_err(|error| Failed::Answer(error.into()))?;
            break (connection, head);
        };
        let mut answer = Body::new(&mut connection, &head);
        let result = match self.refused(&head, service, body.is_some()) {
            Some(trouble) => {
                // GitHub says in plain text why; a page is for a browser
                let plain = head.status != 200 && head.content_type.starts_with("text/plain");
                let words = if plain { answer.words(patience) } else { String::new() };
                let trouble = trouble.saying(&words, &self.secrets).asked_again_after(head.retry_after);
                Err(Failed::Trouble { trouble, sent: true })
            }
            None => read(&mut answer).map_err(Failed::Answer),
        };
        // what was not read to its end is in the way of what comes next
        let usable = !matches!(result, Err(Failed::Answer(_))) && answer.end(patience);
        if usable {
            self.smart.state.borrow_mut().connection = Some(connection);
        }
        result
    }

    fn connect(&self, tls: Option<&SslConnector>, patience: Patience) -> Result<Connection, Trouble> {
        let host = self.address.host();
        let route = Route {
            name: self.address.name(),
            host: &host,
            port: self.address.port(),
            proxy: self.proxy.as_deref(),
            tls,
        };
        Connection::open(&route, patience)
    }

    fn head(&self, service: Service, body: Option<usize>) -> Vec<u8> {
        let (name, path, host) = (service.name(), self.address.target(), self.address.host());
        let mut head = match body {
            None => format!("GET {path}/info/refs?service={name} HTTP/1.1\r\nCache-Control: no-cache\r\n"),
            Some(length) => format!(
                "POST {path}/{name} HTTP/1.1\r\nContent-Type: application/x-{name}-request\r\n\
                 Accept: application/x-{name}-result\r\nContent-Length: {length}\r\n"
            ),
        };
        head.extend(["Host: ", &host, "\r\nUser-Agent: ", AGENT, "\r\n"]);
        if service == Service::Fetch {
            head.push_str("Git-Protocol: version=2\r\n");
        }
        if let Some(credential) = &self.credential {
            let login = format!("{}:{}", credential.user(), credential.password().expose_secret());
            head.extend(["Authorization: Basic ", &STANDARD.encode(login), "\r\n"]);
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Why what answers is not the answer, if it is not.
    fn refused(&self, head: &Head, service: Service, body: bool) -> Option<Trouble> {
        let permission = |words: &str| Some(Trouble::new(Class::Lasting(Kind::Permission), words));
        match head.status {
            200 => {}
            401 if self.credential.is_some() => return permission("it refuses the credential"),
            401 => return permission("it asks for a credential and none for it was given"),
            300..=399 => return Some(Trouble::redirected()),
            status => return Some(Trouble::of_status(status)),
        }
        let wanted =
            format!("application/x-{}-{}", service.name(), if body { "result" } else { "advertisement" });
        let given = head.content_type.split(';').next().unwrap_or_default().trim();
        if given == wanted {
            return None;
        }
        let why = format!("what answers is not a Git server: its content type is `{}`", one_line(given, 80));
        // behind it may be one that has taken what was sent
        let pushed = service == Service::Push && body;
        Some(Trouble::new(if pushed { Class::Passing } else { Class::Lasting(Kind::Usage) }, why))
    }
}
