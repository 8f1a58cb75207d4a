//! What is wrong with a document: where, which rule, in words, and the way out.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use crate::name::is_unprintable;

mod explanation;

pub use explanation::Explanation;

/// The longest line that a problem becomes, in bytes.
pub const LINE: usize = 200;
/// The longest part of a value or key that is echoed, in characters.
const ECHO: usize = 40;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// Which rule is broken. The words are public API: they stay as they are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of the documents.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in reports and lines.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What it means, for the documents.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*),)*
                }
            }
        }
    };
}

codes! {
    /// Empty, or larger than 64 KiB.
    Size = "E_SIZE",
    /// Not UTF-8, or with a byte order mark.
    Encoding = "E_ENCODING",
    /// A control character, or one that changes how others are shown.
    Character = "E_CHARACTER",
    /// Not JSON.
    Json = "E_JSON",
    /// Not YAML.
    Yaml = "E_YAML",
    /// YAML with a second document.
    Documents = "E_DOCUMENTS",
    /// A key that is there twice.
    DuplicateKey = "E_DUPLICATE_KEY",
    /// Nested deeper than 16.
    Depth = "E_DEPTH",
    /// More than 2000 values.
    Nodes = "E_NODES",
    /// A number that is not whole or does not fit 64 bits.
    Number = "E_NUMBER",
    /// A plain YAML scalar that readers understand differently.
    Quote = "E_QUOTE",
    /// A YAML anchor, alias, merge key, tag or directive.
    YamlFeature = "E_YAML_FEATURE",
    /// A value of another type.
    Type = "E_TYPE",
    /// A field that has to be there is not.
    Required = "E_REQUIRED",
    /// A field that is not known at this place.
    UnknownField = "E_UNKNOWN_FIELD",
    /// Not one of the values that the field takes.
    Enum = "E_ENUM",
    /// Not of the form that the field takes.
    Pattern = "E_PATTERN",
    /// Too long or too short.
    Length = "E_LENGTH",
    /// A number too small or too large.
    Range = "E_RANGE",
    /// A list with too many or too few items, or with one twice.
    Items = "E_ITEMS",
    /// Two fields that exclude each other.
    Exclusive = "E_EXCLUSIVE",
    /// CPUs without memory, memory without CPUs, or no size at all.
    Compute = "E_COMPUTE",
    /// No boot disk where the image needs one, or one where it does not.
    RootDisk = "E_ROOT_DISK",
    /// A name that is given twice.
    DuplicateName = "E_DUPLICATE_NAME",
    /// A name or a key that means something else, or a name of digits alone.
    ReservedName = "E_RESERVED_NAME",
    /// A name that leaves no room for the names made from it.
    NameTooLong = "E_NAME_TOO_LONG",
    /// No network interface, or one that no machine can have beside the others or on its network.
    Network = "E_NETWORK",
    /// An address that could be read in two ways.
    Url = "E_URL",
    /// Not a point or a span of time, or none that can be meant.
    Timestamp = "E_TIMESTAMP",
    /// No time zone of the IANA database.
    TimeZone = "E_TIME_ZONE",
    /// `userData` that is not one plain cloud-config.
    UserData = "E_USER_DATA",
    /// A cloud-config of more than 2048 bytes.
    UserDataSize = "E_USER_DATA_SIZE",
    /// Something that looks like a password, a key or a token.
    Secret = "E_SECRET",
    /// Syntax that the kubelet, Tekton or a template would replace.
    Template = "E_TEMPLATE",
    /// Nothing that would change.
    Nothing = "E_NOTHING",
    /// The name that is to confirm is not the machine's, or a protected machine is not named.
    Confirm = "E_CONFIRM",
    /// What Git holds of the machine cannot be read.
    Definition = "E_DEFINITION",
    /// There is no such machine in Git.
    NoMachine = "E_NO_MACHINE",
    /// No removed machine of this name, or several.
    NoArchive = "E_NO_ARCHIVE",
    /// The machine has no such disk, or none that the operation is about.
    NoDisk = "E_NO_DISK",
    /// A size smaller than the disk has.
    DiskSize = "E_DISK_SIZE",
    /// A disk that has no file of its own in Git, or that would go with the machine.
    DiskFile = "E_DISK_FILE",
    /// A machine that is off.
    Off = "E_OFF",
    /// A machine that is there already (`conflict`).
    Exists = "E_EXISTS",
    /// A request with this id, but another content, was there before (`conflict`).
    Conflict = "E_CONFLICT",
    /// What the request once did was undone by a later one (`superseded`).
    Superseded = "E_SUPERSEDED",
    /// The policy does not allow the operation.
    PolicyOperation = "E_POLICY_OPERATION",
    /// The policy does not allow the cluster.
    PolicyCluster = "E_POLICY_CLUSTER",
    /// The policy does not allow the namespace.
    PolicyNamespace = "E_POLICY_NAMESPACE",
    /// The policy wants names of another form.
    PolicyName = "E_POLICY_NAME",
    /// The policy wants this field filled.
    PolicyRequired = "E_POLICY_REQUIRED",
    /// Larger than the policy allows, or sized in a way that it does not allow.
    PolicyCompute = "E_POLICY_COMPUTE",
    /// The policy does not allow the instance type.
    PolicyInstanceType = "E_POLICY_INSTANCE_TYPE",
    /// More or larger disks than the policy allows.
    PolicyDisk = "E_POLICY_DISK",
    /// The policy has no such storage tier, or does not allow the storage class.
    PolicyStorage = "E_POLICY_STORAGE",
    /// The policy does not allow the image's source.
    PolicyImage = "E_POLICY_IMAGE",
    /// The policy does not allow `userData` or `userDataSecret`.
    PolicyUserData = "E_POLICY_USER_DATA",
    /// The policy does not allow the file of commands.
    PolicyPatch = "E_POLICY_PATCH",
    /// The policy does not allow the network, or a network address of one's own choice.
    PolicyNetwork = "E_POLICY_NETWORK",
    /// The policy does not allow the label or the annotation.
    PolicyLabel = "E_POLICY_LABEL",
    /// The policy does not allow the label of nodes, or its value.
    PolicyNodeSelector = "E_POLICY_NODE_SELECTOR",
    /// The policy does not allow the device, or so many.
    PolicyDevice = "E_POLICY_DEVICE",
    /// The policy does not allow the reference to a ConfigMap or a Secret.
    PolicyReference = "E_POLICY_REFERENCE",
    /// The site has no such template.
    PolicyTemplate = "E_POLICY_TEMPLATE",
    /// A longer life than the policy allows.
    PolicyLifetime = "E_POLICY_LIFETIME",
    /// The policy has no such environment, or not for this machine.
    PolicyEnvironment = "E_POLICY_ENVIRONMENT",
}

