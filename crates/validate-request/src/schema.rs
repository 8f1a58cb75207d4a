//! What the JSON Schema finds, in our own words: where, what is expected, what is there, and the nearest that is right.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, ValidationOptions, Validator};
use serde_json::Value;
use vm::problem::{Code, Problem, echo, member, nearest};

mod pattern;

/// What other formats call our fields (those of `KupenStack`, DCM, OSAC, `KubeVirt` and golden paths): a hint, never a second dialect.
const ELSEWHERE: [(&str, &str); 21] = [
    ("vcpu", "cpu"),
    ("vcpus", "cpu"),
    ("cores", "cpu"),
    ("cpucores", "cpu"),
    ("ram", "memory"),
    ("memorymb", "memory"),
    ("flavor", "instanceType"),
    ("running", "power"),
    ("runstrategy", "power"),
    ("publickey", "sshKeys"),
    ("sshkey", "sshKeys"),
    ("capacity", "size"),
    ("diskattachments", "disks"),
    ("virtualnetworks", "networks"),
    ("network", "networkName"),
    ("mac", "macAddress"),
    ("networkattachmentdefinition", "networkName"),
    ("graceperiod", "forceAfterSeconds"),
    ("graceperiodseconds", "forceAfterSeconds"),
    ("failuredeadline", "deadlineSeconds"),
    ("virtualmachinesnapshotname", "snapshot"),
];

/// What somebody who wants a machine beside the one that a snapshot was taken of would ask of `restore`.
const BESIDE: [&str; 5] = ["to", "newname", "target", "targetname", "name"];
/// How they get it.
const FROM_SNAPSHOT: &str =
    "a new machine from a snapshot is a `provision` request with image source `snapshot`";

/// Where an operation's own fields are.
const OPERATION_SPEC: &str = "/spec/operationSpec";

/// A schema, compiled: formats asserted, regular expressions linear, nothing fetched (reliability-security 4.3). Patterns are
/// compiled when a string is first held against them, but those of strangers at once, so that they are known to be right.
#[derive(Debug)]
pub(crate) struct Schema<'a> {
    source: &'a Value,
    compiled: Validator,
}

fn options() -> ValidationOptions<'static> {
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
    options.with_pattern_options(PatternOptions::regex())
}

impl<'a> Schema<'a> {
    /// Compile one of a stranger; the error says why it cannot be.
    pub(crate) fn new(source: &'a Value) -> Result<Self, String> {
        Self::by(&options(), source)
    }

    /// Compile one of our own.
    pub(crate) fn own(source: &'a Value) -> Result<Self, String> {
        Self::by(&options().with_keyword("pattern", pattern::later), source)
    }

    fn by(options: &ValidationOptions<'_>, source: &'a Value) -> Result<Self, String> {
        let compiled = options.build(source);
        let compiled = compiled.map_err(|error| format!("the schema does not compile: {error}"))?;
        Ok(Self { source, compiled })
    }

