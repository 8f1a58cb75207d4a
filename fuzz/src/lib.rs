//! What the targets share: it is made once, so that an execution is the work itself.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use render_vm::{Site, Templates, Wanted};
use validate_request::{Checker, Verdict};
use vm::problem::{LINE, Problem};
use vm::request::Accepted;

/// The compiled schemas.
pub fn checker() -> &'static Checker {
    static CHECKER: LazyLock<Checker> = LazyLock::new(|| Checker::new().unwrap());
    &CHECKER
}

/// The compiled templates.
pub fn templates() -> &'static Templates {
    static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| Templates::new().unwrap());
    &TEMPLATES
}

fn site() -> Site {
    Site::new("https://git.example/vms.git")
}

/// The requests that tests hold valid, by the names of their files.
pub fn requests() -> &'static [(String, Vec<u8>)] {
    static REQUESTS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/requests/valid");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let accepted = files.filter(|path| name(path).ends_with(".accepted.json"));
        let mut read: Vec<_> = accepted.map(|path| (name(&path), fs::read(&path).unwrap())).collect();
        read.sort();
        read
    });
    &REQUESTS
}

/// Every file that they are rendered to.
pub fn wanted() -> &'static [Wanted] {
    static WANTED: LazyLock<Vec<Wanted>> = LazyLock::new(|| {
        let site = site();
        let requests = requests().iter().map(|(_, bytes)| serde_json::from_slice(bytes).unwrap());
        requests.flat_map(|request| render_vm::wanted(&request, &site).unwrap()).collect()
    });
    &WANTED
}

/// Hold every problem to its form.
pub fn told(problems: &[Problem]) {
    for problem in problems {
        let line = problem.to_string();
        assert!(line.len() <= LINE && !line.contains(char::is_control), "{line:?}");
        assert!(problem.pointer.is_empty() || problem.pointer.starts_with('/'), "{line}");
    }
}

/// Hold every problem to its form, and an acceptance to its promise.
pub fn held(verdict: &Verdict) {
    told(&verdict.problems);
    assert_eq!(verdict.problems.is_empty(), verdict.request.is_some());
    let Some(request) = &verdict.request else { return };
    let written = request.canonical();
    // the site's defaults are written out by now, so that no policy is needed to say the same
    let read = Accepted::parse(&written).expect("an accepted request is one");
    assert_eq!(*request, read);
}

/// What is accepted is rendered; a template of the site's own would be another program.
pub fn rendered(verdict: &Verdict) {
    if let Some(Accepted::Provision(request)) = &verdict.request
        && request.spec.template.is_none()
    {
        let files = render_vm::render(templates(), request, &site()).expect("what is accepted is rendered");
        assert!(files.len() > 3, "{files:?}");
    }
}

