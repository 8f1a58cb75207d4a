//! The patterns of the published schema and the types take the same strings, and explain themselves in the same words.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::str::FromStr;
use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use vm::name::{
    DeviceName, HttpUrl, ImageReference, Label, LabelKey, LabelValue, Line, MacAddress, MaintenanceWindow,
    NetworkName, Package, ParameterName, PublicKey, RequestId, Serial, Subdomain, TimeZone, User,
};
use vm::quantity::Quantity;

struct Definition {
    name: &'static str,
    rule: &'static str,
    takes: fn(&str) -> bool,
}

fn parses<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

const DEFINITIONS: [Definition; 19] = [
    Definition { name: "label", rule: Label::RULE, takes: parses::<Label> },
    Definition { name: "subdomain", rule: Subdomain::RULE, takes: parses::<Subdomain> },
    Definition { name: "requestId", rule: RequestId::RULE, takes: parses::<RequestId> },
    Definition { name: "line", rule: Line::RULE, takes: parses::<Line> },
    Definition { name: "user", rule: User::RULE, takes: parses::<User> },
    Definition { name: "publicKey", rule: PublicKey::RULE, takes: parses::<PublicKey> },
    Definition { name: "imageReference", rule: ImageReference::RULE, takes: parses::<ImageReference> },
    Definition { name: "httpUrl", rule: HttpUrl::RULE, takes: parses::<HttpUrl> },
    Definition { name: "quantity", rule: Quantity::RULE, takes: parses::<Quantity> },
    Definition { name: "timeZone", rule: TimeZone::RULE, takes: parses::<TimeZone> },
    Definition {
        name: "maintenanceWindow",
        rule: MaintenanceWindow::RULE,
        takes: parses::<MaintenanceWindow>,
    },
    Definition { name: "package", rule: Package::RULE, takes: parses::<Package> },
    Definition { name: "networkName", rule: NetworkName::RULE, takes: parses::<NetworkName> },
    Definition { name: "macAddress", rule: MacAddress::RULE, takes: parses::<MacAddress> },
    Definition { name: "labelKey", rule: LabelKey::RULE, takes: parses::<LabelKey> },
    Definition { name: "labelValue", rule: LabelValue::RULE, takes: parses::<LabelValue> },
    Definition { name: "deviceName", rule: DeviceName::RULE, takes: parses::<DeviceName> },
    Definition { name: "serial", rule: Serial::RULE, takes: parses::<Serial> },
    Definition { name: "parameterName", rule: ParameterName::RULE, takes: parses::<ParameterName> },
];

/// Whether the schema takes a string, as `jsonschema` reads it.
struct Published {
    pattern: Regex,
    most: u64,
}

impl Published {
    fn of(name: &str) -> Self {
        let definition = &vm::schema::request()["$defs"][name];
        assert_eq!(definition["minLength"], 1, "{name}");
        let pattern = Regex::new(definition["pattern"].as_str().unwrap()).unwrap();
        Self { pattern, most: definition["maxLength"].as_u64().unwrap() }
    }

    fn takes(&self, text: &str) -> bool {
        (1..=self.most).contains(&(text.chars().count() as u64)) && self.pattern.is_match(text)
    }
}

/// What a pattern cannot say: a rule says it, each with a fixture of its own.
fn beyond_a_pattern(name: &str, text: &str) -> bool {
    let host = || {
        text.rsplit("://").next().unwrap_or_default().split(['/', ':', '?']).next().unwrap_or_default().len()
    };
    match name {
        "quantity" => text.parse::<Quantity>().is_err(),
        "imageReference" | "httpUrl" => host() > 253,
        "macAddress" => MacAddress::RESERVED.contains(&text),
        _ => false,
    }
}

static PUBLISHED: LazyLock<Vec<Published>> =
    LazyLock::new(|| DEFINITIONS.iter().map(|definition| Published::of(definition.name)).collect());

fn agree(text: &str) -> Result<(), String> {
    for (Definition { name, takes, .. }, published) in DEFINITIONS.iter().zip(&*PUBLISHED) {
        let (schema, types) = (published.takes(text), takes(text));
        if schema != types && !(schema && beyond_a_pattern(name, text)) {
            return Err(format!("{name}: {text:?}: schema {schema}, type {types}"));
        }
    }
    Ok(())
}

