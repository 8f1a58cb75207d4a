//! A login at a server over SSH, and the commands that it runs for us: libssh2, with a limit on every wait.
//!
//! One login serves any number of commands, one after the other, as long as the server keeps it.

use std::fmt;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use ssh2::{Channel, CheckResult, ErrorCode, KnownHostFileKind, MethodType, Session};
use step::Kind;

use super::pktline::cut_off;
use super::stream::{Patience, dial, timed_out};
use crate::ssh::Login;
use crate::trouble::{Class, Trouble};

/// libssh2's codes (`libssh2.h`, 1.11): the server takes no key of ours; a key cannot be read.
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const FILE: i32 = -16;
/// As much is read of what a command says besides its answer, in bytes, and so long is waited for it.
const COMPLAINT: u64 = 4096;
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Where to, as whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// A name or an IP address, without brackets.
    pub(crate) name: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
}

/// A login.
pub(crate) struct Shell {
    session: Session,
    socket: TcpStream,
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shell")
    }
}

/// libssh2 takes its limit in milliseconds, and none at all for zero.
fn allow(session: &Session, left: Duration) {
    session.set_timeout(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1));
}

impl Shell {
    /// Connect, check who it is, and log in. Nothing but the protocol's own is sent to a server that is not known.
    pub(crate) fn open(place: Place<'_>, login: &Login, patience: Patience) -> Result<Self, Trouble> {
        let passing =
            |what: &str, why: &dyn fmt::Display| Trouble::new(Class::Passing, format!("{what}: {why}"));
        let permission = |words: &str| Trouble::new(Class::Lasting(Kind::Permission), words);
        let socket = dial(place.name, place.port, patience)?;
        let unreachable = |why: &dyn fmt::Display| passing("SSH handshake", why);
        let mut session = Session::new().map_err(|error| unreachable(&error.message()))?;
        let own = socket.try_clone().map_err(|error| unreachable(&error))?;
        session.set_tcp_stream(own);
        let shell = Self { session: session.clone(), socket };
        if let Some(algorithms) = algorithms(&session, place, &login.known) {
            // a type that this libssh2 does not know is left out by it; without any the server's own choice is judged
            let _ = session.method_pref(MethodType::HostKey, &algorithms);
        }
        allow(&session, patience.left().map_err(|error| unreachable(&error))?);
        session.handshake().map_err(|error| unreachable(&error.message()))?;
        if !is_known(&session, place, &login.known) {
            return Err(permission(
                "its host key is not the one that `known_hosts` has for it, or it has none",
            ));
        }
        allow(&session, patience.left().map_err(|error| unreachable(&error))?);
        let refused = match session.userauth_pubkey_memory(place.user, None, login.key.expose_secret(), None)
        {
            Ok(()) => return Ok(shell),
            Err(error) => error,
        };
        match refused.code() {
            ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => {}
            ErrorCode::Session(FILE) => {
                let why =
                    "the private key cannot be read: it has a passphrase, or is of a kind that is not known";
                return Err(Trouble::new(Class::Lasting(Kind::Usage), why));
            }
            _ => return Err(passing("cannot log in", &refused.message())),
        }
        // a connection that is lost meanwhile looks like a refusal, and tells no more
        match session.auth_methods(place.user) {
            Err(error) if error.code() != ErrorCode::Session(AUTHENTICATION_FAILED) => {
                Err(passing("cannot log in", &error.message()))
            }
            _ => Err(permission("it refuses the key")),
        }
    }

    /// Run a command, with one more variable if the server lets us set it.
    pub(crate) fn run(
        &self,
        command: &str,
        variable: Option<(&str, &str)>,
        patience: Patience,
    ) -> io::Result<Conversation> {
        allow(&self.session, patience.left()?);
        let channel = self.session.channel_session()?;
        let mut pipe = Pipe { channel: Some(channel), session: self.session.clone(), patience };
        if let Some((name, value)) = variable {
            // a server that does not take it is one that does not know what it means
            let _ = pipe.channel()?.setenv(name, value);
        }
        allow(&self.session, patience.left()?);
        pipe.channel()?.exec(command)?;
        Ok(Conversation { stream: BufReader::with_capacity(16 * 1024, pipe) })
    }
}

impl Drop for Shell {
    /// libssh2 would take leave of the server and wait for its answer, without an end where it is silent.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// What a command says and is told.
pub(crate) struct Conversation {
    stream: BufReader<Pipe>,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversation")
    }
}

