//! Which objects there are to look at, and how they are named.

use std::fmt;
use std::str::FromStr;

/// A kind of namespaced object, at the one version that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    /// What people call it.
    words: &'static str,
}

/// Argo CD's Application.
pub const APPLICATION: Kind =
    Kind { group: "argoproj.io", version: "v1alpha1", plural: "applications", words: "application" };
/// KubeVirt's machine, running or not.
pub const VIRTUAL_MACHINE: Kind =
    Kind { group: "kubevirt.io", version: "v1", plural: "virtualmachines", words: "virtual machine" };
/// KubeVirt's running machine.
pub const VIRTUAL_MACHINE_INSTANCE: Kind = Kind {
    group: "kubevirt.io",
    version: "v1",
    plural: "virtualmachineinstances",
    words: "virtual machine instance",
};
/// CDI's disk that is being filled.
pub const DATA_VOLUME: Kind =
    Kind { group: "cdi.kubevirt.io", version: "v1beta1", plural: "datavolumes", words: "data volume" };

/// `namespace/name`, as flags write it. Both parts are safe in a URL path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    namespace: String,
    name: String,
}

impl Name {
    /// The same namespace, another name.
    pub fn sibling(&self, name: &str) -> Result<Self, String> {
        format!("{}/{name}", self.namespace).parse()
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name in it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "expected `namespace/name` of lower-case letters, digits, `-` and `.`".to_owned();
        let (namespace, name) = text.split_once('/').ok_or_else(refuse)?;
        // namespaces are DNS labels, names of custom resources DNS subdomains (Kubernetes "Object Names and IDs")
        let label = |t: &str, limit: usize, dots: bool| {
            let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            (1..=limit).contains(&t.len())
                && t.bytes().all(|c| inside(c) || c == b'-' || (dots && c == b'.'))
                && t.split('.')
                    .all(|p| p.bytes().next().is_some_and(inside) && p.bytes().last().is_some_and(inside))
        };
        if label(namespace, 63, false) && label(name, 253, true) {
            Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object of a cluster, there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub name: Name,
}

impl Object {
    /// The path of all objects of its kind in its namespace.
    pub(crate) fn collection(&self) -> String {
        let Kind { group, version, plural, .. } = self.kind;
        format!("/apis/{group}/{version}/namespaces/{}/{plural}", self.name.namespace)
    }

    /// Its own path.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name.name)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind.words, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_is_safe_in_a_path() {
        for text in ["a/b", "argocd/in-cluster.team-a.web01", "n-1/x.y"] {
            assert_eq!(text.parse::<Name>().map(|n| n.to_string()), Ok(text.to_owned()));
        }
        let refused = Err("expected `namespace/name` of lower-case letters, digits, `-` and `.`".to_owned());
        for text in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a/..",
            "a.b/c",
            "A/b",
            "a/b?watch=1",
            "a/b%2f",
            "a/-b",
            "a/b.",
            "a/b c",
        ] {
            assert_eq!(text.parse::<Name>(), refused, "{text}");
        }
    }
}
