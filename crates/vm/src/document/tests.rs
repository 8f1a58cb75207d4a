use serde_json::{Value, json};

use super::{Form, MAX_NODES, read};
use crate::problem::Code;
use crate::request::MAX_BYTES;

fn any(text: &str) -> Result<Value, String> {
    read(text.as_bytes(), Form::Any).map_err(|problem| problem.to_string())
}

fn code(text: &str) -> Code {
    read(text.as_bytes(), Form::Any).expect_err(text).code
}

#[test]
fn both_forms_give_the_same_value() {
    let yaml =
        "a: 1\nb: [x, 'y', \"z\\u00fc\"]\nc: {d: true, e: null}\nf: |\n  two\n  lines\nspec:\n  power: on\n";
    let json =
        r#"{"a":1,"b":["x","y","zü"],"c":{"d":true,"e":null},"f":"two\nlines\n","spec":{"power":"on"}}"#;
    let value = json!({"a": 1, "b": ["x", "y", "zü"], "c": {"d": true, "e": null}, "f": "two\nlines\n", "spec": {"power": "on"}});
    assert_eq!(any(yaml), Ok(value.clone()));
    assert_eq!(any(json), Ok(value));
}

#[test]
fn plain_scalars_that_readers_understand_alike() {
    for (text, value) in [
        ("8Gi", json!("8Gi")),
        ("0", json!(0)),
        ("-5", json!(-5)),
        ("9223372036854775807", json!(i64::MAX)),
        ("true", json!(true)),
        ("~", Value::Null),
        ("u1.medium", json!("u1.medium")),
        ("1.2.3", json!("1.2.3")),
        ("quay.io/a:42", json!("quay.io/a:42")),
        ("10.0.0.1", json!("10.0.0.1")),
        ("in-cluster", json!("in-cluster")),
        ("2a01", json!("2a01")),
        ("1-2", json!("1-2")),
        ("'0777'", json!("0777")),
        ("\"yes\"", json!("yes")),
    ] {
        let expected = if ["1.2.3", "10.0.0.1"].contains(&text) { None } else { Some(value) };
        // the float pattern of YAML 1.1 takes `1.2.3` by its letter, most of its readers do not
        assert_eq!(any(&format!("a: {text}")).ok().map(|v| v["a"].clone()), expected, "{text}");
    }
}

#[test]
fn plain_scalars_that_readers_understand_differently() {
    for text in [
        "0777",
        "089",
        "1_000",
        "12:30:45",
        "1:30",
        "0x1F",
        "0o17",
        "0b101",
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "N",
        ".inf",
        "-.INF",
        ".nan",
        "1e3",
        "1E-3",
        "2026-09-01",
        "2026-09-01T10:00:00Z",
        "2001-12-14 21:59:43.10 -5",
        "=",
        "+12",
        "1_0.5",
    ] {
        assert_eq!(code(&format!("a: {text}")), Code::Quote, "{text}");
        assert_eq!(any(&format!("a: '{text}'")), Ok(json!({"a": text})), "{text}");
    }
    assert_eq!(
        any("on: 1").unwrap_err(),
        "/on: E_QUOTE: line 1, column 1: YAML readers differ about `on`; hint: quote this value"
    );
}

#[test]
fn numbers_are_whole_and_fit() {
    for text in ["1.5", "123456789012345678901234567890", "9223372036854775808", "1.0e5", ".5"] {
        assert_eq!(code(&format!("a: {text}")), Code::Number, "{text}");
        if !text.starts_with('.') {
            assert_eq!(code(&format!("{{\"a\": {text}}}")), Code::Number, "{text}");
        }
    }
    assert_eq!(code("{\"a\": 1e999}"), Code::Number);
    assert_eq!(
        any("{\"a\": 1.0}").unwrap_err(),
        "/a: E_NUMBER: line 1, column 9: not a whole number of at most 64 bits; hint: quote it if it is text"
    );
}