impl Code {
    /// What a request with this problem is.
    pub fn class(self) -> Class {
        match self {
            Self::Exists | Self::Conflict => Class::Conflict,
            Self::Superseded => Class::Superseded,
            policy if policy >= Self::PolicyOperation => Class::Denied,
            _ => Class::Invalid,
        }
    }
}

/// What a request with problems is, by the word of a step's outcome. What is in front outweighs what is behind: what is
/// denied, for one, may look different once it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Wrong for everybody; the requester acts.
    Invalid,
    /// Refused by the site's policy.
    Denied,
    /// Right, but something else stands where it would go.
    Conflict,
    /// Done once, and undone by a later request.
    Superseded,
}

impl Class {
    /// That of several problems; of none, [`Class::Invalid`].
    pub fn of(problems: &[Problem]) -> Self {
        problems.iter().map(|problem| problem.code.class()).min().unwrap_or(Self::Invalid)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901); empty for the document itself. A key of more than 40 characters is cut.
    pub pointer: String,
    /// Which rule.
    pub code: Code,
    /// What is expected and what is there, a lower-case fragment on one line.
    pub message: String,
    /// The way out, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(pointer: impl Into<String>, code: Code, message: impl Into<String>) -> Self {
        let mut pointer = pointer.into();
        // a key of a mapping is the requester's: it goes to a terminal no more than a value does
        if pointer.contains(is_unprintable) {
            let parts: Vec<_> = pointer.split('/').map(|part| printable(part, |_| true)).collect();
            pointer = parts.join("/");
        }
        Self { pointer, code, message: message.into(), hint: None }
    }

    /// Add the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The order of reports: by place, with `/disks/2` before `/disks/10`, then by code.
    pub fn order(&self, other: &Self) -> Ordering {
        let parts = |p: &Self| -> Vec<(usize, String)> {
            p.pointer.split('/').map(|s| (s.parse().unwrap_or(usize::MAX), s.to_owned())).collect()
        };
        parts(self).cmp(&parts(other)).then(self.code.cmp(&other.code))
    }
}

