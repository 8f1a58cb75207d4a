//! The site's policy against the request. Everything found here is `denied`, not `invalid`.

use crate::name::Label;
use crate::policy::{Policy, Wildcard, listed};
use crate::problem::{Code, Problem, echo, nearest};
use crate::quantity::Quantity;

use super::image::{IMAGES, inside};
use super::machine::{COMPUTE, DISKS};
use super::{Facts, environment, expiry, labels, network, node, reference as references};

pub(super) fn check(facts: &Facts<'_>, policy: &Policy, found: &mut Vec<Problem>) {
    found.extend(operation(facts, policy));
    found.extend(cluster(facts, policy));
    found.extend(namespace(facts, policy));
    found.extend(name(facts, policy));
    for field in &policy.required {
        let pointer = field.pointer();
        let there = if field.is_of_a_machine() {
            facts.operation() == Some("provision")
        } else {
            facts.get("/metadata").is_some()
        };
        if there && !facts.has(&pointer) {
            found.push(Problem::new(pointer, Code::PolicyRequired, "the policy wants it filled"));
        }
    }
    for at in COMPUTE {
        compute(facts, policy, at, found);
    }
    disks(facts, policy, found);
    for at in IMAGES {
        found.extend(reference(facts, policy, &format!("{at}/reference")));
        found.extend(url(facts, policy, &format!("{at}/url")));
        found.extend(data_source(facts, policy, &format!("{at}/namespace")));
    }
    found.extend(profile(facts, policy));
    network::site(facts, policy, found);
    labels::site(facts, policy, found);
    node::site(facts, policy, found);
    references::site(facts, policy, found);
    found.extend(expiry::site(facts, policy));
    environment::site(facts, policy, found);
    for (field, allowed) in
        [("userData", policy.allow.user_data), ("userDataSecret", policy.allow.user_data_secret)]
    {
        let pointer = format!("/spec/customization/{field}");
        if !allowed && facts.get(&pointer).is_some() {
            let problem =
                Problem::new(pointer, Code::PolicyUserData, format!("the policy does not allow `{field}`"));
            found.push(problem.hint("use `access` and the other fields of `customization`"));
        }
    }
}

fn operation(facts: &Facts<'_>, policy: &Policy) -> Option<Problem> {
    let word = facts.operation().filter(|word| !policy.allows_operation(word))?;
    let message = format!("the policy does not allow {}", echo(word));
    let names: Vec<&str> = policy.operations.iter().map(Label::as_str).collect();
    Some(
        Problem::new("/spec/operation", Code::PolicyOperation, message)
            .hint(format!("allowed: {}", several(&names))),
    )
}

fn profile(facts: &Facts<'_>, policy: &Policy) -> Option<Problem> {
    let pointer = "/spec/operationSpec/profile";
    let name = facts.text(pointer).filter(|name| !listed(&policy.patch_profiles, name))?;
    let message = format!("the policy does not allow {}", echo(name));
    Some(Problem::new(pointer, Code::PolicyPatch, message).hint(allowed(&policy.patch_profiles)))
}

fn cluster(facts: &Facts<'_>, policy: &Policy) -> Option<Problem> {
    let pointer = "/spec/target/cluster";
    let default = policy.defaults.cluster.as_str();
    let cluster = facts.text(pointer).unwrap_or(default);
    if cluster != default && !policy.allow.cluster_by_requester {
        let message = format!("the policy chooses the cluster, it is not {}", echo(cluster));
        return Some(
            Problem::new(pointer, Code::PolicyCluster, message)
                .hint(format!("leave it out, it is `{default}`")),
        );
    }
    (!listed(&policy.clusters, cluster)).then(|| {
        let message = format!("the policy does not allow {}", echo(cluster));
        Problem::new(pointer, Code::PolicyCluster, message).hint(allowed(&policy.clusters))
    })
}

fn namespace(facts: &Facts<'_>, policy: &Policy) -> Option<Problem> {
    let pointer = "/spec/target/namespace";
    let namespace = facts.text(pointer).filter(|namespace| !policy.allows_namespace(namespace))?;
    let problem = Problem::new(
        pointer,
        Code::PolicyNamespace,
        format!("the policy does not allow {}", echo(namespace)),
    );
    Some(if policy.namespaces.is_empty() {
        problem.hint("it belongs to the platform")
    } else {
        problem.hint(allowed(&policy.namespaces))
    })
}

fn name(facts: &Facts<'_>, policy: &Policy) -> Option<Problem> {
    let pattern = policy.name_pattern.as_ref()?;
    let pointer = "/spec/target/name";
    let name = facts.text(pointer).filter(|name| !pattern.matches(name))?;
    let message = format!("the policy wants names of another form than {}", echo(name));
    Some(
        Problem::new(pointer, Code::PolicyName, message)
            .hint(format!("they match {}", echo(pattern.as_str()))),
    )
}

fn compute(facts: &Facts<'_>, policy: &Policy, at: &str, found: &mut Vec<Problem>) {
    let (cpu, memory) = (format!("{at}/cpu"), format!("{at}/memory"));
    let (cpu, memory) = (cpu.as_str(), memory.as_str());
    if policy.allow.cpu_and_memory {
        if let (Some(cpus), Some(most)) = (facts.number(cpu), policy.limits.cpu)
            && cpus > u64::from(most)
        {
            found.push(Problem::new(
                cpu,
                Code::PolicyCompute,
                format!("{cpus} CPUs, the policy allows {most}"),
            ));
        }
        if let (Some(wanted), Some(most)) = (facts.parsed::<Quantity>(memory), policy.limits.memory)
            && wanted > most
        {
            found.push(Problem::new(
                memory,
                Code::PolicyCompute,
                format!("`{wanted}`, the policy allows `{most}`"),
            ));
        }
    } else {
        for pointer in [cpu, memory].into_iter().filter(|pointer| facts.get(pointer).is_some()) {
            let message = "the policy sizes machines by instance type";
            found.push(Problem::new(pointer, Code::PolicyCompute, message).hint("give `instanceType`"));
        }
    }
    let pointer = format!("{at}/instanceType");
    if let Some(name) = facts.text(&pointer).filter(|name| !listed(&policy.instance_types, name)) {
        let message = format!("the policy does not allow {}", echo(name));
        found.push(
            Problem::new(pointer, Code::PolicyInstanceType, message).hint(allowed(&policy.instance_types)),
        );
    }
}

