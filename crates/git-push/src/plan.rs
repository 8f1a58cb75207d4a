//! What `render-vm` says of the files besides them.

use std::fs;
use std::path::Path;

use gitops::FilePath;
use step::{Failure, Kind, one_line};

/// The longest plan, in bytes: a machine with thousands of records in its folder, all of them moved.
const BYTES: u64 = 4 * 1024 * 1024;

/// [`vm::plan::Plan`] with its paths checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) base: Option<String>,
    pub(crate) remove: Vec<FilePath>,
    pub(crate) unchanged: Vec<FilePath>,
    pub(crate) marker: FilePath,
    pub(crate) subject: String,
}

/// Read a plan; a base that is no commit is found out where the others are.
pub(crate) fn read(path: &Path) -> Result<Plan, Failure> {
    let wrong = |why: &str| {
        let what = format!("cannot read the plan `{}`: {}", path.display(), one_line(why, 300));
        Failure::new(Kind::Usage, what).hint("`--plan` is the file that `render-vm --plan` wrote")
    };
    let length = fs::metadata(path).map_err(|error| wrong(&error.to_string()))?.len();
    if length > BYTES {
        return Err(wrong(&format!("it is {length} bytes long, at most {BYTES} are read")));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let plan: vm::plan::Plan = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    let checked = |path: &String| path.parse().map_err(|why| wrong(&format!("`{path}`: {why}")));
    Ok(Plan {
        remove: plan.remove.iter().map(checked).collect::<Result<_, _>>()?,
        unchanged: plan.unchanged.iter().map(checked).collect::<Result<_, _>>()?,
        marker: checked(&plan.marker)?,
        base: plan.base,
        subject: plan.subject,
    })
}
