//! The schema as one operation sees it: its own branch taken, every reference followed.

use serde_json::{Map, Value};

/// Where the description of what a reference names is kept, beside that of the field itself.
pub(crate) const FORM: &str = "form";

/// The words of all operations, as the schema has them.
pub(crate) fn operations() -> Vec<&'static str> {
    let words = vm::schema::request().pointer("/properties/spec/properties/operation/enum").unwrap();
    words.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// The schema of requests for one operation.
pub(crate) fn of(operation: &str) -> Value {
    let root = vm::schema::request();
    let mut whole = root.clone();
    let spec = whole.pointer_mut("/properties/spec").unwrap().as_object_mut().unwrap();
    let branches = spec.shift_remove("allOf").unwrap();
    let mut own = branches.as_array().unwrap().iter().filter(|branch| {
        branch["if"]["required"] == serde_json::json!(["operation"])
            && branch["if"]["properties"]["operation"]["const"] == operation
    });
    let then = own.next().unwrap()["then"].as_object().unwrap();
    assert!(own.next().is_none(), "one branch for each operation");
    assert!(then.keys().all(|key| key == "required" || key == "properties"));
    spec["required"]
        .as_array_mut()
        .unwrap()
        .extend(then.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
    let fields = spec["properties"].as_object_mut().unwrap();
    for (name, schema) in then["properties"].as_object().unwrap() {
        assert!(fields.contains_key(name), "{operation}: `{name}` is known");
        if *schema == Value::Bool(false) {
            fields.shift_remove(name);
        } else {
            let field = fields[name].as_object_mut().unwrap();
            field.shift_remove("maxProperties");
            field.extend(schema.as_object().unwrap().clone());
        }
    }
    whole.as_object_mut().unwrap().shift_remove("$defs");
    followed(&whole, root)
}

/// Every reference replaced by what it names; what stands beside it wins.
pub(crate) fn followed(schema: &Value, root: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut out = Map::new();
            if let Some(Value::String(name)) = fields.get("$ref") {
                let named = followed(root.pointer(&name[1..]).unwrap(), root);
                let named = named.as_object().unwrap().clone();
                if let Some(form) = named.get("description") {
                    out.insert(FORM.to_owned(), form.clone());
                }
                out.extend(named);
            }
            for (key, value) in fields.iter().filter(|(key, _)| *key != "$ref") {
                out.insert(key.clone(), followed(value, root));
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(|item| followed(item, root)).collect(),
        other => other.clone(),
    }
}
