//! The site's policy, for steps that see of a machine what `validate-request` does not; and refusing a request.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use vm::document::{self, Form};
use vm::policy::Policy;
use vm::problem::{Class, Problem};

use crate::{Failure, Kind};

/// At most this many problems are listed.
const LINES: usize = 20;

/// The flag of the site's policy.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PolicyArgs {
    /// File with the site's policy, or the folder that holds it as `policy.yaml`: what it says of the machine's environment holds
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

impl PolicyArgs {
    /// The policy. Its schema is `validate-request`'s to check, which has read the same file before; what its types cannot hold is
    /// refused here too.
    ///
    /// # Errors
    ///
    /// `usage` for a file that cannot be read, or is no policy.
    pub fn read(&self) -> Result<Policy, Failure> {
        let Some(path) = &self.policy else { return Ok(Policy::default()) };
        let path = policy_file(path.clone());
        let unusable = |why: String| {
            Failure::new(Kind::Usage, format!("cannot use policy `{}`: {why}", path.display()))
                .hint("`validate-request --policy-check` lists all that is wrong with it")
        };
        let limit = vm::request::MAX_BYTES as u64 + 1;
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|error| unusable(error.to_string()))?;
        let document = document::read(&bytes, Form::Any).map_err(|problem| unusable(problem.to_string()))?;
        let file = vm::rules::policy_file(&document, Vec::new());
        file.map(|file| file.spec)
            .map_err(|problems| unusable(problems.first().map_or_else(String::new, ToString::to_string)))
    }
}

/// The policy's file: the one that is named, or `policy.yaml` in the folder that is, which a Tekton workspace is. In a Task,
/// `--policy=FOLDER/policy.yaml` would be a path also where no workspace is bound.
pub fn policy_file(path: PathBuf) -> PathBuf {
    if path.is_dir() { path.join("policy.yaml") } else { path }
}

impl From<Class> for Kind {
    fn from(class: Class) -> Self {
        match class {
            Class::Invalid => Self::Invalid,
            Class::Denied => Self::Denied,
            Class::Conflict => Self::Conflict,
            Class::Superseded => Self::Superseded,
        }
    }
}

/// The problems of a request as a failure; none is none.
///
/// # Errors
///
/// Of the kind that [`Class::of`] says, with the first problem in its message and all of them, up to 20, in its details.
pub fn refuse(problems: &[Problem]) -> Result<(), Failure> {
    let Some(first) = problems.first() else { return Ok(()) };
    let count = match problems.len() {
        1 => "1 problem: ".to_owned(),
        number => format!("{number} problems, first: "),
    };
    let lines = problems.iter().take(LINES).map(ToString::to_string).collect();
    let message = format!("request refused, {count}{}: {}", first.code, first.message);
    let failure = Failure::new(Class::of(problems).into(), message).details(lines);
    Err(if let Some(hint) = &first.hint { failure.hint(hint) } else { failure })
}