#[test]
fn every_definition_has_a_type_and_its_words() {
    let schema = vm::schema::request();
    let mut names: Vec<&str> = schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
    // a rule asks jiff about times and days; mappings are held to their types with the whole document
    names.retain(|name| !["date", "timestamp"].contains(name) && schema["$defs"][name]["type"] == "string");
    assert_eq!(names, DEFINITIONS.map(|definition| definition.name));
    for Definition { name, rule, .. } in &DEFINITIONS {
        assert_eq!(schema["$defs"][name]["description"], *rule, "{name}");
    }
    for name in ["label", "subdomain", "quantity"] {
        assert_eq!(vm::schema::policy()["$defs"][name], schema["$defs"][name]);
    }
}

/// Values at the edges of the rules.
const KNOWN: &[&str] = &[
    "a",
    "A",
    "0",
    "-",
    "a-",
    "-a",
    "a.b",
    "a..b",
    ".a",
    "a.",
    "a_b",
    "_a",
    "a b",
    " ",
    "",
    "\u{a0}",
    "a\u{200b}",
    "ü",
    "a\n",
    "\na",
    "1Mi",
    "0Mi",
    "01Mi",
    "1024Ti",
    "1025Ti",
    "1Ki",
    "9999999999Ti",
    "UTC",
    "Europe/Berlin",
    "Etc/GMT+5",
    "a/b",
    "Europe//Berlin",
    "A/b/c",
    "A/b/c/d",
    "quay.io/a:1",
    "quay.io/a",
    "quay.io/a@sha256:0",
    "quay.io:5000/a:1",
    "quay/a:1",
    "quay:5000/a:1",
    "quay.io/a/:1",
    "quay.io//a:1",
    "quay.io/a:",
    "quay.io/a:1:2",
    "quay.io/a-:1",
    "quay.io/A:1",
    "https://a.b/c",
    "http://a",
    "https://",
    "ftp://a/b",
    "https://a:1/b",
    "https://a:123456/b",
    "https://a/b c",
    "https://a/b#c",
    "https://a@b/c",
    "https://a?b",
    "https://a/%20",
    "https://a/[b]",
    "https://a/$b",
    "https://a/b\\c",
    "02:5e:10:00:00:01",
    "02:5E:10:00:00:01",
    "02-5e-10-00-00-01",
    "03:5e:10:00:00:01",
    "02:00:00:00:00:00",
    "02:5e:10:00:00",
    "02:5e:10:00:00:1",
    "02:5e:10:00:00:01:",
    "infra/vlan-120",
    "infra/vlan.120",
    "infra/a/b",
    "corp.example/Cost_Center",
    "Corp.example/x",
    "corp.example/",
    "nvidia.com/GA102GL_A10",
    "/a",
];

#[test]
fn known_values() {
    let long = |n: usize| "a".repeat(n);
    let key = format!("ssh-ed25519 AAAA{}", "b".repeat(28));
    let hosts = |n: usize| vec!["a".repeat(60); n].join(".");
    let made = [
        long(32),
        long(33),
        long(63),
        long(64),
        long(65),
        long(100),
        long(101),
        long(253),
        long(254),
        long(500),
        long(501),
        "ü".repeat(500),
        hosts(4),
        hosts(5),
        format!("{}/a:1", hosts(4)),
        format!("{}/a:1", hosts(5)),
        format!("https://{}/a", hosts(5)),
        key.clone(),
        format!("{key} "),
        format!("{key} jane@corp"),
        format!("{key}\t"),
        format!("{key} ü"),
        format!("{key} {}", long(1000)),
        key[..40].to_owned(),
        format!("quay.io/a@sha256:{}", "0".repeat(64)),
        format!("quay.io/a:1@sha256:{}", "0".repeat(64)),
        format!("quay.io/a:{}", long(128)),
        format!("quay.io/a:{}", long(129)),
    ];
    for value in KNOWN.iter().map(|value| (*value).to_owned()).chain(made) {
        agree(&value).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        agree(&text).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn text_of_the_characters_that_matter(text in "[aAzZ09._/:@+ =$-]{0,70}") {
        agree(&text).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn text_that_is_nearly_right(
        beginning in prop::sample::select(vec!["", "quay.io/", "https://a", "ssh-ed25519 AAAA", "Etc/", "a.b:1/", "12"]),
        middle in "[a-z0-9A-Z._/:-]{0,40}",
        end in prop::sample::select(vec!["", ":1", "Gi", "@sha256:00", "\n", " ", "/", "-", "\u{85}", "é"]),
    ) {
        agree(&format!("{beginning}{middle}{end}")).map_err(TestCaseError::fail)?;
    }
}
