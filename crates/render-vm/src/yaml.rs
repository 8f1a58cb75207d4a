//! YAML read back as strictly as it is written ([`vm::yaml`]).

use serde::de::DeserializeOwned;

/// Read one document, refusing everything that two parsers might read differently: duplicate keys, anchors, merge keys,
/// `yes` for true, tags.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! {
        max_aliases: 0,
        max_anchors: 0,
        max_merge_keys: 0,
        max_documents: 1,
        max_depth: 32,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::parse;

    #[test]
    fn what_is_written_is_read_back() {
        for text in
            ["", "no", "a\"b\\c/d\n", "\u{0}\u{7f}\u{85}\u{2028}\u{feff}", "\u{1f600}", "{{ x }} # $(y)"]
        {
            let mut out = String::new();
            vm::yaml::scalar(&mut out, text).unwrap();
            assert_eq!(parse::<Value>(&out).unwrap(), Value::from(text));
            let value = json!({"a": [{"b": text, "c": {}}, [1, [true, []]]], "d": null});
            assert_eq!(parse::<Value>(&vm::yaml::document(&value)).unwrap(), value);
        }
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        for text in ["a: 1\na: 2", "a: &x 1\nb: *x", "a: {<<: {b: 1}}", "a: !x 1", "--- 1\n--- 2", "a: ["] {
            assert!(parse::<Value>(text).is_err(), "{text:?}");
        }
        assert_eq!(parse::<Value>("a: no").unwrap(), json!({"a": "no"}));
    }
}
