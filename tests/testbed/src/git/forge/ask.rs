//! What every forge is asked, and how each differs in saying it.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::{Api, Pull};

/// One request, understood.
#[derive(Debug)]
pub(super) enum Ask {
    List {
        head: Option<String>,
        base: Option<String>,
        page: usize,
        size: usize,
    },
    Open {
        head: String,
        base: String,
        title: String,
        body: String,
        labels: Vec<String>,
        reviewers: Vec<String>,
    },
    Read(u64),
    Update {
        number: u64,
        title: Option<String>,
        body: Option<String>,
    },
    Label(u64, Vec<String>),
    Review {
        number: u64,
        people: Vec<String>,
        all: bool,
    },
    Reviewed(u64),
    Person(String),
    Commit(String),
    Token(Value),
}

impl Ask {
    pub(super) const fn api(&self) -> Api {
        match self {
            Self::List { .. } => Api::List,
            Self::Open { .. } => Api::Open,
            Self::Read(_) => Api::Read,
            Self::Update { .. } => Api::Update,
            Self::Label(..) => Api::Label,
            Self::Review { .. } => Api::Review,
            Self::Reviewed(_) | Self::Person(_) | Self::Commit(_) => Api::Look,
            Self::Token(_) => Api::Token,
        }
    }
}

/// Why something is not done, for each forge to say in its words.
#[derive(Debug, Clone, Copy)]
pub(super) enum No {
    Unknown,
    Unauthorized,
    There(u64),
    /// There is no such branch.
    Branch,
    /// It has nothing that the other has not.
    Commits,
    Nobody,
}

/// The shapes and words of one forge.
pub(super) trait Forge: Sync {
    fn read(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Option<Ask>;
    fn show(&self, pull: &Pull, host: &str) -> Value;
    fn list(&self, all: Vec<Value>, _more: bool) -> Value {
        Value::Array(all)
    }
    fn no(&self, no: No, head: &str) -> (u16, Value);
    /// What a success other than 200 has for a status.
    fn status(&self, api: Api) -> u16 {
        if api == Api::Open { 201 } else { 200 }
    }
    fn people(&self, found: &[String]) -> Value {
        Value::Array(found.iter().map(|name| json!({ "user": { "login": name } })).collect())
    }
    /// Whether the second of two is the first again.
    fn again(&self) -> bool {
        false
    }
    /// Whether the value of `Authorization` is right.
    fn lets_in(&self, authorization: &str, password: &str) -> bool;
}