fn disks(facts: &Facts<'_>, policy: &Policy, found: &mut Vec<Problem>) {
    let disks = facts.items("/spec/disks");
    if let Some(most) = policy.limits.disks.map(usize::from).filter(|most| disks.len() > *most) {
        let message = format!("{} disks, the policy allows {most}", disks.len());
        found.push(Problem::new("/spec/disks", Code::PolicyDisk, message));
    }
    for (disk, _) in DISKS.iter().flat_map(|list| facts.items(list)) {
        let size = format!("{disk}/size");
        if let (Some(wanted), Some(most)) = (facts.parsed::<Quantity>(&size), policy.limits.disk_size)
            && wanted > most
        {
            found.push(Problem::new(
                size,
                Code::PolicyDisk,
                format!("`{wanted}`, the policy allows `{most}`"),
            ));
        }
        found.extend(storage(facts, policy, &disk));
    }
}

fn storage(facts: &Facts<'_>, policy: &Policy, disk: &str) -> Option<Problem> {
    let (tier, class) = (format!("{disk}/tier"), format!("{disk}/storageClass"));
    if let Some(name) = facts.text(&tier) {
        let Some((_, mapped)) = policy.storage_tiers.iter().find(|(tier, _)| tier.as_str() == name) else {
            let names: Vec<&str> = policy.storage_tiers.keys().map(Label::as_str).collect();
            let problem =
                Problem::new(tier, Code::PolicyStorage, format!("the policy has no tier {}", echo(name)));
            return Some(match nearest(name, names.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean `{near}`")),
                None if names.is_empty() => problem.hint("leave it out"),
                None => problem.hint(format!("allowed: {}", several(&names))),
            });
        };
        let other = facts.text(&class).filter(|given| *given != mapped.as_str())?;
        let message = format!("tier `{name}` is another storage class than {}", echo(other));
        return Some(Problem::new(class, Code::PolicyStorage, message).hint("leave it out"));
    }
    let name = facts.text(&class)?;
    // unlike other lists, this one is closed: an empty one allows none
    if facts.has(&tier) || policy.storage_classes.iter().any(|item| item.matches(name)) {
        return None;
    }
    let problem =
        Problem::new(class, Code::PolicyStorage, format!("the policy does not allow {}", echo(name)));
    Some(problem.hint(if policy.storage_tiers.is_empty() { "leave it out" } else { "name a `tier`" }))
}

fn reference(facts: &Facts<'_>, policy: &Policy, pointer: &str) -> Option<Problem> {
    let reference = facts.text(pointer).filter(|reference| !policy.lists_image(reference))?;
    let host = reference.split('/').next().unwrap_or_default();
    let refuse = |why: String| Some(Problem::new(pointer, Code::PolicyImage, why));
    if !policy.images.registries.is_empty() {
        let names: Vec<&str> = policy.images.registries.iter().map(String::as_str).collect();
        return refuse(format!("the policy does not allow images of {}", echo(host)))
            .map(|problem| problem.hint(format!("allowed: {}", several(&names))));
    }
    let why = inside(host)?;
    refuse(format!("{} is {why}, and the policy does not list it", echo(host)))
}

fn url(facts: &Facts<'_>, policy: &Policy, pointer: &str) -> Option<Problem> {
    let url = facts.text(pointer).filter(|url| !policy.lists_url(url))?;
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let refuse = |why: String| Some(Problem::new(pointer, Code::PolicyImage, why));
    if !policy.images.url_prefixes.is_empty() {
        let names: Vec<&str> = policy.images.url_prefixes.iter().map(String::as_str).collect();
        return refuse(format!("the policy does not allow this address on {}", echo(host)))
            .map(|problem| problem.hint(format!("allowed: {}", several(&names))));
    }
    if scheme == "http" {
        return refuse("without TLS, and the policy does not list it".to_owned())
            .map(|p| p.hint("use `https:`"));
    }
    let why = inside(host)?;
    refuse(format!("{} is {why}, and the policy does not list it", echo(host)))
}

fn data_source(facts: &Facts<'_>, policy: &Policy, pointer: &str) -> Option<Problem> {
    let own = facts.text("/spec/target/namespace")?;
    let namespace = facts.text(pointer).filter(|namespace| !policy.allows_data_source(namespace, own))?;
    let problem = Problem::new(
        pointer,
        Code::PolicyImage,
        format!("the policy does not allow images of {}", echo(namespace)),
    );
    Some(match &policy.images.data_sources.default {
        Some(default) => problem.hint(format!("leave it out, it is `{default}`")),
        None => problem.hint("leave it out, it is the machine's own"),
    })
}

/// The namespace of the machine, where it is right.
pub(super) fn owner<'a>(facts: &Facts<'a>) -> &'a str {
    facts.text("/spec/target/namespace").unwrap_or_default()
}

pub(super) fn allowed(list: &[Wildcard]) -> String {
    let names: Vec<&str> = list.iter().map(Wildcard::as_str).collect();
    format!("allowed: {}", several(&names))
}

/// The first few of a list, for a hint.
pub(super) fn several(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| echo(name)).collect();
    let more = if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