impl Conversation {
    /// From now on this is how long it may take.
    pub(crate) fn allow(&mut self, patience: Patience) {
        self.stream.get_mut().patience = patience;
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// What it has said besides its answer, once that has ended; empty where that is nothing.
    pub(crate) fn complaint(&mut self) -> String {
        let pipe = self.stream.get_mut();
        allow(&pipe.session, AFTERWARDS.min(pipe.patience.left().unwrap_or_default()));
        let Ok(channel) = pipe.channel() else { return String::new() };
        // it comes behind the end of the answer, and before the command's own
        let _ = channel.wait_close();
        let mut said = Vec::new();
        let _ = channel.stderr().take(COMPLAINT).read_to_end(&mut said);
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}

impl Read for Conversation {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

struct Pipe {
    /// Taken when dropped.
    channel: Option<Channel>,
    session: Session,
    patience: Patience,
}

impl Pipe {
    fn channel(&mut self) -> io::Result<&mut Channel> {
        self.channel.as_mut().ok_or_else(cut_off)
    }

    fn begin(&mut self) -> io::Result<()> {
        allow(&self.session, self.patience.left()?);
        Ok(())
    }
}

/// libssh2 says that time is up in words of its own.
fn in_time(error: io::Error, verb: &str) -> io::Error {
    if error.kind() == ErrorKind::TimedOut { timed_out(verb) } else { error }
}

impl Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.begin()?;
        match self.channel()?.read(bytes) {
            // each answer tells its own end
            Ok(0) if !bytes.is_empty() => Err(cut_off()),
            Err(error) => Err(in_time(error, "read from")),
            read => read,
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        self.channel()?.write(bytes).map_err(|error| in_time(error, "write to"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pipe {
    /// Whatever the command still has to do, nobody waits for it.
    fn drop(&mut self) {
        self.session.set_blocking(false);
        if let Some(mut channel) = self.channel.take() {
            let _ = channel.close();
        }
        self.session.set_blocking(true);
    }
}

/// What these lines say of a key of this server. Those that libssh2 does not understand say nothing.
fn look_up<'a>(
    session: &Session,
    place: Place<'_>,
    lines: impl Iterator<Item = &'a String>,
    key: &[u8],
) -> Option<CheckResult> {
    let mut known = session.known_hosts().ok()?;
    for line in lines {
        let _ = known.read_str(line, KnownHostFileKind::OpenSSH);
    }
    Some(known.check_port(place.name, place.port, key))
}

fn is_known(session: &Session, place: Place<'_>, lines: &[String]) -> bool {
    let key = session.host_key().map(|(key, _)| key.to_vec()).unwrap_or_default();
    !key.is_empty() && matches!(look_up(session, place, lines.iter(), &key), Some(CheckResult::Match))
}

/// The algorithms to ask the server for, so that it shows a key that is known; none where nothing is.
fn algorithms(session: &Session, place: Place<'_>, lines: &[String]) -> Option<String> {
    let mut kinds: Vec<&str> = lines.iter().filter_map(|line| line.split_ascii_whitespace().nth(1)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of = |kind: &str| {
        let lines = lines.iter().filter(|line| line.split_ascii_whitespace().nth(1) == Some(kind));
        // no key is this one: another one is known where there is any
        matches!(look_up(session, place, lines, b"\0"), Some(CheckResult::Mismatch))
    };
    let known: Vec<&str> = kinds
        .into_iter()
        .filter(|kind| of(kind))
        // an RSA key signs in three ways, of which SHA-1 is no longer taken
        .flat_map(|kind| if kind == "ssh-rsa" { vec!["rsa-sha2-512", "rsa-sha2-256"] } else { vec![kind] })
        .collect();
    (!known.is_empty()).then(|| known.join(","))
}

#[cfg(test)]
mod tests {
    use ssh2::Session;

    use super::{Place, algorithms};

    #[test]
    fn a_server_is_asked_for_keys_that_are_known() {
        let session = Session::new().unwrap();
        let place = |name| Place { name, port: 7999, user: "git" };
        let lines = [
            "[git.example.org]:7999 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxZ8GvTfJc7qcTtFPDSmVpMsiFhhSTDcVbNLCqM8ek7",
            "other,git.example.org ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7",
            "elsewhere ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY=",
        ]
        .map(str::to_owned);
        let of = |name, lines: &[String]| algorithms(&session, place(name), lines);
        assert_eq!(of("git.example.org", &lines).unwrap(), "ssh-ed25519,rsa-sha2-512,rsa-sha2-256");
        assert_eq!(of("git.example.org", &lines[..1]).unwrap(), "ssh-ed25519");
        assert_eq!(of("elsewhere", &lines).unwrap(), "ecdsa-sha2-nistp256");
        assert_eq!(of("nowhere", &lines), None);
    }
}
