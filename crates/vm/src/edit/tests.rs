use serde_json::{Value, json};

use super::{Document, Object, Sort, Step, path};

/// What one edit makes of a text, or what it says.
fn edit(text: &str, edit: impl FnOnce(&Document<'_>) -> Result<String, super::Fault>) -> String {
    Document::only(text).and_then(|document| edit(&document)).unwrap_or_else(|fault| format!("! {fault}"))
}

fn set(text: &str, at: &str, value: &Value) -> String {
    edit(text, |d| d.set(&path(at), value))
}

#[test]
fn a_scalar_is_replaced_and_nothing_else() {
    let off = json!("Halted");
    for (text, wanted) in [
        ("a: {b: Always} # c\n", "a: {b: Halted} # c\n"),
        ("a:\r\n  b: Always   # x\r\n", "a:\r\n  b: Halted   # x\r\n"),
        ("\u{feff}a:\n  b: 'Always'", "\u{feff}a:\n  b: 'Halted'"),
        ("a:\n  \"b\" : \"Always\"\n", "a:\n  \"b\" : \"Halted\"\n"),
        ("a:\n  b: &x Always\n", "a:\n  b: &x Halted\n"),
        ("a:\n  b:\t Always\t\n  # \t\n", "a:\n  b:\t Halted\t\n  # \t\n"),
        ("a:\n  b:\n    Always\nc: 1", "a:\n  b:\n    Halted\nc: 1"),
        ("a:\n  b: # none\n  c: 1\n", "a:\n  b: Halted # none\n  c: 1\n"),
        ("? a\n: ? b\n  : Always\n", "? a\n: ? b\n  : Halted\n"),
        ("%YAML 1.2\n--- # x\na: {b: ä, c: ü}\n...\n", "%YAML 1.2\n--- # x\na: {b: Halted, c: ü}\n...\n"),
    ] {
        assert_eq!(set(text, "a.b", &off), wanted, "{text:?}");
    }
}

#[test]
fn a_new_value_is_quoted_where_it_has_to_be() {
    for (text, value, wanted) in [
        ("a: x\n", json!("yes"), "a: \"yes\"\n"),
        ("a: x\n", json!("10"), "a: \"10\"\n"),
        ("a: x\n", json!(10), "a: 10\n"),
        ("a: 'x'\n", json!("it's"), "a: 'it''s'\n"),
        ("a: 'x'\n", json!("two\nlines"), "a: \"two\\nlines\"\n"),
        ("a: 'x'\n", json!(true), "a: true\n"),
        ("a: x\n", json!("a: b # c"), "a: \"a: b # c\"\n"),
        ("a: x\n", json!("disk-root-g2.yaml"), "a: disk-root-g2.yaml\n"),
        ("a: x\n", json!("docker://r/i@sha256:0f"), "a: docker://r/i@sha256:0f\n"),
        ("a: x\n", json!("\u{85}\u{1f600}\u{feff}"), "a: \"\\u0085\u{1f600}\\ufeff\"\n"),
        ("a: x\n", json!(""), "a: \"\"\n"),
    ] {
        assert_eq!(set(text, "a", &value), wanted);
    }
}

#[test]
fn what_is_shared_or_odd_is_refused() {
    let alias = "is an alias (`*`) of another value";
    let anchor = "has an anchor (`&`) that is used elsewhere, so a change would change other places too";
    for (text, wanted) in [
        ("x: &x Always\na: {b: *x}\n", format!("! `a.b` {alias}")),
        ("x: &x {b: Always}\na: *x\n", format!("! `a` {alias}")),
        ("a: &x {b: Always}\nc: *x\n", format!("! `a` {anchor}")),
        ("a: {b: &x Always}\nc: *x\n", format!("! `a.b` {anchor}")),
        ("x: &x {b: 1}\na: {<<: *x}\n", "! `a.b` comes from a merge key (`<<`)".to_owned()),
        ("a: {b: !!str Always}\n", "! `a.b` has a tag (`!`)".to_owned()),
        ("a: {b: [1]}\n", "! `a.b` is no single value".to_owned()),
        ("a: {c: 1}\n", "! it has no `a.b`".to_owned()),
        ("a:\n  b: |\n    x\n", "! `a.b` is written as a block of text".to_owned()),
        ("a: {b: 1}\na: 2\n", "! line 2, column 1: this key is there already".to_owned()),
        ("a: {b: 1}\n---\na: 1\n", "! it has 2 such documents".to_owned()),
        ("[a]: 1\n", "! line 1, column 1: a key that is no text".to_owned()),
        ("# nothing\n", "! it has no such document".to_owned()),
    ] {
        assert_eq!(set(text, "a.b", &json!("Halted")), wanted, "{text:?}");
    }
    let bomb: String = ["a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()]
        .into_iter()
        .chain((b'b'..=b'h').map(|c| {
            let (this, before) = (char::from(c), char::from(c - 1));
            format!("{this}: &{this} [{}]\n", vec![format!("*{before}"); 10].join(", "))
        }))
        .collect();
    assert_eq!(set(&bomb, "a", &json!(1)), "! too many values");
}

#[test]
fn items_are_appended() {
    for (text, wanted) in [
        ("a:\n- x\n- y # why\n\n# end\nb: 1\n", "a:\n- x\n- y # why\n- new.yaml\n\n# end\nb: 1\n"),
        ("a:\n  - x", "a:\n  - x\n  - new.yaml"),
        (
            "a:\r\n  - x\r\n  - k: v\r\n    l: |\r\n      t\r\n\r\nb: 1\r\n",
            "a:\r\n  - x\r\n  - k: v\r\n    l: |\r\n      t\r\n  - new.yaml\r\n\r\nb: 1\r\n",
        ),
        ("a: [x, y ,]\n", "a: [x, y, new.yaml ,]\n"),
        ("a: []\n", "a: [new.yaml]\n"),
        ("a:\n  - &k x\n...\n", "a:\n  - &k x\n  - new.yaml\n...\n"),
        ("a:\n  - - x\n", "a:\n  - - x\n  - new.yaml\n"),
        ("a:\n", "! `a` is no list"),
        ("a: {b: 1}\n", "! `a` is no list"),
        (
            "a: &a\n  - x\nb: *a\n",
            "! `a` has an anchor (`&`) that is used elsewhere, so a change would change other places too",
        ),
    ] {
        assert_eq!(edit(text, |d| d.append(&path("a"), &json!("new.yaml"))), wanted, "{text:?}");
    }
    let item = json!({"name": "root", "dataVolume": {"name": "d"}, "list": [1, {"k": "v"}]});
    assert_eq!(
        edit("a:\n- name: x\n", |d| d.append(&path("a"), &item)),
        "a:\n- name: x\n- name: root\n  dataVolume:\n    name: d\n  list:\n    - 1\n    - k: v\n"
    );
}

#[test]
fn items_are_taken_out() {
    let named = [Step::from("a"), Step::Named("y".into())];
    for (text, at, wanted) in [
        ("a:\n- x\n# of y\n- y # why\n- z\n", [Step::from("a"), 1.into()], "a:\n- x\n# of y\n- z\n"),
        ("a:\r\n  - x\r\n  - y\r\nb: 1\r\n", [Step::from("a"), 1.into()], "a:\r\n  - x\r\nb: 1\r\n"),
        (
            "a:\n  - name: x\n  - name: y\n    z: |\n      1\n\nb: 1\n",
            named.clone(),
            "a:\n  - name: x\n\nb: 1\n",
        ),
        ("a: [x, y, z]\n", [Step::from("a"), 1.into()], "a: [x, z]\n"),
        ("a: [x, y]\n", [Step::from("a"), 1.into()], "a: [x]\n"),
        ("a: [x]\n", [Step::from("a"), 0.into()], "a: []\n"),
        ("a:\n- x\n", [Step::from("a"), 0.into()], "! `a` has no other item"),
        ("a:\n- x\n", [Step::from("a"), 1.into()], "! it has no `a[1]`"),
        ("a:\n- x\n", named, "! it has no `a[y]`"),
        (
            "a:\n- x\n- &y y\n",
            [Step::from("a"), 1.into()],
            "! `a[1]` cannot be taken out: an anchor or a merge key is beside it",
        ),
    ] {
        assert_eq!(edit(text, |d| d.remove_item(&at)), wanted, "{text:?}");
    }
}

#[test]
fn keys_are_taken_out_and_put_in() {
    for (text, at, wanted) in [
        ("a:\n  b: 1 # one\n  c: 2\n", "a.b", "a:\n  c: 2\n"),
        ("a:\n  b: 1\n  c:\n    - 2\n  # end\nd: 1\n", "a.c", "a:\n  b: 1\n  # end\nd: 1\n"),
        ("a: {b: 1, c: 2}\n", "a.c", "a: {b: 1}\n"),
        ("a: {b: 1, c: 2}\n", "a.b", "a: {c: 2}\n"),
        ("a:\n  b: 1\n", "a.b", "! `a` has no other key"),
        ("- b: 1\n  c: 2\n", "b", "! it has no `b`"),
        (
            "x: &x {c: 1}\na:\n  <<: *x\n  b: 1\n",
            "a.b",
            "! `a.b` cannot be taken out: an anchor or a merge key is beside it",
        ),
    ] {
        assert_eq!(edit(text, |d| d.remove_key(&path(at))), wanted, "{text:?}");
    }
    for (text, value, wanted) in [
        ("a:\n  b: 1 # one\n\nc: 2\n", json!("Halted"), "a:\n  b: 1 # one\n  new: Halted\n\nc: 2\n"),
        ("a:\n  b: 1", json!(true), "a:\n  b: 1\n  new: true"),
        ("a: {b: 1}\n", json!({"k": [1]}), "a: {b: 1, new: {k: [1]}}\n"),
        ("a: {}\n", json!("x"), "a: {new: x}\n"),
        ("a:\r\n  b: 1\r\n", json!({"k": {"l": 1}}), "a:\r\n  b: 1\r\n  new:\r\n    k:\r\n      l: 1\r\n"),
        ("a: {new: 1}\n", json!(1), "! `a.new` is there already"),
        ("a:\n", json!(1), "! `a` is no mapping"),
    ] {
        assert_eq!(edit(text, |d| d.insert_key(&path("a"), "new", &value)), wanted, "{text:?}");
    }
    assert_eq!(
        edit("- b: 1\n", |d| d.insert_key(&[0.into()], "k.io/x", &json!("1"))),
        "- b: 1\n  k.io/x: \"1\"\n"
    );
}

#[test]
fn text_that_is_yaml_itself_is_edited_in_any_style() {
    let inner = |text: &str| Document::only(text)?.set(&path("s.r"), &json!("Halted"));
    for (text, wanted) in [
        (
            "a:\n  b: |-\n    # Always\n    s:\n      r: Always\n",
            "a:\n  b: |-\n    # Always\n    s:\n      r: Halted\n",
        ),
        (
            "a:\r\n  b: |\r\n    s: {q: Always, r: Always}\r\n",
            "a:\r\n  b: |\r\n    s: {q: Always, r: Halted}\r\n",
        ),
        ("a: {b: \"s:\\n  r: Always\"}\n", "a: {b: \"s:\\n  r: Halted\"}\n"),
        ("a:\n  b: >\n    s:\n      {r:\n      Always}\n", "a:\n  b: >\n    s:\n      {r:\n      Halted}\n"),
        ("a: {b: '{\"s\": {\"r\": \"Always\"}}'}\n", "a: {b: '{\"s\": {\"r\": \"Halted\"}}'}\n"),
    ] {
        assert_eq!(edit(text, |d| d.set_in(&path("a.b"), inner)), wanted, "{text:?}");
    }
}

#[test]
fn an_object_is_found_among_documents() {
    let text = "kind: VirtualMachine\napiVersion: kubevirt.io/v1\nmetadata: {name: web}\n---\n\
                apiVersion: v1\nkind: Secret\nmetadata: {name: web}\n---\n---\n\
                apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web, namespace: a}\n---\n\
                apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web, namespace: b}\n";
    let find = |group, kind, namespace, name| {
        Document::object(text, &Object { group, kind, namespace, name })
            .map(|d| d.value().pointer("/metadata/namespace").cloned())
            .map_err(|fault| (fault.sort(), fault.message().to_owned()))
    };
    assert_eq!(find("kubevirt.io", "VirtualMachine", Some("a"), "web"), Ok(Some(json!("a"))));
    assert_eq!(find("kubevirt.io", "VirtualMachine", Some("c"), "web"), Ok(None));
    assert_eq!(find("", "Secret", Some("a"), "web"), Ok(None));
    assert_eq!(find("", "Secret", None, "db"), Err((Sort::Missing, "it has no Secret `db`".to_owned())));
    assert_eq!(find("kubevirt.io", "VirtualMachine", None, "web"), Ok(None));
    let twice = format!("{text}---\n{text}");
    let object = Object { group: "", kind: "Secret", namespace: Some("a"), name: "web" };
    assert_eq!(Document::object(&twice, &object).unwrap_err().message(), "it has Secret `a/web` 2 times");
}

#[test]
fn merge_keys_are_read() {
    let text = "base: &b {r: Always, n: 1}\nspec:\n  <<: *b\n  n: 2\n";
    let document = Document::only(text).unwrap();
    assert_eq!(document.get(&path("spec")), Some(&json!({"n": 2, "r": "Always"})));
    let scalar = document.scalar(&path("spec.n")).unwrap().unwrap();
    assert_eq!((scalar.value, &text[scalar.span]), (json!(2), "2"));
    assert_eq!(document.scalar(&path("spec.q")), Ok(None));
}
