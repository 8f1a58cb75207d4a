//! Tests of what `render-vm` renders, and of the program as a process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod golden;
mod lock;
mod process;
mod refused;

use std::path::{Path, PathBuf};

use render_vm::Site;
use vm::request::Request;

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// The normalised requests in `tests/fixtures/manifests/requests`, by their stem, in order.
pub(crate) fn requests() -> Vec<(String, Request)> {
    let folder = fixtures().join("manifests/requests");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let request = serde_json::from_str(&std::fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), request)
        })
        .collect()
}

pub(crate) fn request(stem: &str) -> Request {
    requests().into_iter().find(|(name, _)| name == stem).map(|(_, request)| request).unwrap()
}

pub(crate) fn site() -> Site {
    Site {
        repo_url: "https://git.example/vms.git".to_owned(),
        branch: "main".to_owned(),
        application_namespace: "argocd".to_owned(),
        project: "default".to_owned(),
        destination_server: None,
    }
}
