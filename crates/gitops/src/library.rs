//! libgit2's process-wide settings, and the turn to use them.
//!
//! Timeouts, trusted certificates and configuration paths are C globals of libgit2. They are set here and nowhere else, and
//! only while [`TURN`] is held, which every exchange with a server holds as well: nobody reads them meanwhile.

#![expect(
    unsafe_code,
    reason = "git2 marks the setters of C globals as unsafe; `TURN` is what makes them sound"
)]

use std::collections::BTreeSet;
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

/// The one exchange of this process with a server, as long as it is held.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, Globals>);

/// Wait for the turn. A connection may take 10 seconds and a silence `silence`, both at most `left`.
pub(crate) fn turn(silence: Duration, left: Duration) -> Result<Turn, Error> {
    let globals = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // zero would mean for ever
    let milliseconds = |limit: Duration| {
        let limit = limit.min(left).max(Duration::from_millis(100));
        i32::try_from(limit.as_millis()).unwrap_or(i32::MAX)
    };
    // SAFETY: every use of these globals is in an exchange, every exchange holds `TURN`, and so do we
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(milliseconds(CONNECT))?;
        opts::set_server_timeout_in_milliseconds(milliseconds(silence))?;
    }
    Ok(Turn(globals))
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
