//! What the policy says of the environment that a machine is of: of a new one by its request, of one that is there by what Git
//! holds, or by its label in the cluster for those who see nothing of Git.

use crate::day_two::{Operation, Request};
use crate::definition::Definition;
use crate::name::Label;
use crate::policy::{Environment, Policy, RequiredField, Wildcard};
use crate::problem::{Code, Problem, echo, nearest};
use crate::request::{Accepted, Metadata};

use super::Facts;
use super::site::several;

const ENVIRONMENT: &str = "/spec/lifecycle/environment";
const PROTECTED: &str = "/spec/lifecycle/protected";

/// A new machine.
pub(super) fn site(facts: &Facts<'_>, policy: &Policy, found: &mut Vec<Problem>) {
    let Some(name) = facts.text(ENVIRONMENT).filter(|_| !policy.environments.is_empty()) else { return };
    let Some(environment) = policy.environment(name) else {
        found.push(unknown(name, policy));
        return;
    };
    let elsewhere = |namespace: &&str| !environment.allows_namespace(namespace);
    if let Some(namespace) = facts.text("/spec/target/namespace").filter(elsewhere) {
        let message = format!("the policy does not allow `{name}` in namespace {}", echo(namespace));
        let names: Vec<&str> = environment.namespaces.iter().map(Wildcard::as_str).collect();
        let problem = Problem::new(ENVIRONMENT, Code::PolicyEnvironment, message);
        found.push(problem.hint(format!("it is for {}", several(&names))));
    }
    // what nobody may ask for is told already
    let word = facts.operation().filter(|word| policy.allows_operation(word));
    found.extend(word.and_then(|word| operation(environment, name, word)));
    let wanted = environment.required.iter().filter(|field| !policy.required.contains(field));
    for field in wanted.filter(|field| field.is_of_a_machine() || facts.get("/metadata").is_some()) {
        if !facts.has(&field.pointer()) {
            found.push(empty(*field, name));
        }
    }
    if environment.protected && facts.get(PROTECTED).is_some_and(|protected| protected == false) {
        let message = format!("the policy protects every machine of `{name}`");
        found.push(Problem::new(PROTECTED, Code::PolicyEnvironment, message).hint("leave it out"));
    }
}

/// A machine that Git holds, or held.
pub(super) fn against(request: &Request, definition: &Definition, policy: &Policy) -> Vec<Problem> {
    let names = match &request.spec.operation {
        Operation::Undelete(undelete) => {
            let life = definition.life(undelete.request_id.as_ref());
            life.and_then(|(_, life)| life.environment()).into_iter().collect()
        }
        _ => definition.environments(),
    };
    names.into_iter().flat_map(|name| day_two(request, name, policy)).collect()
}

/// Whether the policy protects a machine that Git holds.
pub(super) fn protects(definition: &Definition, policy: &Policy) -> bool {
    let names = definition.environments();
    names.into_iter().filter_map(|name| policy.environment(name)).any(|environment| environment.protected)
}

/// Every reason why the request cannot be carried out on a machine with this environment as its label
/// ([`crate::layout::ENVIRONMENT_LABEL`]); empty for a machine without, and for a request for a new one.
pub fn on_machine(request: &Accepted, label: Option<&str>, policy: &Policy) -> Vec<Problem> {
    let asked = request.day_two().zip(label);
    asked.map_or_else(Vec::new, |(request, name)| day_two(request, name, policy))
}

fn day_two(request: &Request, name: &str, policy: &Policy) -> Vec<Problem> {
    if policy.environments.is_empty() {
        return Vec::new();
    }
    let Some(environment) = policy.environment(name) else {
        let message = format!("the policy has no environment {}, which the machine is of", echo(name));
        let problem = Problem::new("/spec/target/name", Code::PolicyEnvironment, message);
        return vec![problem.hint("the platform team adds it to `environments`")];
    };
    let refused = operation(environment, name, request.spec.operation.word());
    let wanted = environment.required.iter().filter(|field| !given(**field, &request.metadata));
    refused.into_iter().chain(wanted.map(|field| empty(*field, name))).collect()
}

fn operation(environment: &Environment, name: &str, word: &str) -> Option<Problem> {
    (!environment.allows_operation(word)).then(|| {
        let names: Vec<&str> = environment.operations.iter().map(Label::as_str).collect();
        let message = format!("the policy does not allow `{word}` in environment `{name}`");
        Problem::new("/spec/operation", Code::PolicyOperation, message)
            .hint(format!("allowed: {}", several(&names)))
    })
}

fn empty(field: RequiredField, name: &str) -> Problem {
    let message = format!("the policy wants it filled in environment `{name}`");
    Problem::new(field.pointer(), Code::PolicyRequired, message)
}

/// Whether a request about a machine that is there has it, or cannot: what is of a machine was asked of the one for it.
const fn given(field: RequiredField, metadata: &Metadata) -> bool {
    match field {
        RequiredField::OnBehalfOf => metadata.on_behalf_of.is_some(),
        RequiredField::Ticket => metadata.ticket.is_some(),
        RequiredField::Reason => metadata.reason.is_some(),
        RequiredField::RequestedAt => metadata.requested_at.is_some(),
        RequiredField::Owner
        | RequiredField::CostCenter
        | RequiredField::ExpiresAt
        | RequiredField::MaintenanceWindow
        | RequiredField::Environment => true,
    }
}

fn unknown(name: &str, policy: &Policy) -> Problem {
    let names: Vec<&str> = policy.environments.keys().map(Label::as_str).collect();
    let message = format!("the policy has no environment {}", echo(name));
    let problem = Problem::new(ENVIRONMENT, Code::PolicyEnvironment, message);
    match nearest(name, names.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean `{near}`")),
        None => problem.hint(format!("allowed: {}", several(&names))),
    }
}
