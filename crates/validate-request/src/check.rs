//! One pass over a document: read, schema, rules, policy, defaults.

use std::sync::LazyLock;

use serde_json::Value;
use step::{Failure, Kind};
use vm::document::{self, Form};
use vm::policy::{Finding, Policy};
use vm::problem::Problem;
use vm::request::Accepted;
use vm::rules;

use crate::schema::Schema;

/// The schemas, compiled; that of a policy where there is one.
#[derive(Debug)]
pub struct Checker {
    request: Schema<'static>,
    policy: LazyLock<Schema<'static>>,
}

#[expect(clippy::expect_used, reason = "a constant that tests compile")]
fn of_policies() -> Schema<'static> {
    Schema::own(vm::schema::policy()).expect("a constant schema")
}

/// What became of a request.
#[derive(Debug)]
pub struct Verdict {
    /// What was read; null if nothing could be.
    pub document: Value,
    /// Every problem, by place; empty if accepted.
    pub problems: Vec<Problem>,
    /// The request with every default explicit, if accepted.
    pub request: Option<Accepted>,
}

impl Checker {
    /// Compile the schema of requests.
    pub fn new() -> Result<Self, Failure> {
        let compiled = Schema::own(vm::schema::request());
        let request = compiled.map_err(|why| Failure::new(Kind::Internal, why))?;
        Ok(Self { request, policy: LazyLock::new(of_policies) })
    }

    /// Check a request.
    pub fn check(&self, bytes: &[u8], form: Form, policy: &Policy) -> Result<Verdict, Failure> {
        let mut document = match document::read(bytes, form) {
            Ok(document) => document,
            Err(problem) => {
                return Ok(Verdict { document: Value::Null, problems: vec![problem], request: None });
            }
        };
        rules::name(&mut document, policy);
        let problems = rules::request(&document, policy, self.request.problems(&document));
        if !problems.is_empty() {
            return Ok(Verdict { document, problems, request: None });
        }
        let request = rules::accepted(&document, policy).map_err(|error| {
            Failure::new(Kind::Internal, format!("an accepted request cannot be read: {error}"))
                .hint("report it with the request")
        })?;
        Ok(Verdict { document, problems, request: Some(request) })
    }

    /// Read a policy.
    pub fn policy(&self, bytes: &[u8]) -> Result<Policy, Vec<Problem>> {
        let (document, problems) = self.policy_document(bytes)?;
        rules::policy_file(&document, problems).map(|file| file.spec)
    }

    /// Look for what is odd about a policy; every problem if it cannot be read.
    pub fn policy_check(&self, bytes: &[u8]) -> Result<Vec<Finding>, Vec<Problem>> {
        let (document, problems) = self.policy_document(bytes)?;
        rules::policy_check(&document, problems)
    }

    /// A policy as it is written, and what the schema says of it.
    fn policy_document(&self, bytes: &[u8]) -> Result<(Value, Vec<Problem>), Vec<Problem>> {
        let document = document::read(bytes, Form::Any).map_err(|problem| vec![problem])?;
        let problems = self.policy.problems(&document);
        Ok((document, problems))
    }
}
