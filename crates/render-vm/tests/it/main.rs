//! Tests of what `render-vm` renders, and of the program as a process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod day_two;
mod dry_run;
mod golden;
mod layout;
mod lock;
mod process;
mod process_day_two;
mod process_environment;
mod process_preview;
mod read_back;
mod refused;
mod site_template;

use std::path::{Path, PathBuf};

use render_vm::Site;
use vm::request::Request;

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// The normalised requests in `tests/fixtures/manifests/requests`, by their stem, in order.
pub(crate) fn requests() -> Vec<(String, Request)> {
    normalised(&fixtures().join("manifests/requests"), ".json")
}

/// Those, what `validate-request` makes of its valid fixtures, and the examples, by the path of their golden file without
/// its ending.
pub(crate) fn all_requests() -> Vec<(String, Request)> {
    let within = |folder: &'static str| move |(name, request)| (format!("{folder}/{name}"), request);
    let accepted = normalised(&fixtures().join("requests/valid"), ".accepted.json");
    requests()
        .into_iter()
        .chain(accepted.into_iter().map(within("valid")))
        .chain(examples().into_iter().map(within("examples")))
        .collect()
}

fn normalised(folder: &Path, ending: &str) -> Vec<(String, Request)> {
    files(folder)
        .into_iter()
        .filter_map(|(name, bytes)| {
            let stem = name.strip_suffix(ending)?.to_owned();
            Some((stem, serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))))
        })
        .collect()
}

fn examples() -> Vec<(String, Request)> {
    files(&fixtures().join("../../examples/requests"))
        .into_iter()
        .filter_map(|(name, bytes)| {
            let document = vm::document::read(&bytes, vm::document::Form::Any).unwrap();
            if document["spec"]["operation"] != "provision" {
                return None;
            }
            let request = vm::rules::accept(&document, &vm::policy::Policy::default()).unwrap();
            Some((name.split('.').next().unwrap().to_owned(), request))
        })
        .collect()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

pub(crate) fn request(stem: &str) -> Request {
    requests().into_iter().find(|(name, _)| name == stem).map(|(_, request)| request).unwrap()
}

pub(crate) fn site() -> Site {
    Site::new("https://git.example/vms.git")
}
