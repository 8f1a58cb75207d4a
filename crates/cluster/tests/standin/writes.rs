//! What the stand-in does with objects that are sent to it.

use hyper::Response;
use serde_json::{Value, json};

use super::{Body, Standin, answer, status_object};

impl Standin {
    pub(super) fn create(&self, collection: &str, body: Value) -> Response<Body> {
        let path = format!("{collection}/{}", body["metadata"]["name"].as_str().unwrap());
        if self.get(&path).is_some() {
            let mut exists = status_object(409, "already exists", None);
            exists["reason"] = json!("AlreadyExists");
            return answer(409, &exists);
        }
        self.put(&path, body);
        answer(201, &self.get(&path).unwrap())
    }

    pub(super) fn replace(&self, path: &str, object: &Value, body: Value) -> Response<Body> {
        let version = |o: &Value| o["metadata"]["resourceVersion"].clone();
        if version(&body) != version(object) {
            let mut conflict = status_object(409, "the object has been modified", None);
            conflict["reason"] = json!("Conflict");
            return answer(409, &conflict);
        }
        self.put(path, body);
        answer(200, &self.get(path).unwrap())
    }
}

/// `test` and `remove` of RFC 6902; none if one of them does not fit, or is another.
pub(super) fn patched(mut object: Value, operations: &Value) -> Option<Value> {
    for operation in operations.as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/");
        match operation["op"].as_str().unwrap() {
            "test" => (object.pointer(path)? == &operation["value"]).then_some(())?,
            "remove" => object.pointer_mut(parent)?.as_object_mut()?.remove(&name).map(|_| ())?,
            _ => return None,
        }
    }
    Some(object)
}
