//! A connection to a guest: the only user of libssh2. Every call ends within [`ANSWER`], whatever the guest does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster::Name;
use ssh2::{Channel, ErrorCode, ExtendedData, MethodType, Session};
use step::{Failure, Kind};

use crate::hosts::{Known, Verdict};
use crate::remote::{Answer, last};

/// A guest answers within this, or the connection counts as lost.
const ANSWER: Duration = Duration::from_secs(20);
/// As much of an answer is read, in bytes; ours has 8 KiB of output and two lines.
const LIMIT: u64 = 64 * 1024;
/// Names of private keys, as git-clone's `ssh-directory` and Secrets of type `kubernetes.io/ssh-auth` have them.
const KEYS: [&str; 4] = ["id_ed25519", "id_ecdsa", "id_rsa", "ssh-privatekey"];
/// libssh2's codes (`libssh2.h`, 1.11): the server takes no key of ours; a key cannot be read.
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const FILE: i32 = -16;

/// Where to, as whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    vm: Name,
    at: SocketAddr,
    user: String,
    keys: Vec<PathBuf>,
    known: Known,
}

/// Why a guest did not answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may at another time.
    Again(String),
    /// It will not.
    Never(Failure),
}

impl Target {
    /// With what the folder holds.
    pub(crate) fn new(
        vm: &Name,
        address: IpAddr,
        port: u16,
        user: String,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let usage = |what: String| Failure::new(Kind::Usage, what);
        let file = folder.join("known_hosts");
        let known_hosts = fs::read_to_string(&file).map_err(|error| {
            usage(format!("cannot read `{}`: {error}", file.display()))
                .hint("it holds the host keys of machines")
        })?;
        let keys: Vec<PathBuf> = KEYS.iter().map(|name| folder.join(name)).filter(|f| f.is_file()).collect();
        if keys.is_empty() {
            return Err(usage(format!("no private key in `{}`", folder.display()))
                .hint(format!("it is called `{}`", KEYS.join("`, `"))));
        }
        let known = Known::read(&known_hosts, vm, address, port);
        Ok(Self { vm: vm.clone(), at: SocketAddr::new(address, port), user, keys, known })
    }

    /// For messages.
    pub(crate) const fn at(&self) -> SocketAddr {
        self.at
    }
}

/// A guest that knows us, and that we know.
pub(crate) struct Guest {
    session: Session,
}

impl Guest {
    /// Connect, check who it is, and log in. Nothing but the protocol's own is sent to a guest that is not known.
    pub(crate) fn connect(target: &Target) -> Result<Self, Trouble> {
        let again = |what: &str, why: &dyn std::fmt::Display| {
            Trouble::Again(format!("{what} `{}` at {}: {why}", target.vm, target.at))
        };
        let unreachable = |why: &dyn std::fmt::Display| again("cannot reach the SSH server of", why);
        let stream = TcpStream::connect_timeout(&target.at, ANSWER).map_err(|e| unreachable(&e))?;
        let mut session = Session::new().map_err(|e| unreachable(&e))?;
        session.set_timeout(u32::try_from(ANSWER.as_millis()).unwrap_or(u32::MAX));
        session.set_tcp_stream(stream);
        if let Some(algorithms) = target.known.algorithms() {
            // a type that this libssh2 does not know is left out by it; without any the server's own choice is judged
            let _ = session.method_pref(MethodType::HostKey, &algorithms);
        }
        session.handshake().map_err(|e| unreachable(&e))?;
        let key = session.host_key().map(|(key, _)| key.to_vec()).unwrap_or_default();
        judge(target, &key).map_err(Trouble::Never)?;
        log_in(&session, target, &again)?;
        Ok(Self { session })
    }

