//! Lenient reading of objects: what is absent, null or of another type counts as not said.

use serde_json::Value;

/// One JSON value, read by pointer (RFC 6901).
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a>(pub(super) &'a Value);

impl<'a> View<'a> {
    /// The value there, if any that is not null.
    pub(super) fn at(self, pointer: &str) -> Option<View<'a>> {
        self.0.pointer(pointer).filter(|v| !v.is_null()).map(View)
    }

    /// The text there, or the empty text.
    pub(super) fn text(self, pointer: &str) -> &'a str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole number there.
    pub(super) fn number(self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    /// Whether `true` stands there.
    pub(super) fn flag(self, pointer: &str) -> bool {
        self.0.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The elements of the list there, or none.
    pub(super) fn list(self, pointer: &str) -> impl Iterator<Item = View<'a>> + use<'a> {
        self.0
            .pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(View)
    }

    /// The condition of this type in `status.conditions`.
    pub(super) fn condition(self, kind: &str) -> Option<View<'a>> {
        self.list("/status/conditions").find(|c| c.text("/type") == kind)
    }

    /// The condition of this type if its status is `True`.
    pub(super) fn holds(self, kind: &str) -> Option<View<'a>> {
        self.condition(kind).filter(|c| c.text("/status") == "True")
    }

    /// The condition of this type if its status is `False`.
    pub(super) fn denies(self, kind: &str) -> Option<View<'a>> {
        self.condition(kind).filter(|c| c.text("/status") == "False")
    }

    /// Whether deletion was asked for.
    pub(super) fn deleting(self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }

    /// The finalizers, joined by commas.
    pub(super) fn finalizers(self) -> String {
        self.list("/metadata/finalizers").filter_map(|f| f.0.as_str()).collect::<Vec<_>>().join(", ")
    }
}
