use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::Fault;
use super::{Found, Machine, Overlay, Power, in_base, in_patch, is_kustomization};

const MACHINE: Machine<'_> = Machine { namespace: "team-a", name: "web-1" };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/power")
}

fn cases(list: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join("cases.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    cases[list].as_array().unwrap().clone()
}

/// The power of the machine by the file or the overlay that the case names, and the path of the file that has it.
fn power(case: &Value) -> Result<(PathBuf, Power), Fault> {
    let root = folder().join(case["case"].as_str().unwrap());
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    if let Some(file) = case["file"].as_str() {
        let path = root.join(file);
        return in_base(&read(&path), MACHINE).map(|power| (path, power));
    }
    let overlay = root.join(case["overlay"].as_str().unwrap());
    let name = overlay.file_name().unwrap().to_str().unwrap();
    if overlay.is_file() && !is_kustomization(name) {
        let power = in_patch(&read(&overlay), MACHINE)?;
        return Ok((overlay, power.unwrap()));
    }
    let folder = if overlay.is_file() { overlay.parent().unwrap().to_owned() } else { overlay };
    let kustomization = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| is_kustomization(path.file_name().unwrap().to_str().unwrap()))
        .unwrap();
    let text = read(&kustomization);
    let overlay = Overlay::read(&text, MACHINE)?;
    let files: BTreeMap<_, _> =
        overlay.files().into_iter().map(|file| (file.to_owned(), read(&folder.join(file)))).collect();
    let Found { file, power } = overlay.find(&files)?;
    Ok((file.map_or(kustomization, |file| folder.join(file)), power))
}

/// The parts in which two texts differ, to the nearest whole word.
fn difference(old: &str, new: &str) -> (String, String) {
    let word = |b: u8| b.is_ascii_alphanumeric();
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let mut start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let mut end =
        old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    while start > 0 && word(old[start - 1]) {
        start -= 1;
    }
    while end > 0 && word(old[old.len() - end]) {
        end -= 1;
    }
    let part = |text: &[u8]| String::from_utf8(text[start..text.len() - end].to_vec()).unwrap();
    (part(old), part(new))
}

#[test]
fn files_of_other_repositories_change_in_exactly_one_value() {
    let cases = cases("changed");
    assert!(cases.len() >= 20, "only {} files", cases.len());
    for case in cases {
        let name = &case["case"];
        let (path, on) = power(&case).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert!(path.ends_with(case["changed"].as_str().unwrap()), "{name}: {}", path.display());
        let before = fs::read_to_string(&path).unwrap();
        let stopped = on.off().unwrap_or_else(|fault| panic!("{name}: {fault}")).unwrap();
        let bare = |key: &str| case[key].as_str().unwrap().trim_matches(['"', '\'']).to_owned();
        assert_eq!(difference(&before, &stopped), (bare("from"), bare("to")), "{name}");
        assert!(stopped.contains(case["to"].as_str().unwrap()), "{name}: the quotes stay");
        assert!(!on.declared().is_off(), "{name}");
        assert!(on.on(None).unwrap().is_none(), "{name}: it is on already");

        let off = again(&on, &stopped);
        assert!(off.declared().is_off(), "{name}");
        assert!(off.off().unwrap().is_none(), "{name}: it is off already");
        assert_eq!(
            off.on(Some(on.declared().strategy())).unwrap().as_ref(),
            Some(&before),
            "{name}: and back"
        );
    }
}

/// The power in the file after it was changed: the same place, read anew.
fn again(power: &Power, text: &str) -> Power {
    let machine = |name| Machine { name, ..MACHINE };
    let inside = power.inside.is_some();
    if inside {
        let overlay = Overlay::read(text, MACHINE).unwrap();
        return overlay.find(&BTreeMap::new()).unwrap().power;
    }
    ["web-1", "web"]
        .into_iter()
        .find_map(|name| in_base(text, machine(name)).ok().or_else(|| in_patch(text, machine(name)).ok()?))
        .unwrap()
}

#[test]
fn odd_values_and_shared_places_are_refused() {
    for case in cases("refused") {
        let fault =
            power(&case).and_then(|(_, power)| power.off().map(|_| ())).map_err(|fault| fault.to_string());
        assert_eq!(fault, Err(case["message"].as_str().unwrap().to_owned()), "{}", case["case"]);
    }
}

#[test]
fn a_start_takes_the_strategy_from_before() {
    let off = "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web-1}\nspec: {runStrategy: Halted}\n";
    let on = |before| {
        let text = in_base(off, MACHINE).unwrap().on(before).unwrap().unwrap();
        text.rsplit_once("runStrategy: ").unwrap().1.trim_end().to_owned()
    };
    assert_eq!(on(None), "Always}");
    assert_eq!(on(Some("RerunOnFailure")), "RerunOnFailure}");
    for odd in ["Halted", "true", "", "Always}, x: {"] {
        assert_eq!(on(Some(odd)), "Always}", "{odd:?}");
    }
}
