//! What no string of a request may hold: secrets, syntax that something on the way would replace, code of other kinds
//! than a cloud-config.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::cloud_init::{CloudConfig, HEADER, MAX_BYTES};
use crate::document::{self, Form};
use crate::problem::{Code, Problem, echo, member};

use super::Facts;

/// What the kubelet (`$(`), Tekton (`$(`), GitHub-like pipelines (`${{`) and Jinja, Go and Helm templates would replace.
const TEMPLATES: [&str; 4] = ["$(", "${{", "{{", "{%"];

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    strings("", facts.request, &mut |pointer, text| {
        if looks_secret(text) {
            let problem = Problem::new(pointer, Code::Secret, "looks like a password, a key or a token");
            found.push(problem.hint("requests are kept in Git: refer to a Secret"));
        } else if let Some(syntax) = TEMPLATES.iter().find(|syntax| text.contains(*syntax)) {
            let message = format!("`{syntax}` is syntax that a pipeline or a template would replace");
            found.push(Problem::new(pointer, Code::Template, message).hint("write the value itself"));
        }
    });
    user_data(facts, found);
    found.extend(generated(facts));
}

fn strings(pointer: &str, value: &Value, found: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => found(pointer, text),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, item)| strings(&format!("{pointer}/{at}"), item, found));
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| strings(&member(pointer, key), item, found)),
        _ => {}
    }
}

/// Passwords as cloud-init and people write them, private keys, crypt(3) hashes, tokens of well-known services, and
/// addresses with a password. `lock_passwd` says that there is none.
#[expect(clippy::expect_used, reason = "a constant that the tests below compile")]
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"PRIVATE KEY( BLOCK)?-----",
        r"|(?i:(^|[^a-z])(plain_text_|hashed_)?(pass|password|passwd|passphrase)[\x22']?[ \t]*[:=])",
        r"|(?i:chpasswd)",
        r"|(^|[^$])\$(1|2[abxy]?|5|6|7|y|gy)\$[./A-Za-z0-9=,]",
        r"|gh[oprsu]_[A-Za-z0-9]{20}",
        r"|github_pat_[A-Za-z0-9_]{20}",
        r"|glpat-[A-Za-z0-9_-]{20}",
        r"|(AKIA|ASIA)[A-Z0-9]{16}",
        r"|xox[abprs]-[A-Za-z0-9-]{10}",
        r"|AIza[A-Za-z0-9_-]{35}",
        r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
        r"|hvs\.[A-Za-z0-9]{20}",
        r"|[a-z]://[^/@ \t\n]+:[^/@ \t\n]+@",
    ))
    .expect("a constant pattern")
});

pub(crate) fn looks_secret(text: &str) -> bool {
    SECRET.is_match(&text.replace("lock_passwd", ""))
}

fn user_data(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    let raw = "/spec/customization/userData";
    let secret = "/spec/customization/userDataSecret";
    let Some(given) = [raw, secret].into_iter().find(|pointer| facts.has(pointer)) else { return };
    let word = given.rsplit('/').next().unwrap_or_default();
    let makes_one = [
        "/spec/access/user",
        "/spec/access/sshKeys",
        "/spec/customization/timezone",
        "/spec/customization/packages",
    ];
    let others = makes_one.into_iter().filter(|pointer| {
        facts
            .request
            .pointer(pointer)
            .is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
    });
    for pointer in others.chain((given == raw && facts.has(secret)).then_some(secret)) {
        found.push(
            Problem::new(pointer, Code::Exclusive, format!("`{word}` is the whole cloud-config already"))
                .hint(format!("put it there, or leave `{word}` out")),
        );
    }
    if let Some(text) = facts.text(raw) {
        found.extend(cloud_config(raw, text));
    }
}

