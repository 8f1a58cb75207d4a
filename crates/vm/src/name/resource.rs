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
