//! The layout of Helm: a machine's manifests as the values of a chart that prints them.

use serde_json::Value;
use vm::request::Target;

use crate::files::{Files, Refused};
use crate::template::Template;
use crate::yaml;

/// The chart's own files, the same for every machine, by their paths in the machine's folder.
const CHART: [(&str, &str); 3] = [
    ("Chart.yaml", include_str!("../chart/Chart.yaml")),
    ("values.schema.json", include_str!("../chart/values.schema.json")),
    ("templates/objects.yaml", include_str!("../chart/templates/objects.yaml")),
];

/// Under which name Helm knows the chart. It makes no object, but Argo CD would take the Application's, and Helm takes no more
/// than 53 characters.
pub(crate) const RELEASE: &str = "virtual-machine";

/// The machine's manifests, which were rendered under the structure lock, in one file of values; the chart beside it.
pub(crate) fn packed(mut files: Files, target: &Target) -> Result<Files, Refused> {
    let folder = format!("{}/", target.path());
    let (mut machine, mut volumes) = (Value::Null, Vec::new());
    let own: Vec<String> = files.keys().filter(|path| path.starts_with(&folder)).cloned().collect();
    for path in own {
        let object = yaml::parse::<Value>(&files[&path]).map_err(|_| Refused::ReadBack(path.clone()))?;
        match object["kind"].as_str() {
            Some(kind) if kind == Template::VirtualMachine.kind().1 => machine = object,
            Some(kind) if kind == Template::DataVolume.kind().1 => {
                volumes.push((object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), object));
            }
            _ => continue,
        }
        files.remove(&path);
    }
    let values = vm::chart::values(machine, volumes);
    let (path, text) = (format!("{folder}{}", vm::layout::VALUES_FILE), vm::yaml::document(&values));
    match yaml::parse::<Value>(&text) {
        Ok(read) if read == values => {}
        _ => return Err(Refused::ReadBack(path)),
    }
    files.insert(path, text);
    files.extend(CHART.map(|(path, text)| (format!("{folder}{path}"), text.to_owned())));
    Ok(files)
}
