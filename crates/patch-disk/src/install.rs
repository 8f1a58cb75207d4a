//! This program, copied to where another image finds it: it is static, and needs nothing of the image it comes from.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use step::{Done, Failure, Kind};

/// Whoever the steps run as, they only run it.
const MODE: u32 = 0o555;

pub(crate) fn install(path: &Path) -> Result<Done, Failure> {
    copy(path).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot copy this program to `{}`: {error}", path.display()))
            .hint("`--install` must be in a folder that this step may write to")
    })?;
    Ok(Done::new(format!("copied this program to `{}`", path.display())))
}

fn copy(path: &Path) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = Path::new(&temporary);
    fs::copy("/proc/self/exe", temporary)?;
    fs::set_permissions(temporary, fs::Permissions::from_mode(MODE))?;
    fs::rename(temporary, path)
}
