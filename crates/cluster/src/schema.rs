//! What the cluster's kinds have, by its own description of them.

use http::Request;
use serde_json::Value;

use crate::client::Cluster;
use crate::error::Error;
use crate::object::Kind;

/// References are followed this deep; a description that needs more refers to itself.
const DEPTH: u32 = 8;

impl Cluster {
    /// Whether objects of this kind have a field, such as `spec/volumeRestorePolicy`, as the cluster's `OpenAPI` v3 says, which
    /// every account may read. With a value: whether the field may have it; a description that lists no values denies none
    /// (`KubeVirt` lists those of few fields). False where the
    /// group is not served.
    pub async fn has_field(&self, kind: Kind, path: &str, value: Option<&str>) -> Result<bool, Error> {
        let uri = format!("/openapi/v3{}", kind.root());
        match self.send(Request::get(uri), Vec::new()).await {
            Ok(document) => described(&document, kind, path, value).ok_or_else(|| {
                // a definition that was installed seconds ago
                let what = format!("the API server has not described {} yet", kind.camel);
                Error::new(step::Kind::Transient, what)
            }),
            Err(refused) if refused.error.not_served() => Ok(false),
            Err(refused) => Err(refused.error),
        }
    }
}

/// None if the document does not know the kind.
fn described(document: &Value, kind: Kind, path: &str, value: Option<&str>) -> Option<bool> {
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    let is = |of: &Value| {
        let has = |field: &str, text: &str| of.get(field).and_then(Value::as_str) == Some(text);
        has("group", kind.group) && has("version", kind.version) && has("kind", kind.camel)
    };
    let ours = schemas.values().find(|s| {
        s.get("x-kubernetes-group-version-kind").and_then(Value::as_array).is_some_and(|l| l.iter().any(is))
    });
    let field = path.split('/').try_fold(ours?, |schema, name| property(document, schema, name, DEPTH));
    Some(field.is_some_and(|field| match (value, field.get("enum").and_then(Value::as_array)) {
        (Some(value), Some(values)) => values.iter().any(|v| v.as_str() == Some(value)),
        _ => true,
    }))
}

/// The description of a field, through `$ref`, `allOf` and the items of lists.
fn property<'a>(document: &'a Value, schema: &'a Value, name: &str, depth: u32) -> Option<&'a Value> {
    let depth = depth.checked_sub(1)?;
    if let Some(found) = schema.get("properties").and_then(|p| p.get(name)) {
        return Some(found);
    }
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    let referred = reference.and_then(|pointer| document.pointer(pointer));
    let all = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    referred
        .into_iter()
        .chain(all)
        .chain(schema.get("items"))
        .find_map(|s| property(document, s, name, depth))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::described;
    use crate::object::{LEASE, VIRTUAL_MACHINE_RESTORE};

    #[test]
    fn a_field_is_found_through_references_and_a_value_where_values_are_listed() {
        let document = json!({"components": {"schemas": {
            "other": {"properties": {"spec": {"properties": {"holderIdentity": {}}}}},
            "lease": {
                "properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/spec"}], "default": {}}},
                "x-kubernetes-group-version-kind": [{"group": "coordination.k8s.io", "kind": "Lease", "version": "v1"}]
            },
            "spec": {"properties": {
                "holderIdentity": {"type": "string"}, "strategy": {"type": "string", "enum": ["Oldest"]}
            }},
            "loop": {"$ref": "#/components/schemas/loop"}
        }}});
        for (path, value, there) in [
            ("spec/holderIdentity", None, true),
            ("spec/holderIdentity", Some("anything"), true),
            ("spec/strategy", Some("Oldest"), true),
            ("spec/strategy", Some("Newest"), false),
            ("spec/preferredHolder", None, false),
            ("holderIdentity", None, false),
        ] {
            assert_eq!(described(&document, LEASE, path, value), Some(there), "{path} {value:?}");
        }
        assert_eq!(described(&document, VIRTUAL_MACHINE_RESTORE, "spec", None), None, "another kind");
    }
}