/// cloud-init decides by the first line what user data is: a script, a template, an include, an archive. Only the plain
/// mapping is read here, and by everybody in the same way.
fn cloud_config(pointer: &str, text: &str) -> Option<Problem> {
    let problem = |what: String, hint: &str| Some(Problem::new(pointer, Code::UserData, what).hint(hint));
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes, {} more than KubeVirt takes", text.len(), text.len() - MAX_BYTES);
        return Some(
            Problem::new(pointer, Code::UserDataSize, message).hint("put it into a Secret, `userDataSecret`"),
        );
    }
    if text.contains('\r') {
        return problem("carriage returns".to_owned(), "end lines with a newline alone");
    }
    let first = text.split('\n').next().unwrap_or_default();
    if first.trim_end() != HEADER {
        return problem(format!("the first line is {}", echo(first)), "only `#cloud-config` is taken");
    }
    if text.to_lowercase().replace(' ', "").contains("##template:") {
        return problem("a template".to_owned(), "write the values themselves");
    }
    match document::read(text.as_bytes(), Form::Any) {
        Ok(Value::Object(_)) => None,
        Ok(_) => problem("not a mapping".to_owned(), "such as `packages: [htop]`"),
        Err(inner) => {
            let place =
                if inner.pointer.is_empty() { String::new() } else { format!(" at `{}`", inner.pointer) };
            let message = format!("{}{place}", inner.message);
            Some(Problem { hint: inner.hint, ..Problem::new(pointer, Code::UserData, message) })
        }
    }
}

/// The cloud-config made from the fields has to fit as well.
fn generated(facts: &Facts<'_>) -> Option<Problem> {
    let list =
        |pointer: &str| facts.items(pointer).iter().filter_map(|(_, item)| item.as_str()).collect::<Vec<_>>();
    let config = CloudConfig {
        user: facts.text("/spec/access/user"),
        ssh_keys: list("/spec/access/sshKeys"),
        timezone: facts.text("/spec/customization/timezone"),
        packages: list("/spec/customization/packages"),
    };
    let length = config.text()?.len();
    let over = length.checked_sub(MAX_BYTES).filter(|over| *over > 0)?;
    let keys: usize = config.ssh_keys.iter().map(|key| key.len()).sum();
    let pointer = if keys > length / 2 { "/spec/access/sshKeys" } else { "/spec/customization/packages" };
    let message =
        format!("the cloud-config made from it has {length} bytes, {over} more than KubeVirt takes");
    Some(
        Problem::new(pointer, Code::UserDataSize, message)
            .hint("shorten the list, or use a Secret, `userDataSecret`"),
    )
}

#[cfg(test)]
mod tests {
    use super::{cloud_config, looks_secret};

    #[test]
    fn secrets_are_seen() {
        for text in [
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
            "password: hunter2",
            "the password=hunter2",
            "Passwd : x",
            "{\"password\": \"x\"}",
            "hashed_passwd: x",
            "plain_text_passwd: x",
            "chpasswd",
            "$6$rounds=4096$salt$hash",
            "$2b$12$abcdefghijklmnop",
            "$y$j9T$abc",
            "ghp_0123456789abcdefghij",
            "github_pat_0123456789abcdefghij",
            "glpat-0123456789abcdefghij",
            "AKIAIOSFODNN7EXAMPLE",
            "xoxb-0123456789-abc",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig",
            "https://user:secret@host/x",
        ] {
            assert!(looks_secret(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_is_not_taken_for_one() {
        for text in [
            "reset of forgotten password for jane",
            "lock_passwd: true",
            "passwd",
            "bypass: the old gateway",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0m jane@corp",
            "https://images.example:8443/a@b",
            "costs $5 or $6 a day",
            "ghp_short",
        ] {
            assert!(!looks_secret(text), "{text}");
        }
    }

    #[test]
    fn only_a_plain_cloud_config_is_taken() {
        for (text, line) in [
            ("#cloud-config\npackages: [htop]\n", None),
            ("#cloud-config \n\npackages: [htop]\n", None),
            ("#!/bin/sh\necho\n", Some("the first line is `#!/bin/sh`; hint: only `#cloud-config` is taken")),
            (
                "## template: jinja\n#cloud-config\na: 1\n",
                Some("the first line is `## template: jinja`; hint: only `#cloud-config` is taken"),
            ),
            (
                "#cloud-config\n##  Template: jinja\na: 1\n",
                Some("a template; hint: write the values themselves"),
            ),
            ("#cloud-config\r\na: 1\r\n", Some("carriage returns; hint: end lines with a newline alone")),
            ("#cloud-config\n- a\n", Some("not a mapping; hint: such as `packages: [htop]`")),
            ("#cloud-config\n", Some("empty but for comments")),
            (
                "#cloud-config\nssh_pwauth: yes\n",
                Some(
                    "line 2, column 13: YAML readers differ about `yes` at `/ssh_pwauth`; hint: quote this value",
                ),
            ),
        ] {
            let problem = cloud_config("/u", text).map(|p| p.to_string());
            assert_eq!(problem, line.map(|line| format!("/u: E_USER_DATA: {line}")), "{text}");
        }
    }
}
