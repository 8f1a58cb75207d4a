//! What the steps about snapshots share: following objects until a verdict, waiting until nothing else holds the machine,
//! removing an object for good. What the objects mean is in [`vm::conditions`].

mod ask;
mod follow;
mod free;
mod remove;
mod work;

pub use follow::{Ended, Follow, Look};
pub use free::wait_until_free;
pub use remove::{Removed, remove};
pub use work::{Work, WorkArgs, machine, text};