#[test]
fn features_that_readers_do_not_share() {
    for (text, line) in [
        (
            "a: &x 1",
            "/a: E_YAML_FEATURE: line 1, column 7: anchors are not read; hint: write the value out where it is needed",
        ),
        ("a: *x", "/a: E_YAML_FEATURE: line 1, column 4: aliases are not read; hint: write the value out"),
        ("<<: {a: 1}", "document: E_YAML_FEATURE: line 1, column 1: merge keys are not read"),
        (
            "a: !!binary aGk=",
            "/a: E_YAML_FEATURE: line 1, column 13: tags are not read; hint: quote text, leave numbers plain",
        ),
        (
            "a: !x {b: 1}",
            "/a: E_YAML_FEATURE: line 1, column 7: tags are not read; hint: quote text, leave numbers plain",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "document: E_DOCUMENTS: line 2, column 1: a second document; hint: one file holds one document",
        ),
        (
            "a: 1\na: 2\n",
            "/a: E_DUPLICATE_KEY: line 2, column 1: this key is there already; hint: keep one of the two",
        ),
        (
            "{\"a\": 1, \"a\": 2}",
            "/a: E_DUPLICATE_KEY: line 1, column 12: this key is there already; hint: keep one of the two",
        ),
        ("? [a]\n: 1\n", "document: E_YAML: line 1, column 3: a key has to be a string"),
        ("1: 2", "document: E_YAML: line 1, column 1: a key has to be a string"),
    ] {
        assert_eq!(any(text).unwrap_err(), line, "{text}");
    }
}

#[test]
fn bytes_that_are_no_text() {
    for (bytes, line) in [
        (b"a: \xff".to_vec(), "document: E_ENCODING: not UTF-8 at byte 4"),
        (
            b"\xef\xbb\xbfa: 1".to_vec(),
            "document: E_ENCODING: starts with a byte order mark; hint: save it as UTF-8 without BOM",
        ),
        (
            b"a: 1\nb: \x00".to_vec(),
            "document: E_CHARACTER: line 2, column 4: character U+0000 is not read; hint: remove it",
        ),
        (
            b"a: \x1b[31m".to_vec(),
            "document: E_CHARACTER: line 1, column 4: character U+001B is not read; hint: remove it",
        ),
        (
            "a: b\u{202e}c".into(),
            "document: E_CHARACTER: line 1, column 5: character U+202E is not read; hint: remove it",
        ),
        (
            br#"{"a": "\u0000"}"#.to_vec(),
            "/a: E_CHARACTER: character U+0000 is not read, raw or escaped; hint: remove it",
        ),
        (
            br#"a: "\u0085""#.to_vec(),
            "/a: E_CHARACTER: character U+0085 is not read, raw or escaped; hint: remove it",
        ),
        (b" \n".to_vec(), "document: E_SIZE: empty; hint: a `VMRequest` in YAML or JSON is expected"),
        (b"# nothing\n".to_vec(), "document: E_SIZE: empty but for comments"),
        (
            vec![b' '; MAX_BYTES + 1],
            "document: E_SIZE: more than 65536 bytes; hint: keep data out of the request and refer to it",
        ),
    ] {
        assert_eq!(read(&bytes, Form::Any).unwrap_err().to_string(), line);
    }
    assert_eq!(code("{\"a\": \"\\ud800\"}"), Code::Json);
}

#[test]
fn size_and_depth_have_limits() {
    let nested = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    assert!(any(&nested(14)).is_ok());
    assert_eq!(code(&nested(15)), Code::Depth);
    assert_eq!(code(&nested(30_000)), Code::Depth);
    let yaml = |n: usize| format!("a: {}1{}", "[".repeat(n), "]".repeat(n));
    assert!(any(&yaml(14)).is_ok());
    assert_eq!(code(&yaml(15)), Code::Depth);
    assert_eq!(code(&yaml(30_000)), Code::Depth);
    let wide = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    assert!(any(&wide(MAX_NODES - 1)).is_ok());
    assert_eq!(code(&wide(MAX_NODES)), Code::Nodes);
    assert_eq!(code(&format!("{{\"a\": {}}}", wide(MAX_NODES))), Code::Nodes);
}

#[test]
fn json_alone_where_only_json_is_sent() {
    let problem = read(b"a: 1", Form::Json).unwrap_err();
    assert_eq!(problem.to_string(), "document: E_JSON: line 1, column 1: expected value");
}