    /// Every problem, one for each place and fault.
    pub(crate) fn problems(&self, document: &Value) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.compiled.iter_errors(document).flat_map(|error| self.explain(&error, document)).collect();
        // a string that is too long, or empty, does not match its pattern either
        let long: Vec<String> =
            problems.iter().filter(|p| p.code == Code::Length).map(|p| p.pointer.clone()).collect();
        problems.retain(|p| p.code != Code::Pattern || !long.contains(&p.pointer));
        problems
    }

    fn explain(&self, error: &ValidationError<'_>, document: &Value) -> Vec<Problem> {
        let pointer = error.instance_path().as_str();
        let value = error.instance();
        let at = |code, message: String| Problem::new(pointer, code, message);
        let expected = self.keyword(error, "description").and_then(Value::as_str).unwrap_or("another value");
        vec![match error.kind() {
            ValidationErrorKind::Required { property } => {
                self.missing(error, property.as_str().unwrap_or_default())
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                return unexpected.iter().map(|field| self.unknown(error, field, document)).collect();
            }
            ValidationErrorKind::FalseSchema => self.not_with(pointer, document),
            // its type is wrong already
            ValidationErrorKind::Enum { .. }
                if !value.is_string() && self.keyword(error, "type").is_some_and(|kind| kind == "string") =>
            {
                return Vec::new();
            }
            ValidationErrorKind::Enum { options } if !value.is_string() => {
                at(Code::Enum, format!("expected one of {options}"))
            }
            ValidationErrorKind::Enum { options } => {
                let text = value.as_str().unwrap_or_default();
                let options = options.as_array().map(|options| strings(options)).unwrap_or_default();
                let any = if options.len() > 6 { options.join(", ") } else { any_of(&options) };
                let problem = at(Code::Enum, format!("expected {any}, got {}", echo(text)));
                match nearest(text, options.iter().copied()).filter(|_| options.len() > 1) {
                    Some(near) => problem.hint(format!("did you mean `{near}`")),
                    None => problem,
                }
            }
            ValidationErrorKind::Type { kind } => {
                let problem = wrong_type(pointer, kind, value, expected);
                match self.keyword(error, "enum").and_then(Value::as_array) {
                    Some(options) => problem.hint(any_of(&strings(options))),
                    None => problem,
                }
            }
            ValidationErrorKind::Pattern { .. } | ValidationErrorKind::Custom { .. } => at(
                Code::Pattern,
                format!("expected {expected}, got {}", echo(value.as_str().unwrap_or_default())),
            ),
            ValidationErrorKind::MinLength { .. } => at(Code::Length, format!("empty, expected {expected}")),
            ValidationErrorKind::MaxLength { limit } => {
                let length = value.as_str().map_or(0, |text| text.chars().count());
                at(Code::Length, format!("{length} characters, at most {limit}"))
            }
            ValidationErrorKind::Minimum { .. } | ValidationErrorKind::Maximum { .. } => {
                let limit = |name| self.keyword(error, name);
                let limits = match (limit("minimum"), limit("maximum")) {
                    (Some(least), Some(most)) => format!("{least} to {most}"),
                    (Some(least), None) => format!("at least {least}"),
                    (_, most) => format!("at most {}", most.unwrap_or_default()),
                };
                at(Code::Range, format!("expected {limits}, got {value}"))
            }
            ValidationErrorKind::MaxItems { limit } => {
                at(Code::Items, format!("{} items, at most {limit}", value.as_array().map_or(0, Vec::len)))
            }
            ValidationErrorKind::UniqueItems => {
                at(Code::Items, "an item is there twice".to_owned()).hint("keep one")
            }
            ValidationErrorKind::MaxProperties { limit } => {
                at(Code::Items, format!("more than {limit} fields"))
            }
            ValidationErrorKind::PropertyNames { error } => {
                let expected =
                    self.keyword(error, "description").and_then(Value::as_str).unwrap_or("another name");
                let key = error.instance().as_str().unwrap_or_default();
                Problem::new(member(pointer, key), Code::Pattern, format!("expected {expected}"))
            }
            // keywords that our schemas do not use; the words are the crate's own, without the value
            _ => at(Code::Pattern, error.masked().to_string()),
        }]
    }

    /// A keyword beside the one that failed.
    fn keyword(&self, error: &ValidationError<'_>, name: &str) -> Option<&'a Value> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.source.pointer(&format!("{parent}/{name}"))
    }

    /// The fields of the object that an error is about.
    fn fields(&self, error: &ValidationError<'_>) -> Option<&'a serde_json::Map<String, Value>> {
        let path = error.schema_path().as_str();
        let parent =
            path.split_once("/allOf/").map(|(parent, _)| parent).or(path.rsplit_once('/').map(|(p, _)| p))?;
        self.source.pointer(&format!("{parent}/properties"))?.as_object()
    }

    fn missing(&self, error: &ValidationError<'_>, field: &str) -> Problem {
        let schema = self.fields(error).and_then(|fields| fields.get(field));
        let description = schema.and_then(|schema| schema["description"].as_str()).unwrap_or_default();
        let what = description.split(['.', ':', ',', ';']).next().unwrap_or_default();
        let mut what = what.chars();
        let lower = what.next().map(|c| c.to_lowercase().to_string() + what.as_str()).unwrap_or_default();
        let at = |message: String| {
            Problem::new(member(error.instance_path().as_str(), field), Code::Required, message)
        };
        match schema.and_then(|schema| schema["enum"].as_array()).map(Vec::as_slice) {
            Some([Value::String(only)]) => at(format!("missing: {lower}")).hint(format!("`{field}: {only}`")),
            Some(options) => at(format!("missing: one of {}", any_of(&strings(options)))),
            None => at(format!("missing: {lower}")),
        }
    }

    fn unknown(&self, error: &ValidationError<'_>, field: &str, document: &Value) -> Problem {
        let pointer = error.instance_path().as_str();
        let problem = Problem::new(member(pointer, field), Code::UnknownField, "unknown field");
        let operation = document.pointer("/spec/operation").and_then(Value::as_str).unwrap_or_default();
        let refused = |name: &str| {
            pointer == "/spec" && self.of_operation(operation, name) == Some(&Value::Bool(false))
        };
        let names: Vec<&str> = self
            .fields(error)
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .filter(|name| !refused(name))
            .collect();
        let folded = field.to_lowercase().replace(['_', '-'], "");
        let ours = ELSEWHERE.iter().find(|(theirs, _)| *theirs == folded).map(|(_, ours)| *ours);
        if let Some(near) =
            ours.filter(|ours| names.contains(ours)).or_else(|| nearest(field, names.iter().copied()))
        {
            return problem.hint(format!("did you mean `{near}`"));
        }
        if pointer == OPERATION_SPEC && operation == "restore" && BESIDE.contains(&folded.as_str()) {
            return problem.hint(FROM_SNAPSHOT);
        }
        if pointer == OPERATION_SPEC {
            return problem.hint(self.not_of_this_operation(field, &names));
        }
        let mut places = Vec::new();
        places_of(self.source, field, "", &mut places);
        if places.is_empty() {
            places_of(self.source, ours.unwrap_or(field), "", &mut places);
        }
        if self.fields_of_operation(operation).any(|known| known == ours.unwrap_or(field)) {
            places = vec![OPERATION_SPEC.to_owned()];
        }
        let elsewhere = |place: &str| {
            place
                .split('/')
                .nth(2)
                .is_some_and(|field| self.of_operation(operation, field) == Some(&Value::Bool(false)))
        };
        places.retain(|place| !elsewhere(place));
        match places.as_slice() {
            [place] => problem.hint(format!("it belongs to `{place}`")),
            _ => problem.hint(format!(
                "known here: {}",
                names.iter().take(8).copied().collect::<Vec<_>>().join(", ")
            )),
        }
    }

    /// What to do with a field that the operation does not have.
    fn not_of_this_operation(&self, field: &str, names: &[&str]) -> String {
        let others: Vec<&str> = std::iter::once("provision")
            .chain(vm::day_two::Operation::WORDS)
            .filter(|word| self.fields_of_operation(word).any(|known| known == field))
            .collect();
        match (others.as_slice(), names) {
            ([], []) => "this operation has none".to_owned(),
            ([], names) => format!("known here: {}", names.join(", ")),
            (others, _) => format!("it goes with {}", any_of(others)),
        }
    }

    /// What the schema says of a field of `spec` for this operation alone.
    fn of_operation(&self, word: &str, field: &str) -> Option<&'a Value> {
        let mut branches = self.source.pointer("/properties/spec/allOf")?.as_array()?.iter();
        let branch =
            branches.find(|b| b.pointer("/if/properties/operation/const").is_some_and(|c| c == word))?;
        branch.pointer(&format!("/then/properties/{field}"))
    }

    /// The fields of an operation's `operationSpec`.
    fn fields_of_operation(&self, word: &str) -> impl Iterator<Item = &'a str> {
        let spec = self.of_operation(word, "operationSpec").and_then(|spec| spec["$ref"].as_str());
        let fields = spec.and_then(|name| self.source.pointer(&format!("{}/properties", name.get(1..)?)));
        fields.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// A field of `image` beside a `source` that has no use for it, or one of `spec` beside such an `operation`.
    fn not_with(&self, pointer: &str, document: &Value) -> Problem {
        let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
        let chooser = if parent == "/spec" { "operation" } else { "source" };
        let chosen = document.pointer(&format!("{parent}/{chooser}")).and_then(Value::as_str);
        let chosen = chosen.unwrap_or_default();
        let message = format!("`{field}` does not go with `{chooser}: {chosen}`");
        let problem = Problem::new(pointer, Code::Exclusive, message);
        if chooser == "operation" && self.fields_of_operation(chosen).any(|known| known == field) {
            return problem.hint(format!("it belongs to `{OPERATION_SPEC}`"));
        }
        problem.hint("remove it")
    }
}

