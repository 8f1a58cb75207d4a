//! libgit2's process-wide settings, and the turn to use them.
//!
//! Timeouts, trusted certificates and configuration paths are C globals of libgit2. They are set here and nowhere else, and
//! only while [`TURN`] is held, which every exchange with a server holds as well: nobody reads them meanwhile.

#![expect(
    unsafe_code,
    reason = "git2 marks the setters of C globals as unsafe; `TURN` is what makes them sound"
)]

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use git2::{ConfigLevel, Error, opts};

static TURN: Mutex<Globals> = Mutex::new(Globals { hermetic: false, trusted: BTreeSet::new() });

struct Globals {
    hermetic: bool,
    trusted: BTreeSet<PathBuf>,
}

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A server that falls silent over SSH is waited for where it should have answered, and three times more, as long each, for its
/// goodbye: libgit2 (1.9, `ssh_stream_free`) closes the channel and frees channel and session, and libssh2 (1.11, `channel.c`,
/// `session.c`) waits in each of them.
const GOODBYES: u32 = 4;
/// However little time is left, a server that is well has so long for a step of SSH's handshake.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// The one exchange of this process with a server, as long as it is held.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, Globals>);

/// Wait for the turn. A connection may take 10 seconds and a silence `silence`, both at most `left`; over SSH a silence so much less
/// that its goodbyes are over as well. The hosts that SSH knows are those of `home`, `.ssh/known_hosts`; without one, none.
pub(crate) fn turn(silence: Duration, left: Duration, home: Option<&Path>) -> Result<Turn, Error> {
    let globals = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // zero would mean for ever
    let milliseconds = |limit: Duration| {
        let limit = limit.min(left).max(Duration::from_millis(100));
        i32::try_from(limit.as_millis()).unwrap_or(i32::MAX)
    };
    let silence = if home.is_some() { silence.min((left / GOODBYES).max(HANDSHAKE)) } else { silence };
    // SAFETY: every use of these globals is in an exchange, every exchange holds `TURN`, and so do we
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(milliseconds(CONNECT))?;
        opts::set_server_timeout_in_milliseconds(milliseconds(silence))?;
        set_home(home)?;
    }
    Ok(Turn(globals))
}

/// git2 has no setter for this one.
///
/// # Safety
///
/// As for those of git2: nobody may use the home meanwhile.
unsafe fn set_home(home: Option<&Path>) -> Result<(), Error> {
    let home = home.unwrap_or(Path::new("/nonexistent"));
    let home =
        CString::new(home.as_os_str().as_bytes()).map_err(|_| Error::from_str("a path with a zero byte"))?;
    // SAFETY: the option takes one string, which libgit2 copies
    let code = unsafe {
        libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_HOMEDIR.cast_signed(), home.as_ptr())
    };
    if code < 0 { Err(Error::last_error(code)) } else { Ok(()) }
}

/// Make the process independent of whatever Git configuration the machine or the user has, and trust one more file of
/// certificate authorities (PEM) on top of the system's, which are those of `SSL_CERT_FILE` or of the usual places.
pub(crate) fn prepare(authorities: Option<&Path>) -> Result<(), Error> {
    let mut globals = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !globals.hermetic {
        for level in [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global] {
            // SAFETY: as above; no repository is open before the first call, for opening one begins with it
            unsafe { opts::set_search_path(level, "")? };
        }
        globals.hermetic = true;
    }
    if let Some(file) = authorities
        && !globals.trusted.contains(file)
    {
        // SAFETY: as above
        unsafe { opts::set_ssl_cert_file(file)? };
        globals.trusted.insert(file.to_owned());
    }
    Ok(())
}
