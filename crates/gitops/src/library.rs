//! libgit2 without the configuration of the machine and of the user: what is fetched, made and pushed depends on what is given alone.

#![expect(
    unsafe_code,
    reason = "git2 marks the setter of a C global as unsafe; `PREPARED` is what makes it sound"
)]

use std::sync::{Mutex, PoisonError};

use git2::{ConfigLevel, Error, opts};

static PREPARED: Mutex<bool> = Mutex::new(false);

/// Look for configuration nowhere, in this whole process. Every repository is opened after this.
pub(crate) fn prepare() -> Result<(), Error> {
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*prepared {
        for level in [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global] {
            // SAFETY: no repository is open before the first call has ended, and nobody else sets it
            unsafe { opts::set_search_path(level, "")? };
        }
        *prepared = true;
    }
    Ok(())
}
