//! Templates of the site's own: which there are, and what each takes.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::{Map, Value};
use step::{Failure, Kind};
use vm::document::{self, Form};
use vm::name::{Label, ParameterName};
use vm::problem::{Code, Problem, echo, nearest};
use vm::request::{Accepted, MAX_BYTES, Parameter, Template};

use crate::Verdict;
use crate::schema::Schema;

const FIELD: &str = "/spec/template";
const NAME: &str = "/spec/template/name";
const PARAMETERS: &str = "/spec/template/parameters";

/// Add what is wrong with the template that a request names; where nothing is, fill in what its schema has defaults for.
///
/// # Errors
///
/// `usage` for a folder or a schema that cannot be used: the platform team's, not the requester's.
pub(crate) fn check(folder: Option<&Path>, verdict: &mut Verdict) -> Result<(), Failure> {
    let Some(asked) = verdict.document.pointer(FIELD) else { return Ok(()) };
    // what is wrong with the fields themselves is told already
    let told = |p: &Problem| [FIELD, NAME, PARAMETERS].contains(&p.pointer.as_str());
    let name = asked["name"].as_str().and_then(|name| name.parse::<Label>().ok());
    let Some(name) = name.filter(|_| !verdict.problems.iter().any(told)) else { return Ok(()) };
    let there = folder.map(names).transpose()?.unwrap_or_default();
    let (mut problems, mut defaults) = (Vec::new(), Map::new());
    match folder.filter(|_| there.contains(&name)) {
        None => problems.push(unknown(&name, &there)),
        Some(folder) => {
            let path = folder.join(format!("{name}.schema.json"));
            let schema = parameters(&path)
                .map_err(|why| unusable(&path, &why).hint("the platform team mends the schema"))?;
            let given = asked.get("parameters").cloned().unwrap_or_else(|| Map::new().into());
            problems.extend(found(&schema, &given).map_err(|why| unusable(&path, &why))?);
            defaults = of_properties(&schema);
        }
    }
    problems.retain(|new| !verdict.problems.iter().any(|p| p.pointer == new.pointer));
    if !problems.is_empty() {
        verdict.request = None;
        verdict.problems.append(&mut problems);
        verdict.problems.sort_by(Problem::order);
    }
    if let Some(Accepted::Provision(request)) = &mut verdict.request
        && let Some(template) = &mut request.spec.template
    {
        for (name, value) in defaults {
            // `parameters` has seen to both
            let Some((name, value)) = name.parse().ok().zip(serde_json::from_value(value).ok()) else {
                continue;
            };
            template.parameters.entry(name).or_insert(value);
        }
    }
    Ok(())
}

fn unknown(name: &Label, there: &[Label]) -> Problem {
    let message = format!("the site has no template {}", echo(name.as_str()));
    let names = || there.iter().map(Label::as_str);
    let hint = match nearest(name.as_str(), names()) {
        Some(near) => format!("did you mean `{near}`"),
        None if there.is_empty() => "it has none of its own".to_owned(),
        None => {
            format!("it has {}", names().take(8).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
        }
    };
    Problem::new(NAME, Code::PolicyTemplate, message).hint(hint)
}

/// The templates of a folder, in order.
fn names(folder: &Path) -> Result<Vec<Label>, Failure> {
    let listed = || -> io::Result<Vec<Label>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(Template::ENDING)?.parse().ok()));
        }
        names.sort();
        Ok(names)
    };
    listed().map_err(|error| unusable(folder, &error.to_string()))
}

/// The schema of a template's parameters; without a file it takes none.
fn parameters(path: &Path) -> Result<Value, String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(serde_json::json!({ "type": "object", "additionalProperties": false }));
        }
        file => file.and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|e| e.to_string())?,
    };
    let schema = document::read(&bytes, Form::Json).map_err(|problem| problem.to_string())?;
    if schema["type"] != "object" || schema["additionalProperties"] != false {
        return Err("it needs `\"type\": \"object\"` and `\"additionalProperties\": false`".to_owned());
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let why = match property.get("default") {
            _ if name.parse::<ParameterName>().is_err() => ParameterName::RULE,
            _ if !property["description"].is_string() => "it needs a `description`",
            None if required.iter().all(|other| other != name) => {
                "neither in `required` nor with a `default`"
            }
            Some(default) if serde_json::from_value::<Parameter>(default.clone()).is_err() => {
                "its `default` is neither text, a whole number, a boolean nor a list of texts"
            }
            _ => continue,
        };
        return Err(format!("`/properties/{name}`: {why}"));
    }
    // what is filled in has to be right by the schema itself
    let wrong = found(&schema, &of_properties(&schema).into())?;
    match wrong.iter().find(|problem| problem.code != Code::Required) {
        Some(problem) => Err(format!("a default is wrong: {problem}")),
        None => Ok(schema),
    }
}

/// The defaults of a schema.
fn of_properties(schema: &Value) -> Map<String, Value> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter_map(|(name, property)| Some((name.clone(), property.get("default")?.clone()))).collect()
}

/// What the schema finds in parameters, by the place in the request.
fn found(schema: &Value, parameters: &Value) -> Result<Vec<Problem>, String> {
    let mut problems = Schema::new(schema)?.problems(parameters);
    for problem in &mut problems {
        problem.pointer = format!("{PARAMETERS}{}", problem.pointer);
    }
    Ok(problems)
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot use `{}` of `--template-directory`: {why}", path.display()))
}
