//! The published JSON Schemas (draft 2020-12). They are written by hand; tests hold them and the Rust types together.

use std::sync::LazyLock;

use serde_json::Value;

/// The schema of a request, as it is published.
pub const REQUEST: &str = include_str!("../schema/vmrequest.v1alpha1.json");
/// The schema of a site's policy, as it is published.
pub const POLICY: &str = include_str!("../schema/vmpolicy.v1alpha1.json");

/// [`REQUEST`], parsed.
pub fn request() -> &'static Value {
    static PARSED: LazyLock<Value> = LazyLock::new(|| parsed(REQUEST));
    &PARSED
}

/// [`POLICY`], parsed.
pub fn policy() -> &'static Value {
    static PARSED: LazyLock<Value> = LazyLock::new(|| parsed(POLICY));
    &PARSED
}

#[expect(clippy::expect_used, reason = "constants that the test below parses")]
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("a constant schema")
}

#[cfg(test)]
mod tests {
    #[test]
    fn schemas_name_themselves_and_refer_to_nothing_outside() {
        for (schema, text, name) in
            [(super::request(), super::REQUEST, "vmrequest"), (super::policy(), super::POLICY, "vmpolicy")]
        {
            assert_eq!(schema["$id"], format!("https://vmlifecycle.dev/schemas/{name}.v1alpha1.json"));
            assert_eq!(text.matches("\"$ref\": ").count(), text.matches("\"$ref\": \"#/$defs/").count());
        }
    }
}