    /// Run this command with this input, and read its answer.
    pub(crate) fn ask(&self, command: &str, input: &[u8]) -> Result<Answer, Trouble> {
        let again = |why: &dyn std::fmt::Display| Trouble::Again(format!("the guest does not answer: {why}"));
        let mut channel = self.session.channel_session().map_err(|e| again(&e))?;
        channel.handle_extended_data(ExtendedData::Merge).map_err(|e| again(&e))?;
        channel.exec(command).map_err(|e| again(&e))?;
        // who does not want it has said why
        let _ = channel.write_all(input).and_then(|()| channel.flush());
        let _ = channel.send_eof();
        let said = read(&mut channel).map_err(|e| again(&e))?;
        if let Some(answer) = Answer::read(&said) {
            return Ok(answer);
        }
        let _ = channel.wait_close();
        let status = channel.exit_status().unwrap_or_default();
        let text = String::from_utf8_lossy(&said).into_owned();
        let lines = last(&text.split('\n').collect::<Vec<_>>());
        let said = lines.last().map_or("it said nothing", String::as_str);
        if status == 0 && lines.is_empty() {
            // the connection ended before the command did
            return Err(again(&said));
        }
        let denied = lines.iter().any(|line| line.starts_with("sudo:"));
        let (kind, hint) = if denied {
            (
                Kind::Permission,
                "let the user run `sudo` without a password, or log in as root with `--become none`",
            )
        } else {
            (Kind::Failed, "the guest needs a POSIX shell, and `sudo` where `--become sudo` asks for it")
        };
        let what = format!("the guest does not do what it is asked, exit status {status}: {said}");
        Err(Trouble::Never(Failure::new(kind, what).hint(hint)))
    }
}

/// Everything it says, up to the limits.
fn read(channel: &mut Channel) -> std::io::Result<Vec<u8>> {
    let until = Instant::now() + ANSWER;
    let mut said = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let read = channel.read(&mut chunk)?;
        said.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if read == 0 || said.len() as u64 >= LIMIT {
            return Ok(said);
        }
        if Instant::now() >= until {
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "it does not come to an end"));
        }
    }
}

fn judge(target: &Target, key: &[u8]) -> Result<(), Failure> {
    let vm = &target.vm;
    let (what, hint) = match target.known.judge(key) {
        Verdict::Ours => return Ok(()),
        Verdict::Unknown => (
            format!("the host key of `{vm}` at {} is not known", target.at),
            format!("put it into `known_hosts` of `--ssh-directory` under the name `{vm}`"),
        ),
        Verdict::Changed => (
            format!(
                "the host key of `{vm}` at {} is not the one that `known_hosts` has for `{}`",
                target.at,
                target.known.name.as_deref().unwrap_or_default()
            ),
            "another machine may answer there: change `known_hosts` only if the machine was made anew"
                .to_owned(),
        ),
        Verdict::Revoked => (
            format!("the host key of `{vm}` at {} is revoked", target.at),
            "give the machine a new one".to_owned(),
        ),
    };
    Err(Failure::new(Kind::Permission, what).hint(hint))
}

fn log_in(
    session: &Session,
    target: &Target,
    again: &impl Fn(&str, &dyn std::fmt::Display) -> Trouble,
) -> Result<(), Trouble> {
    let mut unreadable = None;
    for key in &target.keys {
        match session.userauth_pubkey_file(&target.user, None, key, None) {
            Ok(()) => return Ok(()),
            Err(error) => match error.code() {
                ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => {}
                ErrorCode::Session(FILE) => unreadable = Some(key),
                _ => return Err(again("cannot log in to", &error)),
            },
        }
    }
    // a connection that is lost meanwhile looks like a refusal, and tells no more
    if let Err(error) = session.auth_methods(&target.user)
        && error.code() != ErrorCode::Session(AUTHENTICATION_FAILED)
    {
        return Err(again("cannot log in to", &error));
    }
    let what = match unreadable {
        Some(key) => format!("cannot use private key `{}` to log in to `{}`", key.display(), target.vm),
        None => {
            format!("`{}` at {} lets user `{}` in by none of the keys", target.vm, target.at, target.user)
        }
    };
    Err(Trouble::Never(
        Failure::new(Kind::Permission, what)
            .hint("the key has no passphrase, and its public half is in the user's `authorized_keys`"),
    ))
}
