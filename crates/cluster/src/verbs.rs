//! What can be done with objects. Each request has its own deadline and says what it could not know.

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use step::Kind as Class;

use crate::client::{Cluster, Refused};
use crate::error::Error;
use crate::object::{Kind, Name, Object};

/// Who wrote a field, in `metadata.managedFields`.
const MANAGER: &str = "fieldManager=vm-lifecycle";
/// Objects a page: `client-go`'s own page size for lists.
const PAGE: u32 = 500;
/// A list whose pages expired is begun anew this often; each time the pages have lived for minutes.
const LISTS: u32 = 3;

/// What came of a create.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It is there now, as the server has it.
    New(Value),
    /// An object of that name was there already; whose it is has to be read.
    Exists,
}

/// What came of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The server took the request; finalizers may keep the object for as long as they like.
    Asked,
    /// There is no such object.
    Gone,
    /// An object of that name has another uid: it was not touched.
    Other,
}

impl Cluster {
    /// All objects of a kind in a namespace, those with these labels where a selector is given (`a=b,c`). Objects of a list
    /// have no `apiVersion` and no `kind` of their own.
    pub async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        label_selector: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let collection = kind.collection(safe(namespace)?);
        let selector = label_selector.map_or_else(String::new, |s| format!("&labelSelector={}", encoded(s)));
        let mut begun = 1;
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let uri = format!("{collection}?limit={PAGE}{selector}{next}");
            let mut page = match self.send(Request::get(uri), Vec::new()).await {
                // the server forgets old pages after five minutes
                Err(refused) if refused.error.expired() && !next.is_empty() && begun < LISTS => {
                    begun += 1;
                    (all, next) = (Vec::new(), String::new());
                    continue;
                }
                page => page.map_err(|r| r.error)?,
            };
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                all.extend(items);
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => next = format!("&continue={}", encoded(token)),
                _ => return Ok(all),
            }
        }
    }

    /// Create it. `body` need not have `apiVersion`, `kind`, name and namespace: they are those of `object`.
    pub async fn create(&self, object: &Object, body: &Value) -> Result<Created, Error> {
        let request = Request::post(format!("{}?{MANAGER}", object.collection()));
        match self.send(json_body(request), named(object, body)).await {
            Ok(made) => Ok(Created::New(made)),
            Err(refused) if refused.error.is_for("AlreadyExists") => Ok(Created::Exists),
            Err(refused) => Err(refused.error),
        }
    }

    /// Put it in the place of the object that was read: `body` is that object with its changes and its resourceVersion.
    /// None if another change came first, or if it is gone: read it again.
    pub async fn replace(&self, object: &Object, body: &Value) -> Result<Option<Value>, Error> {
        let request = Request::put(format!("{}?{MANAGER}", object.path()));
        match self.send(json_body(request), named(object, body)).await {
            Ok(made) => Ok(Some(made)),
            Err(refused) if refused.absent || refused.error.is_for("Conflict") => Ok(None),
            Err(refused) => Err(refused.error),
        }
    }

    /// Merge these fields into it (RFC 7396). None if it is not there.
    pub async fn merge_patch(&self, object: &Object, patch: &Value) -> Result<Option<Value>, Error> {
        self.patch(object, "application/merge-patch+json", patch).await
    }

    /// Apply these operations to it (RFC 6902), all or none. None if it is not there; [`Error::test_failed`] if a `test`
    /// found something else.
    pub async fn json_patch(&self, object: &Object, patch: &Value) -> Result<Option<Value>, Error> {
        self.patch(object, "application/json-patch+json", patch).await
    }

    async fn patch(
        &self,
        object: &Object,
        content_type: &str,
        patch: &Value,
    ) -> Result<Option<Value>, Error> {
        let request = Request::patch(format!("{}?{MANAGER}", object.path()));
        let request = request.header(CONTENT_TYPE, content_type);
        match self.send(request, patch.to_string().into_bytes()).await {
            Ok(made) => Ok(Some(made)),
            Err(refused) if refused.absent => Ok(None),
            Err(refused) => Err(refused.error),
        }
    }

    /// Ask for its deletion, in the background for what it owns; only if it has this uid, where one is given.
    pub async fn delete(&self, object: &Object, uid: Option<&str>) -> Result<Deleted, Error> {
        let mut options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        if let Some(uid) = uid {
            options["preconditions"] = json!({"uid": uid});
        }
        let request = json_body(Request::delete(object.path()));
        match self.send(request, options.to_string().into_bytes()).await {
            Ok(_) => Ok(Deleted::Asked),
            Err(refused) if refused.absent => Ok(Deleted::Gone),
            // said in different words by different layers of the API server; the object itself tells whose it is
            Err(refused) if uid.is_some() && refused.error.is_for("Conflict") => {
                match self.get(object).await? {
                    None => Ok(Deleted::Gone),
                    Some(now) if now.pointer("/metadata/uid").and_then(Value::as_str) != uid => {
                        Ok(Deleted::Other)
                    }
                    Some(_) => Err(refused.error),
                }
            }
            Err(refused) => Err(refused.error),
        }
    }

    /// `PUT /apis/subresources.kubevirt.io/v1/…/{verb}` of a machine or its instance, such as `stop`. KubeVirt answers 202: it
    /// has noted the wish. What it refuses is an [`Error`] with its status and its words; its 500 (`stop/start already
    /// underway`) is an answer and slows nobody down.
    pub async fn subresource(&self, object: &Object, verb: &str, body: &Value) -> Result<(), Error> {
        let uri = format!(
            "/apis/subresources.kubevirt.io/v1/namespaces/{}/{}/{}/{}",
            object.name.namespace(),
            object.kind.plural,
            object.name.name(),
            safe(verb)?,
        );
        let request = json_body(Request::put(uri)).body(body.to_string().into_bytes());
        let answer = self.through_gate(async |client: Client| {
            let request = request.map_err(kube::Error::HttpError)?;
            match client.request_text(request).await {
                Ok(_) => Ok(Ok(())),
                Err(kube::Error::Api(status)) if status.code == 500 => Ok(Err(Error::from(&*status))),
                Err(error) => Err(error),
            }
        });
        answer.await.map_err(|refused: Refused| refused.error)?
    }
}

fn json_body(request: http::request::Builder) -> http::request::Builder {
    request.header(CONTENT_TYPE, "application/json")
}

/// The body with the identity of the object.
fn named(object: &Object, body: &Value) -> Vec<u8> {
    let mut body = body.clone();
    body["apiVersion"] = json!(object.kind.api_version());
    body["kind"] = json!(object.kind.word());
    body["metadata"]["name"] = json!(object.name.name());
    body["metadata"]["namespace"] = json!(object.name.namespace());
    body.to_string().into_bytes()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The text, if it is one label, so that it is one part of a path.
fn safe(text: &str) -> Result<&str, Error> {
    match format!("{text}/x").parse::<Name>() {
        Ok(_) => Ok(text),
        Err(why) => Err(Error::new(Class::Usage, format!("`{text}` is not a name: {why}"))),
    }
}
