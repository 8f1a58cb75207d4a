//! The keyword `pattern`, compiled when it is needed: one request meets a few of our patterns, and compiling all of them takes
//! longer than everything else about it.

use std::sync::OnceLock;

use jsonschema::paths::Location;
use jsonschema::{Keyword, ValidationError, Validator};
use serde_json::{Map, Value, json};

/// A pattern of our own.
struct Pattern {
    source: Value,
    compiled: OnceLock<Validator>,
}

/// What makes the keyword.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a factory")]
pub(super) fn later<'a>(
    _: &'a Map<String, Value>,
    pattern: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    Ok(Box::new(Pattern { source: json!({ "pattern": pattern }), compiled: OnceLock::new() }))
}

impl<'i> Keyword<'i> for Pattern {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        // the words are ours, as those of every other keyword
        if self.is_valid(instance) { Ok(()) } else { Err(ValidationError::custom("no match")) }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        #[expect(clippy::expect_used, reason = "a constant that the test below compiles")]
        let compile = || super::options().build(&self.source).expect("a constant pattern");
        !instance.is_string() || self.compiled.get_or_init(compile).is_valid(instance)
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::Schema;

    #[test]
    fn our_patterns_compile() {
        for source in [vm::schema::request(), vm::schema::policy()] {
            Schema::new(source).unwrap();
        }
    }
}
