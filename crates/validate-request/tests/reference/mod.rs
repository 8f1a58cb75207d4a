//! `docs/reference/request.md`, made from the schemas, the codes and the limits.

use std::fmt::Write as _;

use serde_json::Value;
use vm::problem::Code;

const HEAD: &str = "\
# VMRequest

One document for one operation on one virtual machine, in YAML or JSON. `validate-request` checks it: every problem is
listed in one pass, nothing is written unless there is none.

This page is made from `crates/vm/schema/` and the code: `SNAPSHOTS=overwrite cargo test -p validate-request --test agreement`
writes it. `validate-request --schema` prints the schema of requests. Examples are in `examples/requests/`.
";

const READING: &str = "
## How it is read

- At most 64 KiB of UTF-8 without byte order mark; no control characters but newline, tab and carriage return.
- JSON if the first character is `{`, and always in `--request`; else YAML.
- Nested at most 16 deep, at most 2000 values, whole numbers of at most 64 bits.
- No key twice. No YAML anchors, aliases, merge keys, tags, directives, or second document.
- A plain YAML scalar that readers of YAML 1.1 and 1.2 understand differently (`0777`, `1_000`, `12:30:45`, `yes`, `2026-09-01`) has
  to be quoted; only `power: on` and `power: off` may stand as they are.
- No string may hold a secret (a password, a private key, a token), nor syntax that a pipeline or a template would replace
  (`$(`, `${{`, `{{`, `{%`).
- Fields that are not known are refused, with the nearest that is.
";

const DEFAULTS: &str = "
What is accepted is written with every default explicit, as JSON with its fields in this order: the same request under the
same policy gives the same bytes, and accepting it again changes nothing. Where the site's policy has a default of its own it
comes first: the cluster, the tier and through it the storage class, the namespace of golden images, the grace period. The
host name becomes the machine's name.
";

const NAMES: &str = "
## Names made from names

| what | name | limit |
| --- | --- | --- |
| disk | `<vm>-<disk>-<6 digits of the request id's SHA-256>` | 63, so with the boot disk `root` `target.name` has at most 51 |
| Argo CD Application | `<cluster>.<namespace>.<vm>` | always fits 253 |

A machine is not called `kustomization`, `chart`, `values` or `namespace`, nor by a number; a data disk not `root`, `root-…` or `cloud-init`.
";

const PLACES: &str = "
## Where images come from

An image's registry, and the host of an address, may not be an IP address, a name without dots, `localhost`, or a service inside of
the cluster (`.svc`, `.cluster.local`, `.internal`), and an address needs TLS, unless the policy lists the place. This keeps out
what is plainly meant for the inside; a name that resolves to the inside is kept out by listing places, and by a NetworkPolicy.
Paths with `..`, `.`, `//`, or encoded dots and slashes are refused. A golden image comes from the machine's own namespace, or one
that the policy names.
";

pub(crate) fn text() -> String {
    let (request, policy) = (vm::schema::request(), vm::schema::policy());
    let mut text = String::from(HEAD);
    text += READING;
    text += "\n## Fields\n";
    text += DEFAULTS;
    fields(request, &mut text);
    text += NAMES;
    text += PLACES;
    text += "\n## VMPolicy\n\nWhat a site allows in requests, and what it fills in; an example is `examples/policy.yaml`. Without one, every default below holds:\n";
    text += "no `userData`, no `userDataSecret`, no tier or storage class, no namespace of the platform, no cluster but `in-cluster`, no golden images\nof other namespaces. ";
    let _ = writeln!(text, "{}", policy["properties"]["spec"]["description"].as_str().unwrap());
    text += "What a policy refuses is `denied` (exit code 11); everything else is `invalid` (10), also where both are the case. A policy that is itself\nwrong is a `usage` error (2).\n";
    fields(policy, &mut text);
    text += "\n## Codes\n\nThe codes of problems stay as they are.\n\n| code | meaning | exit code |\n| --- | --- | --- |\n";
    for code in Code::ALL {
        let _ = writeln!(
            text,
            "| `{code}` | {} | {} |",
            code.meaning().trim(),
            if code.is_denial() { 11 } else { 10 }
        );
    }
    text
}

fn fields(schema: &Value, text: &mut String) {
    *text += "\n| field | form | default | what |\n| --- | --- | --- | --- |\n";
    rows(schema, schema, "", text);
}

fn rows(schema: &Value, root: &Value, path: &str, text: &mut String) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let default = match field.get("default") {
            Some(default) => format!("`{default}`"),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => String::new(),
        };
        let what = field["description"].as_str().unwrap().replace('|', "\\|");
        let _ = writeln!(text, "| `{path}` | {} | {default} | {what} |", form(field, root));
        rows(field, root, &format!("{path}."), text);
        rows(&field["items"], root, &format!("{path}[]."), text);
    }
}

fn form(field: &Value, root: &Value) -> String {
    let target = field["$ref"].as_str().map_or(field, |name| root.pointer(&name[1..]).unwrap());
    if let Some(words) = target["enum"].as_array() {
        return words
            .iter()
            .map(|word| format!("`{}`", word.as_str().unwrap()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    match target["type"].as_str().unwrap_or_default() {
        "string" if field.get("$ref").is_some() => target["description"].as_str().unwrap().to_owned(),
        "string" => format!("text, at most {} characters", target["maxLength"]),
        "integer" => format!("{} to {}", target["minimum"], target["maximum"]),
        "boolean" => "`true`, `false`".to_owned(),
        "array" if target["items"]["properties"].is_object() => {
            format!("list, at most {}", target["maxItems"])
        }
        "array" => format!("list, at most {}, of: {}", target["maxItems"], form(&target["items"], root)),
        "object" if target["additionalProperties"].is_object() => {
            format!("mapping, each: {}", form(&target["additionalProperties"], root))
        }
        _ => "mapping".to_owned(),
    }
}
