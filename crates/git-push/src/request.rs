//! What the request in the source says of the change.

use std::path::Path;

use step::{Failure, Kind, one_line};
use vm::document::{self, Form};
use vm::operation::{Phase, Record};
use vm::request::{Accepted, Target};

/// What a commit needs to know of a request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) digest: String,
    /// Such as `provision vm team-a/web-1`.
    pub(crate) subject: String,
    /// Seconds since 1970 when it was made, if it says so.
    pub(crate) time: Option<i64>,
    pub(crate) target: Target,
    operation: &'static str,
    phase: Option<Phase>,
    requested_by: String,
}

impl Request {
    /// Read what marks a change: a normalised request, or an operation's record with one in it, as `render-vm` writes them.
    pub(crate) fn read(bytes: &[u8], path: &Path) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let what = format!("cannot read the request `{}`: {}", path.display(), one_line(why, 300));
            Failure::new(Kind::Invalid, what).hint("the source is the output folder of `render-vm`")
        };
        let value = document::read(bytes, Form::Any).map_err(|problem| wrong(&problem.to_string()))?;
        if value.get("kind").is_some_and(|kind| kind == "VMOperation") {
            let record = Record::parse(bytes).map_err(|problem| wrong(&problem.to_string()))?;
            return Ok(Self::of(&Accepted::DayTwo(record.request), Some(record.phase)));
        }
        let request = serde_json::from_value(value).map_err(|error| wrong(&error.to_string()))?;
        Ok(Self::of(&Accepted::Provision(request), None))
    }

    fn of(request: &Accepted, phase: Option<Phase>) -> Self {
        let (target, operation) = (request.target(), request.operation_word());
        Self {
            digest: request.digest(),
            subject: format!("{operation} vm {}/{}", target.namespace, target.name),
            time: request.metadata().requested_at.map(jiff::Timestamp::as_second),
            target: target.clone(),
            operation,
            phase,
            requested_by: request.metadata().requested_by.to_string(),
            id: request.request_id().to_string(),
        }
    }

    /// The branch of a pull request for it: each phase of an operation is merged by itself.
    pub(crate) fn branch(&self) -> String {
        let phase = self.phase.map(|phase| format!("/{}", phase.word())).unwrap_or_default();
        format!("vm-request/{}{phase}", self.id)
    }

    /// The trailers of the commit.
    pub(crate) fn trailers(&self) -> Vec<(&'static str, &str)> {
        let mut trailers = vec![
            ("Request-Id", self.id.as_str()),
            ("Request-Digest", &self.digest),
            ("Requested-By", &self.requested_by),
            ("Operation", self.operation),
        ];
        trailers.extend(self.phase.map(|phase| ("Phase", phase.word())));
        trailers
    }
}

/// The id of whatever request or record this is: one on the branch may be of another version than ours.
pub(crate) fn id(bytes: &[u8]) -> Option<String> {
    let value = document::read(bytes, Form::Any).ok()?;
    let request = value.get("request").unwrap_or(&value);
    Some(request.get("metadata")?.get("requestId")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Request, id};

    /// The files of a golden manifest, each behind a line `--- # <path>`.
    fn parts(text: &str) -> Vec<(&str, &str)> {
        text.split("--- # ").skip(1).filter_map(|part| part.split_once('\n')).collect()
    }

    #[test]
    fn what_render_vm_writes_is_read_with_the_digest_that_the_machine_carries() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/manifests");
        let mut read = 0;
        for folder in [folder.clone(), folder.join("examples"), folder.join("valid")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if !path.is_file() {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let part = |name: &str| parts(&text).into_iter().find(|(p, _)| p.ends_with(name)).unwrap();
                let (place, bytes) = part("/request.yaml");
                let request = Request::read(bytes.as_bytes(), Path::new(place)).unwrap();
                let annotation = format!("vmlifecycle.dev/request-digest: \"{}\"", request.digest);
                assert!(part("/virtual-machine.yaml").1.contains(&annotation), "{}", path.display());
                assert_eq!(id(bytes.as_bytes()), Some(request.id));
                read += 1;
            }
        }
        assert!(read > 5, "only {read} manifests");
    }
}
