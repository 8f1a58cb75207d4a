//! A login at a server over SSH, and the commands that it runs for us: libssh2, with a limit on every wait.
//!
//! One login serves any number of commands, one after the other, as long as the server keeps it.

use std::fmt;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use ssh2::{Channel, CheckResult, ErrorCode, KnownHostFileKind, MethodType, Session};
use step::Kind;

use super::pktline::cut_off;
use super::stream::{Patience, dial, in_time};
use crate::ssh::Login;
use crate::trouble::{Class, Trouble};

/// libssh2's codes (`libssh2.h`, 1.11): the server takes no key of ours; a key cannot be read.
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const FILE: i32 = -16;
const KEYFILE_AUTH_FAILED: i32 = -48;
/// How late the end of time may be seen.
const GLANCE: Duration = Duration::from_millis(250);
/// As much is read of what a command says besides its answer, in bytes, and so long is waited for it.
const COMPLAINT: usize = 4096;
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
    alarm: Alarm,
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shell")
    }
}

/// libssh2 takes its limit in milliseconds, and none at all for zero.
fn limit(session: &Session, left: Duration) {
    session.set_timeout(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1));
}

/// When the socket is shut, whatever goes on there: libssh2 looks at its limit only where the server is silent.
#[derive(Debug, Clone)]
struct Alarm(Arc<Mutex<Instant>>);

impl Alarm {
    fn set(socket: &TcpStream, until: Instant) -> io::Result<Self> {
        let (socket, until) = (socket.try_clone()?, Arc::new(Mutex::new(until)));
        let watched = Arc::downgrade(&until);
        let left = |watched: &Weak<Mutex<Instant>>| {
            let until = watched.upgrade()?;
            let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
            Some(until.saturating_duration_since(Instant::now()))
        };
        std::thread::Builder::new().name("ssh-alarm".to_owned()).spawn(move || {
            while let Some(left) = left(&watched) {
                if left.is_zero() {
                    let _ = socket.shutdown(Shutdown::Both);
                    return;
                }
                std::thread::sleep(left.min(GLANCE));
            }
        })?;
        Ok(Self(until))
    }

    /// From now on a call may take as long as this.
    fn allow(&self, session: &Session, patience: Patience) -> io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = patience.until;
        limit(session, patience.left()?);
        Ok(())
    }
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
        let alarm = Alarm::set(&socket, patience.until).map_err(|error| unreachable(&error))?;
        let shell = Self { session: session.clone(), socket, alarm };
        let name = known_as(&session, place, &login.known);
        if let Some(algorithms) = algorithms(&session, &name, &login.known) {
            // a type that this libssh2 does not know is left out by it; without any the server's own choice is judged
            let _ = session.method_pref(MethodType::HostKey, &algorithms);
        }
        shell.alarm.allow(&session, patience).map_err(|error| unreachable(&error))?;
        session.handshake().map_err(|error| unreachable(&error.message()))?;
        if !is_known(&session, &name, &login.known) {
            return Err(permission(
                "its host key is not the one that `known_hosts` has for it, or it has none",
            ));
        }
        shell.alarm.allow(&session, patience).map_err(|error| unreachable(&error))?;
        let refused = match session.userauth_pubkey_memory(place.user, None, login.key.expose_secret(), None)
        {
            Ok(()) => return Ok(shell),
            Err(error) => error,
        };
        match refused.code() {
            ErrorCode::Session(AUTHENTICATION_FAILED) => Err(permission("it refuses the key")),
            // so it says of a connection that is lost as well; libssh2 has made the socket one that does not wait
            ErrorCode::Session(PUBLICKEY_UNVERIFIED) => match shell.socket.peek(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Err(permission("it refuses the key")),
                _ => Err(passing("cannot log in", &refused.message())),
            },
            ErrorCode::Session(FILE | KEYFILE_AUTH_FAILED) => {
                let why =
                    "the private key cannot be read: it has a passphrase, or is of a kind that is not known";
                Err(Trouble::new(Class::Lasting(Kind::Usage), why))
            }
            _ => Err(passing("cannot log in", &refused.message())),
        }
    }

    /// Run a command, with one more variable if the server lets us set it.
    pub(crate) fn run(
        &self,
        command: &str,
        variable: Option<(&str, &str)>,
        patience: Patience,
    ) -> io::Result<Conversation> {
        self.alarm.allow(&self.session, patience)?;
        let channel = Some(self.session.channel_session()?);
        let mut pipe = Pipe { channel, session: self.session.clone(), alarm: self.alarm.clone(), patience };
        if let Some((name, value)) = variable {
            pipe.begin()?;
            // a server that does not take it is one that does not know what it means
            let _ = pipe.channel()?.setenv(name, value);
        }
        pipe.begin()?;
        pipe.channel()?.exec(command)?;
        Ok(Conversation { stream: BufReader::with_capacity(16 * 1024, pipe) })
    }
}

