//! A value can never become structure.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use render_vm::{Broken, Expected, Lock, OUTPUT, Template, Templates, parse, wanted};
use serde_json::{Value, json};

use crate::{requests, site};

/// How many random values each string field of each template takes; together they are many more than 100 000.
/// `RENDER_VALUES=100000 cargo test --release -p render-vm random_values` gives each field that many.
const VALUES: usize = 2500;

/// One context for each template and each set of string fields that it is ever given: what is left out only repeats.
fn contexts() -> Vec<(Template, Value)> {
    let mut seen = BTreeSet::new();
    let mut contexts = Vec::new();
    let with_server = render_vm::Site { destination_server: Some("https://10.0.0.1".to_owned()), ..site() };
    for (_, request) in requests() {
        for site in [site(), with_server.clone(), crate::layout::in_overlay(), crate::layout::in_chart()] {
            for one in wanted(&request, &site).unwrap() {
                let mut fields = Vec::new();
                strings(&one.context, "", &mut |path, _| fields.push(path.to_owned()));
                // lists count once, whatever their length
                fields.dedup();
                if seen.insert((format!("{:?}", one.template), fields)) {
                    contexts.push((one.template, one.context));
                }
            }
        }
    }
    contexts
}

/// Every string of a context, by its path with `[]` for an index.
fn strings(value: &Value, path: &str, each: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => each(path, text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, &format!("{path}[]"), each)),
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| strings(value, &format!("{path}.{key}"), each));
        }
        _ => {}
    }
}

/// The same context with other strings.
fn with(context: &Value, next: &mut dyn FnMut() -> String) -> Value {
    match context {
        Value::String(_) => Value::from(next()),
        Value::Array(items) => items.iter().map(|item| with(item, next)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), with(value, next))).collect(),
        other => other.clone(),
    }
}

/// The same context with marks for strings, for [`filled`].
fn marked(context: &Value) -> Value {
    let mut numbers = 0..;
    with(context, &mut || format!("mark-{}", numbers.next().unwrap()))
}

/// A tree with these values in place of the marks.
fn filled(tree: &Value, values: &[String]) -> Value {
    match tree {
        Value::String(text) => match text.strip_prefix("mark-") {
            Some(number) => Value::from(values[number.parse::<usize>().unwrap()].clone()),
            None => tree.clone(),
        },
        Value::Array(items) => items.iter().map(|item| filled(item, values)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), filled(value, values))).collect(),
        other => other.clone(),
    }
}

fn expected(template: Template, context: &Value) -> Expected<'_> {
    let text = |key: &str| {
        if matches!(template, Template::Kustomization | Template::Overlay) {
            None
        } else {
            context[key].as_str()
        }
    };
    Expected { name: text("name"), namespace: text("namespace") }
}

/// Text that has broken templates and parsers before.
pub(crate) const HOSTILE: &[&str] = &[
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "-",
    "- x",
    "---",
    "...",
    "a: b",
    "a:",
    ": ",
    "#",
    " # x",
    "a #b",
    "\"",
    "'",
    "\"\"",
    "\\",
    "\\\"",
    "\"\nspec: {}\n\"",
    "x\"\n  namespace: kube-system",
    "x\n  namespace: kube-system",
    "|",
    ">",
    "|-\n  x",
    "&a",
    "*a",
    "!!str x",
    "!x",
    "%YAML 1.1",
    "@",
    "`",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "{a: b}",
    "? a",
    "<<",
    "~",
    "null",
    "Null",
    "true",
    "no",
    "On",
    "y",
    "0",
    "0777",
    "0x1F",
    "0o17",
    "1_000",
    "1e3",
    ".inf",
    ".nan",
    "12:30:45",
    "2026-11-21",
    "99999999999999999999999999999999",
    "{{ x }}",
    "{% raw %}",
    "{# x #}",
    "{{ 7*7 }}",
    "{% endif %}",
    "$(params.x)",
    "$(HOME)",
    "$$",
    "${x}",
    "`id`",
    "\u{0}",
    "\\u0000",
    "\\0",
    "\\x00",
    "\\N",
    "\u{7}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{80}",
    "\u{85}",
    "\u{9f}",
    "\u{a0}",
    "\u{ad}",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}x",
    "\u{200b}",
    "\u{feff}",
    "\u{feff}x",
    "\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{10000}",
    "\u{1f600}",
    "\u{10ffff}",
    "grün",
    "e\u{301}",
    "~~token-000001~~",
    "x~~token-000001~~",
    " lead",
    "trail ",
    "\u{3000}",
    "a\u{85}b\u{2028}c\u{2029}d",
];

