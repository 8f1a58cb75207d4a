//! The layout of Helm: what its chart makes of values, and what operations make of them.

use std::process::Command;

use render_vm::{Templates, render};
use serde_json::{Value, json};
use vm::definition::Definition;
use vm::edit::power;

use super::{HELM, built, bytes, in_chart};
use crate::all_requests;
use crate::day_two::Repository;
use crate::lock::HOSTILE;

/// And `stop-start-vm --file` that of values.
#[test]
fn the_power_in_values_is_one_that_stop_start_vm_edits() {
    let request = crate::request("container-disk");
    let files = render(&Templates::new().unwrap(), &request, &in_chart()).unwrap();
    let target = &request.spec.target;
    let machine = power::Machine { namespace: target.namespace.as_str(), name: target.name.as_str() };
    let text = &files[&format!("{}/values.yaml", target.path())];
    let off = power::in_base(text, machine).unwrap().off().unwrap().unwrap();
    assert_eq!(off, text.replacen("runStrategy: \"Always\"", "runStrategy: \"Halted\"", 1));
    let other = power::Machine { name: "other", ..machine };
    let said = power::in_base(text, other).unwrap_err().to_string();
    assert_eq!(said, format!("it has no VirtualMachine `{}/other`", target.namespace));
}

/// A value is data to the chart, whatever it looks like to Helm or to a parser of YAML.
#[test]
fn values_come_out_of_the_chart_as_they_went_in() {
    let templates = Templates::new().unwrap();
    let request = crate::request("container-disk");
    let target = &request.spec.target;
    let mut files = bytes(render(&templates, &request, &in_chart()).unwrap());
    let path = format!("{}/values.yaml", target.path());
    let mut values = vm::yaml::documents(&files[&path]).unwrap().remove(0);
    let hostile = HOSTILE.iter().chain(&[
        "{{ .Values }}",
        "{{- fail \"evaluated\" }}",
        "{{ include \"x\" . }}",
        "---\n",
        "a\n---\nb\n",
        "a\n\n",
    ]);
    // what Kustomize cannot read is refused before (`cloud_init`), and what YAML has no place for is no value of a request
    let texts: serde_json::Map<String, Value> = hostile
        .filter(|text| {
            !text.chars().any(|c| {
                c.is_control() && !matches!(c, '\n' | '\t' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}')
            })
        })
        .enumerate()
        .map(|(number, text)| (format!("k{number}"), json!(text)))
        .collect();
    assert!(texts.len() > 60, "{}", texts.len());
    let keys: serde_json::Map<String, Value> =
        texts.values().map(|text| (text.as_str().unwrap().to_owned(), json!(1))).collect();
    values["virtualMachine"]["metadata"]["annotations"] = texts.clone().into();
    values["virtualMachine"]["spec"]["odd"] =
        json!({"keys": keys, "empty": {}, "list": [], "number": 1_234_567_890_123_i64});
    let wanted = values["virtualMachine"]["spec"]["odd"].clone();
    files.insert(path, vm::yaml::document(&values).into_bytes());
    let built = built(&files, target);
    let (_, machine) = built.iter().find(|((kind, _), _)| kind == "\"VirtualMachine\"").unwrap();
    for (key, text) in &texts {
        assert_eq!(machine["metadata"]["annotations"][key], *text);
    }
    assert_eq!(machine["spec"]["odd"], wanted);
}

