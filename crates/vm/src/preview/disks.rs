//! The disks of a machine in words.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chart;
use crate::definition::{Definition, Disk};
use crate::layout::OPERATIONS;
use crate::rules::looks_secret;

/// Its role, its claim and its size, as far as that is known.
pub(super) fn named(definition: &Definition, disk: &Disk) -> String {
    let role = if disk.boot { "boot disk".to_owned() } else { format!("data disk `{}`", disk.name) };
    let size = definition.grown(disk).map(|size| size.to_string()).or_else(|| disk.size.clone());
    let size = size.map(|size| format!(", {size}")).unwrap_or_default();
    format!("{role} (claim `{}`{size})", disk.claim)
}

/// From what a disk is filled, where its file says so, behind a comma: `, empty`.
pub(super) fn filled(definition: &Definition, disk: &Disk) -> String {
    makers(definition).get(&disk.claim).map_or_else(String::new, |maker| match content(maker) {
        Some(content) => format!(", {content}"),
        None => String::new(),
    })
}

/// What the files of a machine's folder make, by the claim: `DataVolumes` and claims.
pub(super) fn makers(definition: &Definition) -> BTreeMap<String, Value> {
    let records = format!("{}/{OPERATIONS}/", definition.target.path());
    let files = definition.files.iter().filter(|(path, _)| !path.starts_with(&records));
    // what cannot be read is no manifest, or was told when the machine was looked for
    let documents = files.filter_map(|(path, bytes)| chart::objects(path, bytes).ok()).flatten();
    let of_disk =
        |document: &Value| matches!(text(document, "/kind"), Some("DataVolume" | "PersistentVolumeClaim"));
    documents
        .filter(of_disk)
        .filter_map(|document| Some((text(&document, "/metadata/name")?.to_owned(), document)))
        .collect()
}

fn content(maker: &Value) -> Option<String> {
    let place = |pointer: &str| {
        let at = maker.pointer(pointer)?;
        let name = text(at, "/name")?;
        Some(text(at, "/namespace").map_or_else(|| format!("`{name}`"), |space| format!("`{space}/{name}`")))
    };
    let address = |pointer: &str| {
        let url = text(maker, pointer)?;
        Some(if looks_secret(url) { "an address that is not shown".to_owned() } else { format!("`{url}`") })
    };
    if maker.pointer("/spec/source/blank").is_some() {
        return Some("empty".to_owned());
    }
    let from = |what: &str, which: Option<String>| which.map(|which| format!("from {what}{which}"));
    from("golden image ", place("/spec/sourceRef"))
        .or_else(|| from("claim ", place("/spec/source/pvc")))
        .or_else(|| from("snapshot ", place("/spec/source/snapshot")))
        .or_else(|| from("", address("/spec/source/registry/url")))
        .or_else(|| from("", address("/spec/source/http/url")))
}

fn text<'a>(document: &'a Value, pointer: &str) -> Option<&'a str> {
    document.pointer(pointer).and_then(Value::as_str)
}
