//! What is written is what is read back.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use render_vm::{Templates, document, parse};
use serde_json::Value;
use vm::request::{Accepted, Request};

use crate::lock::value;
use crate::{request, site};

#[test]
fn a_hundred_thousand_values_are_read_back() {
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..100 {
        let written: Value = (0..1000).map(|_| value(&mut random)).collect();
        assert_eq!(parse::<Value>(&document(&written)).unwrap(), written);
    }
}

/// `request.yaml` holds the request, whatever its free texts say.
#[test]
fn a_request_is_read_back() {
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..1000 {
        let mut request = request("http-user-data");
        request.spec.customization.user_data = Some(value(&mut random));
        request.metadata.requested_by = value(&mut random).parse().unwrap_or(request.metadata.requested_by);
        request.metadata.ticket = value(&mut random).parse().ok();
        request.metadata.reason = value(&mut random).parse().ok();
        request.spec.customization.timezone = value(&mut random).parse().ok();
        request.spec.customization.packages =
            (0..3).filter_map(|_| value(&mut random).parse().ok()).collect();
        let text = document(&serde_json::to_value(&request).unwrap());
        assert_eq!(parse::<Request>(&text).unwrap(), request, "{text}");
    }
}

/// Keys that YAML readers take for something else where they stand plain are keys of labels as any other.
#[test]
fn a_request_with_odd_keys_is_read_back() {
    let mut asked = request("http-user-data");
    for key in ["y", "On", "null", "True", "1", "0x1f", "1e3", "2026-11-21", "a.b/12"] {
        asked.spec.labels.insert(key.parse().unwrap(), "its-value".parse().unwrap());
    }
    let files = render_vm::render(&Templates::new().unwrap(), &asked, &site()).unwrap();
    let file = format!("{}/{}", asked.spec.target.path(), vm::layout::REQUEST_FILE);
    assert_eq!(Accepted::parse(&files[&file]).unwrap(), Accepted::Provision(asked));
}
