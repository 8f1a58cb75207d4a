//! Names that a site makes for machines whose requests give none.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::name::{Label, RequestId};

/// What an `{id}` is of; no vowels, so that it is no word.
const LETTERS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
/// How many letters an `{id}` has: of a hundred thousand names that differ in it alone, two are the same one time in five. The second
/// of them is a conflict.
const ID: usize = 8;

/// What a name is made of, such as `{namespace}-{id}`: text, and words in braces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Namespace,
    Cluster,
    Id,
}

impl NameTemplate {
    /// The name for a request; the same for the same request id and place, whenever it is asked for. It may be too long.
    pub fn name(&self, namespace: &Label, cluster: &Label, request_id: &RequestId) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Namespace => namespace.to_string(),
            Part::Cluster => cluster.to_string(),
            Part::Id => id(request_id),
        };
        self.parts.iter().map(part).collect()
    }

    /// As it is written in the policy.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The letters that stand for a request.
fn id(request_id: &RequestId) -> String {
    let digest = Sha256::digest(request_id.to_string());
    digest.iter().take(ID).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

impl TryFrom<String> for NameTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        for (at, piece) in text.split('{').enumerate() {
            let (word, rest) = match piece.split_once('}') {
                Some((word, rest)) if at > 0 => (Some(word), rest),
                None if at == 0 => (None, piece),
                _ => return Err("a brace without its other".to_owned()),
            };
            parts.extend(word.map(part).transpose()?);
            if let Some(c) = rest.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
                return Err(format!("{} in a name of a-z, 0-9 and -", crate::problem::echo(&c.to_string())));
            }
            if !rest.is_empty() {
                parts.push(Part::Text(rest.to_owned()));
            }
        }
        if !parts.contains(&Part::Id) {
            return Err("no `{id}`, so that all names would be one".to_owned());
        }
        let ends = [text.chars().next(), text.chars().next_back()];
        if ends.contains(&Some('-')) {
            return Err("a name has a letter or digit first and last".to_owned());
        }
        Ok(Self { text, parts })
    }
}

fn part(word: &str) -> Result<Part, String> {
    match word {
        "namespace" => Ok(Part::Namespace),
        "cluster" => Ok(Part::Cluster),
        "id" => Ok(Part::Id),
        other => Err(format!(
            "unknown word {}, expected `{{namespace}}`, `{{cluster}}` or `{{id}}`",
            crate::problem::echo(other)
        )),
    }
}

impl From<NameTemplate> for String {
    fn from(template: NameTemplate) -> Self {
        template.text
    }
}

#[cfg(test)]
mod tests {
    use super::NameTemplate;

    fn template(text: &str) -> Result<NameTemplate, String> {
        text.to_owned().try_into()
    }

    fn name(text: &str, id: &str) -> String {
        let (namespace, cluster) = ("team-a".parse().unwrap(), "in-cluster".parse().unwrap());
        template(text).unwrap().name(&namespace, &cluster, &id.parse().unwrap())
    }

    #[test]
    fn a_name_is_of_its_request() {
        assert_eq!(name("{namespace}-vm-{id}", "REQ1"), name("{namespace}-vm-{id}", "REQ1"));
        assert_ne!(name("{id}", "REQ1"), name("{id}", "REQ2"));
        assert!(name("{cluster}-{namespace}-{id}", "REQ1").starts_with("in-cluster-team-a-"));
        // a name that changes would be another machine for a request that is run again
        assert_eq!(name("vm-{id}", "REQ0012345"), "vm-rnxbjccj");
    }

    #[test]
    fn what_makes_no_names_is_refused() {
        for (text, why) in [
            ("web", "no `{id}`, so that all names would be one"),
            ("{id}-{owner}", "unknown word `owner`, expected `{namespace}`, `{cluster}` or `{id}`"),
            ("{id", "a brace without its other"),
            ("id}", "a brace without its other"),
            ("{id}-{", "a brace without its other"),
            ("VM-{id}", "`V` in a name of a-z, 0-9 and -"),
            ("-{id}", "a name has a letter or digit first and last"),
            ("{id}-", "a name has a letter or digit first and last"),
        ] {
            assert_eq!(template(text).unwrap_err(), why, "{text}");
        }
    }
}