/// Further values of an environment go before those of the chart, for Helm and for every operation.
#[test]
fn values_of_an_environment_are_edited_where_they_are() {
    let (_, request) =
        all_requests().into_iter().find(|(found, _)| *found == "examples/linux-registry").unwrap();
    let files = bytes(render(&Templates::new().unwrap(), &request, &in_chart()).unwrap());
    let mut repository = Repository { files, target: request.spec.target };
    let target = repository.target.clone();
    repository.set("values-prod.yaml", "# of prod\nrunStrategy: Manual # by hand\nmemory: 24Gi\n");
    let application = String::from_utf8(repository.files[&target.application_path()].clone()).unwrap();
    let helm = "    helm:\n      releaseName: \"virtual-machine\"\n";
    assert!(application.contains(helm), "{application}");
    let with = |more: &str| application.replace(helm, &format!("{helm}{more}")).into_bytes();
    repository
        .files
        .insert(target.application_path(), with("      valueFiles: [values.yaml, ./values-prod.yaml]\n"));
    let own = repository.text("values.yaml").to_owned();
    repository.run("R1", "stop", &json!({}), "power");
    assert_eq!(
        repository.text("values-prod.yaml"),
        "# of prod\nrunStrategy: Halted # by hand\nmemory: 24Gi\n"
    );
    let resize = json!({"compute": {"memory": "32Gi"}, "allowRestart": true});
    repository.run("R2", "resize", &resize, "resize");
    repository.run("R3", "start", &json!({}), "power");
    assert_eq!(
        repository.text("values-prod.yaml"),
        "# of prod\nrunStrategy: Manual # by hand\nmemory: 32Gi\n"
    );
    assert_eq!(repository.text("values.yaml"), own);
    let built = built(&repository.files, &target);
    let (_, machine) = built.iter().find(|((kind, _), _)| kind == "\"VirtualMachine\"").unwrap();
    assert_eq!(*machine, repository.definition().machine.unwrap().document);

    // what no operation could edit
    let path = target.application_path();
    for (more, why) in [
        (
            "      valueFiles: [../values.yaml]\n",
            "`spec.source.helm.valueFiles` names `../values.yaml`, which is not in the machine's folder",
        ),
        (
            "      valuesObject: {runStrategy: Always}\n",
            "`spec.source.helm.valuesObject` goes before every file that an operation could edit",
        ),
        (
            "      parameters: [{name: runStrategy, value: Always}]\n",
            "`spec.source.helm.parameters` goes before every file that an operation could edit",
        ),
    ] {
        repository.files.insert(path.clone(), with(more));
        let said = Definition::read(&repository.files, &target).unwrap_err().to_string();
        assert_eq!(said, format!("`{path}`: {why}"));
    }
}

/// What an operation and its contrary leave is what people had written, comments and all.
#[test]
fn values_keep_every_other_byte() {
    let mut repository = Repository::example("linux-golden");
    let request = repository.definition().request.unwrap();
    repository.files = bytes(render(&Templates::new().unwrap(), &request, &in_chart()).unwrap());
    let text = repository.text("values.yaml");
    let text = text.replace("\nvirtualMachine:", " # agreed\n\n# the machine\nvirtualMachine:");
    let written = text.replace("dataVolumes:\n", "dataVolumes: # its disks\n") + "# the end\n";
    assert_eq!(written.matches("# ").count(), 4);
    repository.set("values.yaml", &written);
    repository.run("R1", "stop", &json!({}), "power");
    let changed = |text: &str| {
        let lines = text.lines().zip(written.lines()).filter(|(is, was)| is != was);
        lines.map(|(is, _)| is.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(changed(repository.text("values.yaml")), ["runStrategy: \"Halted\" # agreed"]);
    repository.run("R2", "start", &json!({}), "power");
    assert_eq!(repository.text("values.yaml"), written);
    repository.run("R3", "repave", &json!({}), "repave");
    assert_ne!(repository.text("values.yaml"), written);
    repository.run("R3", "repave", &json!({}), "rollback");
    assert_eq!(repository.text("values.yaml"), written);
}

/// What the chart does not know, or KubeVirt would refuse, Helm refuses by the chart's schema.
#[test]
fn a_misspelt_value_is_refused_by_helm() {
    let request = crate::request("container-disk");
    let files = render(&Templates::new().unwrap(), &request, &in_chart()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let Some(path) = path.strip_prefix(&format!("{}/", request.spec.target.path())) else { continue };
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let helm = |arguments: &[&str]| {
        Command::new(&*HELM)
            .args(["template", "."])
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    assert!(helm(&["--set", "runStrategy=Manual"]).status.success());
    for (set, said) in [
        ("runstrategy=Halted", "additional properties 'runstrategy' not allowed"),
        ("runStrategy=Off", "at '/runStrategy': value must be one of"),
        ("memory=8", "at '/memory': got number, want string"),
    ] {
        let output = helm(&["--set", set]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{set}: {error}");
    }
}