impl Drop for Shell {
    /// libssh2 would take leave of the server and wait for its answer; what is half sent it would try to send until its limit.
    fn drop(&mut self) {
        limit(&self.session, Duration::ZERO);
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
        let patience = pipe.patience;
        pipe.patience = patience.at_most(AFTERWARDS);
        let mut said = Vec::new();
        // it comes behind the end of the answer, and before the command's own
        if pipe.begin().and_then(|()| Ok(pipe.channel()?.wait_close()?)).is_ok() {
            let mut part = [0; 512];
            while said.len() < COMPLAINT && pipe.begin().is_ok() {
                match pipe.channel().and_then(|channel| channel.stderr().read(&mut part)) {
                    Ok(read @ 1..) => said.extend_from_slice(part.get(..read).unwrap_or_default()),
                    _ => break,
                }
            }
        }
        pipe.patience = patience;
        let _ = pipe.begin();
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
    alarm: Alarm,
    patience: Patience,
}

impl Pipe {
    fn channel(&mut self) -> io::Result<&mut Channel> {
        self.channel.as_mut().ok_or_else(cut_off)
    }

    fn begin(&mut self) -> io::Result<()> {
        self.alarm.allow(&self.session, self.patience)
    }
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

/// What these lines say of a key under this name.
fn look_up<'a>(
    session: &Session,
    name: &str,
    lines: impl Iterator<Item = &'a String>,
    key: &[u8],
) -> Option<CheckResult> {
    let mut known = session.known_hosts().ok()?;
    for line in lines {
        // one that libssh2 does not understand says nothing
        let _ = known.read_str(line, KnownHostFileKind::OpenSSH);
    }
    Some(known.check(name, key))
}

/// The name that the server is known by: with its port, and only where nothing is known of that without it, as OpenSSH's client
/// has it (sshd(8), "`SSH_KNOWN_HOSTS` FILE FORMAT").
fn known_as(session: &Session, place: Place<'_>, lines: &[String]) -> String {
    let with_port = format!("[{}]:{}", place.name, place.port);
    // no key is this one: another one is known where there is any
    let known = look_up(session, &with_port, lines.iter(), b"\0");
    if matches!(known, Some(CheckResult::Mismatch)) { with_port } else { place.name.to_owned() }
}

fn is_known(session: &Session, name: &str, lines: &[String]) -> bool {
    let key = session.host_key().map(|(key, _)| key.to_vec()).unwrap_or_default();
    !key.is_empty() && matches!(look_up(session, name, lines.iter(), &key), Some(CheckResult::Match))
}

/// The algorithms to ask the server for: first those of keys that are known, so that it shows one, and the others behind them, for a
/// key of another kind is a wrong one and no broken connection. None where nothing is known.
fn algorithms(session: &Session, name: &str, lines: &[String]) -> Option<String> {
    const ALL: [&str; 6] = [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    ];
    let mut kinds: Vec<&str> = lines.iter().filter_map(|line| line.split_ascii_whitespace().nth(1)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let is_known = |kind: &&str| {
        let lines = lines.iter().filter(|line| line.split_ascii_whitespace().nth(1) == Some(*kind));
        matches!(look_up(session, name, lines, b"\0"), Some(CheckResult::Mismatch))
    };
    let known: Vec<&str> = kinds
        .into_iter()
        .filter(is_known)
        // an RSA key signs in three ways, of which SHA-1 is no longer taken
        .flat_map(|kind| if kind == "ssh-rsa" { vec!["rsa-sha2-512", "rsa-sha2-256"] } else { vec![kind] })
        .collect();
    let others = ALL.iter().filter(|kind| !known.contains(kind));
    (!known.is_empty()).then(|| known.iter().chain(others).copied().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use ssh2::Session;

    use super::{Place, algorithms, known_as};

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
        let of = |name, lines: &[String]| {
            let all = algorithms(&session, &known_as(&session, place(name), lines), lines);
            all.map(|all| all.split(',').map(str::to_owned).collect::<Vec<_>>())
        };
        // what is known of the port goes before what is known of the host
        let first = of("git.example.org", &lines).unwrap();
        assert_eq!((first[0].as_str(), first.len()), ("ssh-ed25519", 6));
        assert_eq!(of("git.example.org", &lines[1..]).unwrap()[..2], ["rsa-sha2-512", "rsa-sha2-256"]);
        assert_eq!(of("elsewhere", &lines).unwrap()[0], "ecdsa-sha2-nistp256");
        assert_eq!(of("nowhere", &lines), None);
    }
}
