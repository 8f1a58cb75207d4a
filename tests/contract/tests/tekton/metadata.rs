//! What catalogs, consoles and people read of an object.

use testbed::pipeline::model::Metadata;

use crate::check;

/// The oldest Tekton that is tried: the long-term release behind OpenShift Pipelines 1.21.
const FLOOR: &str = "1.6.0";

#[test]
fn every_object_says_what_it_is() {
    check("metadata", |world, problems| {
        let api = |kind: &str| if kind == "StepAction" { "tekton.dev/v1beta1" } else { "tekton.dev/v1" };
        let mut object =
            |kind: &str, version: &str, expected: &str, metadata: &Metadata, texts: Vec<(String, &str)>| {
                let name = format!("{expected} `{}`", metadata.name);
                if kind != expected || version != api(expected) {
                    problems.push(format!(
                        "{name}: is `{kind}` of `{version}`; paste\napiVersion: {}\nkind: {expected}",
                        api(expected)
                    ));
                }
                let wanted = [
                    ("app.kubernetes.io/part-of", "vm-lifecycle-tasks"),
                    ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
                ];
                for (label, value) in wanted {
                    if metadata.labels.get(label).map(String::as_str) != Some(value) {
                        problems.push(format!("{name}: paste below `labels:`\n{label}: {value:?}"));
                    }
                }
                let annotations = [
                    ("tekton.dev/pipelines.minVersion", Some(FLOOR)),
                    ("tekton.dev/platforms", Some("linux/amd64")),
                    ("tekton.dev/categories", None),
                    ("tekton.dev/tags", None),
                    ("tekton.dev/displayName", None),
                ];
                for (annotation, value) in annotations {
                    let found = metadata.annotations.get(annotation).filter(|f| !f.is_empty());
                    if found.is_none_or(|found| value.is_some_and(|value| value != found)) {
                        problems.push(format!(
                            "{name}: paste below `annotations:`\n{annotation}: {:?}",
                            value.unwrap_or("…")
                        ));
                    }
                }
                for (what, text) in texts {
                    if text.trim().is_empty() || text.contains("TODO") {
                        problems.push(format!("{name}: {what} has no description"));
                    }
                }
            };
        for action in world.actions.values() {
            let spec = &action.spec;
            let mut texts = vec![("it".to_owned(), spec.description.as_str())];
            texts.extend(spec.params.iter().map(|p| (format!("param `{}`", p.name), p.description.as_str())));
            texts.extend(
                spec.results.iter().map(|r| (format!("result `{}`", r.name), r.description.as_str())),
            );
            object(&action.kind, &action.api_version, "StepAction", &action.metadata, texts);
        }
        for task in world.tasks.values() {
            let spec = &task.spec;
            let mut texts = vec![
                ("it".to_owned(), spec.description.as_str()),
                ("its name for display".to_owned(), spec.display_name.as_str()),
            ];
            texts.extend(spec.params.iter().map(|p| (format!("param `{}`", p.name), p.description.as_str())));
            texts.extend(
                spec.results.iter().map(|r| (format!("result `{}`", r.name), r.description.as_str())),
            );
            texts.extend(
                spec.workspaces.iter().map(|w| (format!("workspace `{}`", w.name), w.description.as_str())),
            );
            object(&task.kind, &task.api_version, "Task", &task.metadata, texts);
        }
        for pipeline in world.pipelines.values() {
            let spec = &pipeline.spec;
            let mut texts = vec![
                ("it".to_owned(), spec.description.as_str()),
                ("its name for display".to_owned(), spec.display_name.as_str()),
            ];
            texts.extend(spec.params.iter().map(|p| (format!("param `{}`", p.name), p.description.as_str())));
            texts.extend(
                spec.results.iter().map(|r| (format!("result `{}`", r.name), r.description.as_str())),
            );
            texts.extend(
                spec.workspaces.iter().map(|w| (format!("workspace `{}`", w.name), w.description.as_str())),
            );
            for task in spec.tasks.iter().chain(&spec.finally) {
                texts.push((format!("task `{}`", task.name), task.description.as_str()));
                texts.push((format!("task `{}`, for display,", task.name), task.display_name.as_str()));
            }
            object(&pipeline.kind, &pipeline.api_version, "Pipeline", &pipeline.metadata, texts);
        }
    });
}