/// The line for people: `/spec/compute/memory: E_PATTERN: what; hint: way out`, at most [`LINE`] bytes.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "document" } else { &self.pointer };
        let mut line = format!("{place}: {}: {}", self.code, self.message);
        if let Some(hint) = &self.hint {
            let _ = write!(line, "; hint: {hint}");
        }
        f.write_str(&cut(&line, LINE))
    }
}

/// The pointer of a member: `/`, with `~` and `/` of the key escaped (RFC 6901), and anything that does not print too.
pub fn member(parent: &str, key: &str) -> String {
    if key.len() <= ECHO && key.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return [parent, "/", key].concat();
    }
    format!("{parent}/{}", printable(key, |_| true).replace('~', "~0").replace('/', "~1"))
}

/// A value of a stranger in backticks, in ASCII so that `е` is not taken for `e`, at most 40 characters; not at all if it
/// looks like a secret.
pub fn echo(text: &str) -> String {
    if crate::rules::looks_secret(text) {
        "a value that is not shown".to_owned()
    } else {
        format!("`{}`", printable(text, char::is_ascii))
    }
}

/// The candidate that somebody who wrote `text` most likely meant.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = text.to_lowercase();
    if wanted.len() > 64 {
        return None;
    }
    let far = (wanted.chars().count() / 3).max(1);
    let distance = |c: &&str| strsim::damerau_levenshtein(&wanted, &c.to_lowercase());
    candidates.into_iter().map(|c| (distance(&c), c)).filter(|(d, _)| *d <= far).min().map(|(_, c)| c)
}

fn printable(text: &str, shown: fn(&char) -> bool) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == ECHO {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_unprintable(c) || !shown(&c) => {
                // writing to a String cannot fail
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::{Class, Code, Problem, echo, member, nearest};

    #[test]
    fn a_line_says_where_which_what_and_the_way_out() {
        let problem =
            Problem::new("/spec/powr", Code::UnknownField, "unknown field").hint("did you mean `power`");
        assert_eq!(
            problem.to_string(),
            "/spec/powr: E_UNKNOWN_FIELD: unknown field; hint: did you mean `power`"
        );
        assert_eq!(Problem::new("", Code::Size, "empty").to_string(), "document: E_SIZE: empty");
        let long = Problem::new("/a", Code::Type, "ü".repeat(300)).to_string();
        assert!(long.len() <= 200 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn places_are_in_the_order_of_the_document() {
        let mut problems =
            ["/a/10", "/a/2", "", "/a", "/b"].map(|p| Problem::new(p, Code::Type, "x")).to_vec();
        problems.sort_by(Problem::order);
        assert_eq!(
            problems.iter().map(|p| p.pointer.as_str()).collect::<Vec<_>>(),
            ["", "/a", "/a/2", "/a/10", "/b"]
        );
    }

    #[test]
    fn what_is_echoed_prints_and_is_short() {
        assert_eq!(member("/a", "b/c~d\u{1b}"), "/a/b~1c~0d\\u{1b}");
        assert_eq!(echo("wеb"), "`w\\u{435}b`");
        assert_eq!(echo("two\nlines"), "`two\\nlines`");
        assert_eq!(echo(&"x".repeat(41)), format!("`{}…`", "x".repeat(40)));
        assert_eq!(echo("password: hunter2"), "a value that is not shown");
    }

    #[test]
    fn the_nearest_is_near() {
        let fields = ["cpu", "memory", "instanceType"];
        assert_eq!(nearest("memroy", fields), Some("memory"));
        assert_eq!(nearest("instance_type", fields), Some("instanceType"));
        assert_eq!(nearest("CPU", fields), Some("cpu"));
        assert_eq!(nearest("storage", fields), None);
    }

    #[test]
    fn only_policy_codes_are_denials() {
        for code in Code::ALL {
            assert_eq!(code.class() == Class::Denied, code.word().starts_with("E_POLICY_"), "{code}");
        }
    }
}
