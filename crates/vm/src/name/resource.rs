//! Names that the node or the guest knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Refused, is_qualified, is_subdomain};

checked! {
    /// A device as a node offers it: an extended resource of Kubernetes, always with a domain in front.
    DeviceName,
    |text| {
        text.len() <= 253
            && text.split_once('/').is_some_and(|(domain, name)| is_subdomain(domain) && is_qualified(name))
    },
    "a device such as `nvidia.com/GA102GL_A10`"
}

checked! {
    /// The serial of a disk, by which the guest finds it. A virtio disk has 20 bytes for it (Linux `virtio_blk`,
    /// `VIRTIO_BLK_ID_BYTES`), and what is longer is cut.
    Serial,
    |text| {
        (1..=20).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    },
    "at most 20 of A-Z, a-z, 0-9, ., _ and -, with a letter or digit first"
}
