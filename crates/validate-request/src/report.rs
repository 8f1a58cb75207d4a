//! The report for programs.

use serde::Serialize;
use vm::problem::Problem;

use crate::{Verdict, kind};

/// The JSON of `--report`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    /// `ok`, `invalid` or `denied`, as in the result `outcome`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    problems: &'a [Problem],
}

/// The report on one line per value, ending in a newline.
pub(crate) fn json(verdict: &Verdict) -> String {
    let outcome = if verdict.request.is_some() { "ok" } else { kind(&verdict.problems).word() };
    let digest = verdict.request.as_ref().map(vm::request::Accepted::digest);
    // strings and lists cannot fail to serialise
    let text = serde_json::to_string_pretty(&Report { outcome, digest, problems: &verdict.problems });
    text.unwrap_or_default() + "\n"
}