fn wrong_type(pointer: &str, kind: &TypeKind, value: &Value, described: &str) -> Problem {
    let expected = match kind {
        TypeKind::Single(kind) => article(kind.as_str()),
        TypeKind::Multiple(_) => described,
    };
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    };
    let problem = Problem::new(pointer, Code::Type, format!("expected {expected}, found {found}"));
    match (expected, value) {
        ("a string", Value::Number(_) | Value::Bool(_)) => problem.hint("quote it"),
        ("a number", Value::String(text)) if text.parse::<i64>().is_ok() => {
            problem.hint("write it without quotes")
        }
        ("true or false", Value::String(text)) if text.parse::<bool>().is_ok() => {
            problem.hint("write it without quotes")
        }
        (_, Value::Null) => problem.hint("fill it, or leave it out if it is optional"),
        _ => problem,
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a mapping",
    }
}

fn strings(options: &[Value]) -> Vec<&str> {
    options.iter().filter_map(Value::as_str).collect()
}

fn any_of(options: &[&str]) -> String {
    let quoted: Vec<String> = options.iter().map(|option| format!("`{option}`")).collect();
    quoted.join(", ")
}

/// Where else in a document a field of this name belongs.
fn places_of(schema: &Value, field: &str, pointer: &str, places: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if name == field {
            places.push(pointer.to_owned());
        }
        places_of(inner, field, &format!("{pointer}/{name}"), places);
        places_of(&inner["items"], field, &format!("{pointer}/{name}/…"), places);
    }
}