#[test]
fn hostile_values_stay_values() {
    let templates = Templates::new().unwrap();
    let long = "ü\"\n: ".repeat(300);
    for (template, context) in contexts() {
        let lock = Lock::new(&templates, template, &context).unwrap();
        for text in HOSTILE.iter().copied().chain([long.as_str()]) {
            let changed = with(&context, &mut || text.to_owned());
            let rendered = lock.render(&templates, &changed, &expected(template, &changed));
            // an empty value may be taken for an absent one: then nothing is let out at all
            if text.is_empty() {
                assert!(
                    !matches!(rendered, Err(Broken::Parse(_) | Broken::Altered(_))),
                    "{template:?} {rendered:?}"
                );
                continue;
            }
            let rendered = rendered.unwrap_or_else(|error| panic!("{template:?} {text:?}: {error}"));
            assert!(rendered.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{rendered}");
        }
    }
}

/// The types of a request let no such key pass; if one came, it would still be a key.
#[test]
fn hostile_keys_stay_keys() {
    let templates = Templates::new().unwrap();
    let (template, context) =
        contexts().into_iter().find(|(template, _)| *template == Template::VirtualMachine).unwrap();
    for key in HOSTILE.iter().filter(|key| !key.contains("~~token")) {
        let mut changed = context.clone();
        changed["labels"] = json!({ *key: "its value" });
        changed["node_selector"] = json!({ *key: "its value" });
        let lock =
            Lock::new(&templates, template, &changed).unwrap_or_else(|error| panic!("{key:?}: {error}"));
        let text = lock.render(&templates, &changed, &expected(template, &changed)).unwrap();
        let tree: Value = parse(&text).unwrap();
        for labels in
            ["/metadata/labels", "/spec/template/metadata/labels", "/spec/template/spec/nodeSelector"]
        {
            assert_eq!(tree.pointer(labels).unwrap().get(*key), Some(&json!("its value")), "{key:?}");
        }
        assert_eq!(tree["spec"]["runStrategy"], changed["run_strategy"], "{key:?}");
    }
}

/// Half hostile pieces, half any Unicode: one to three of them.
pub(crate) fn value(random: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..random.random_range(1..=3) {
        match random.random_range(0..9) {
            0..4 => text.push(random.random()),
            4..6 => text.extend((0..3).map(|_| char::from(random.random_range(b' '..=b'~')))),
            6..8 => text.push_str(HOSTILE[random.random_range(1..HOSTILE.len())]),
            _ => text.push(char::from(random.random::<u8>())),
        }
    }
    text
}

#[test]
fn random_values_stay_values() {
    let templates = Templates::new().unwrap();
    let many = std::env::var("RENDER_VALUES").map_or(VALUES, |text| text.parse().unwrap());
    let mut random = StdRng::seed_from_u64(3);
    let mut fields: BTreeMap<String, usize> = BTreeMap::new();
    for (template, context) in contexts() {
        let lock = Lock::new(&templates, template, &context).unwrap();
        let mut own = Vec::new();
        strings(&context, "", &mut |path, _| own.push(format!("{template:?} {path}")));
        // as often as the field of this context needs that had the fewest so far
        let rounds =
            many - own.iter().map(|field| fields.get(field).map_or(0, |n| *n)).min().unwrap().min(many);
        let marked = marked(&context);
        let marked = lock.render(&templates, &marked, &expected(template, &marked)).unwrap();
        let marked: Value = parse(&marked).unwrap();
        for _ in 0..rounds {
            let mut values = Vec::new();
            let changed = with(&context, &mut || {
                values.push(value(&mut random));
                values[values.len() - 1].clone()
            });
            let text = lock
                .render(&templates, &changed, &expected(template, &changed))
                .unwrap_or_else(|error| panic!("{template:?}: {error}\n{changed}"));
            // by another way than the lock's own: whole trees, of a reader that makes some
            assert_eq!(parse::<Value>(&text).unwrap(), filled(&marked, &values), "{template:?}\n{text}");
        }
        for field in own {
            *fields.entry(field).or_default() += rounds;
        }
    }
    assert!(fields.values().all(|count| *count >= many), "{fields:#?}");
    // a template that places one value more has one field more
    assert_eq!(fields.len(), 77, "{fields:#?}");
    assert!(fields.values().sum::<usize>() >= 100_000, "{fields:#?}");
}

/// What the lock says to a template for a namespace.
fn namespace(source: &'static str, name: &str) -> String {
    broken(Template::Namespace, source, &json!({ "name": name }))
}

fn broken(template: Template, source: &'static str, context: &Value) -> String {
    let mut templates = Templates::new().unwrap();
    if let Err(error) = templates.replace(template, source) {
        return format!("does not compile: {error}");
    }
    let rendered = Lock::new(&templates, template, context)
        .and_then(|lock| lock.render(&templates, context, &expected(template, context)));
    rendered.unwrap_err().to_string()
}

/// Each of these is a mistake that somebody will make in a template one day.
#[test]
fn a_template_that_would_break_is_caught() {
    const WHOLE: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {{ name }}\n";
    let object = |lines: &str| -> &'static str { Box::leak(format!("{WHOLE}{lines}").into_boxed_str()) };
    for (source, caught) in [
        // a name composed in the template
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: vm-{{ name }}\n",
            "the value of `name` is missing",
        ),
        ("kind: |\n  {{ name }}\n", "the value of `name` is missing"),
        ("kind: Namespace\n", "the value of `name` is missing"),
        (object("  labels: \"{{ name }}\"\n"), "it does not parse: "),
        (object("  labels: {{ name }}-x\n"), "it does not parse: "),
        (object("  labels: x-{{ name }}\n"), "a value became structure at `metadata.labels`"),
        (object("  {{ name }}: 1\n"), "a value became structure at `metadata`"),
        (object("  name: again\n"), "it does not parse: "),
        // a value decides what else is there
        (object("{% if name == \"team-a\" %}spec: {}\n{% endif %}"), "a value became structure at ``"),
        (object("  labels: {{ name[:1] }}\n"), "a value became structure at `metadata.labels`"),
        (
            object("  labels: {{ name if name != \"team-a\" else \"x\" }}\n"),
            "a value was altered at `metadata.labels`",
        ),
        // another object, or in another place
        (
            object("  namespace: kube-system\n"),
            "it has `\"kube-system\"` at `/metadata/namespace`, not nothing",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ name }}\n",
            "it has `\"Secret\"` at `/kind`, not `\"Namespace\"`",
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {}\ndata: {{ name }}\n",
            "it has nothing at `/metadata/name`, not `\"team-a\"`",
        ),
        (object("---\nkind: Secret\n"), "it does not parse: "),
        // what the engine itself refuses
        (object("  labels: {{ nothing }}\n"), "it does not render: undefined value"),
        (
            object("  labels: {{ {\"a\": 1} }}\n"),
            "it does not render: invalid operation: a template may not print a value of kind map",
        ),
        (object("  labels: {{ name|safe }}\n"), "it does not render: unknown filter: filter safe is unknown"),
        (
            object("  labels: {{ 1.5 }}\n"),
            "it does not render: invalid operation: a template may not print a value of kind number",
        ),
        (object("{% include \"/etc/passwd\" %}"), "it does not render: template not found"),
    ] {
        let said = namespace(source, "team-a");
        assert!(said.starts_with(caught), "{source}\n{said}");
    }
}

#[test]
fn a_template_cannot_run_away() {
    let many = json!({ "resources": vec!["x"; 2000] });
    let long = json!({ "resources": ["x".repeat(OUTPUT)], "configurations": [] });
    let own = include_str!("../../templates/kustomization.yaml.j2");
    let loops = "{% for a in resources %}{% for b in resources %}{% endfor %}{% endfor %}";
    let calls = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    for (source, context, caught) in [
        (loops, &many, "it does not render: engine ran out of fuel (in Kustomization:1)"),
        (
            calls,
            &many,
            "it does not render: invalid operation: recursion limit exceeded (in Kustomization:1)",
        ),
        (
            own,
            &long,
            "it does not render: failed to write output: I/O error during rendering: longer than 262144 bytes",
        ),
    ] {
        assert_eq!(broken(Template::Kustomization, source, context), caught);
    }
}
