//! A template of the site's own: what it makes, and what it may not.

use std::path::PathBuf;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use render_vm::{Files, Lock, Templates, parse, render, render_by, wanted};
use serde_json::{Value, json};
use snapbox::Data;
use vm::definition::Definition;
use vm::request::{Request, Template};

use crate::layout::{in_chart, in_overlay};
use crate::lock::{HOSTILE, value};
use crate::process::render as run;
use crate::{fixtures, requests, site};

const BUILT_IN: &str = include_str!("../../templates/virtual-machine.yaml.j2");

fn folder() -> PathBuf {
    fixtures().join("../../examples/templates")
}

/// The example's request, as `validate-request` accepts it.
fn hardened() -> Request {
    let text = std::fs::read_to_string(fixtures().join("templates/hardened.accepted.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn source() -> String {
    std::fs::read_to_string(folder().join("hardened.yaml.j2")).unwrap()
}

/// The example with other requests: every one of the fixtures can be made by it.
pub(crate) fn all() -> Vec<(String, Request, Files)> {
    let with = |(name, request): (String, Request)| {
        let template = hardened().spec.template;
        (
            format!("{name} hardened"),
            Request { spec: vm::request::Spec { template, ..request.spec }, ..request },
        )
    };
    let every = crate::all_requests().into_iter().map(with).chain([("the example".to_owned(), hardened())]);
    every
        .map(|(name, request)| {
            let files = render_by(&source(), &request, &site()).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, request, files)
        })
        .collect()
}

/// The layout does not ask who wrote the machine's template.
#[test]
fn the_example_is_the_same_machine_in_every_layout() {
    let request = hardened();
    let [plain, overlay, chart] = [site(), in_overlay(), in_chart()].map(|site| {
        let files = render_by(&source(), &request, &site).unwrap();
        let files = files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
        Definition::read(&files, &request.spec.target).unwrap().machine.unwrap().document
    });
    assert_eq!((&plain, &plain), (&overlay, &chart));
}

#[test]
fn the_example_makes_this_machine_and_every_other_file_as_ever() {
    let (request, own) = (hardened(), render_by(&source(), &hardened(), &site()).unwrap());
    let machine = format!("{}/virtual-machine.yaml", request.spec.target.path());
    snapbox::Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV).eq(
        Data::text(&own[&machine]).raw(),
        Data::read_from(&fixtures().join("templates/hardened.yaml"), None).raw(),
    );

    let plain = Request { spec: vm::request::Spec { template: None, ..request.spec.clone() }, ..request };
    let built_in = render(&Templates::new().unwrap(), &plain, &site()).unwrap();
    let differs = |path: &&String| built_in.get(*path) != own.get(*path);
    let differ: Vec<&String> = built_in.keys().filter(differs).collect();
    assert_eq!(built_in.keys().collect::<Vec<_>>(), own.keys().collect::<Vec<_>>());
    assert_eq!(differ, [&format!("{}/request.yaml", plain.spec.target.path()), &machine]);
    assert!(all().len() > 20);
}

/// docs/first-machine.md: the line and the schema that a new user adds to the built-in template.
#[test]
fn the_first_template_of_a_new_user_renders() {
    let page = std::fs::read_to_string(fixtures().join("../../docs/first-machine.md")).unwrap();
    let added = page.split('`').find(|piece| piece.starts_with("logSerialConsole:")).unwrap();
    let own = BUILT_IN.replace("        devices:\n", &format!("        devices:\n          {added}\n"));
    assert_ne!(own, BUILT_IN);
    let schema = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let schema: Value = serde_json::from_str(schema).unwrap();
    let (parameter, described) = schema["properties"].as_object().unwrap().iter().next().unwrap();
    let request = by(requests().remove(0).1, json!({ parameter: described["default"] }));
    let files = render_by(&own, &request, &site()).unwrap();
    let machine: Value =
        parse(&files[&format!("{}/virtual-machine.yaml", request.spec.target.path())]).unwrap();
    assert_eq!(machine.pointer("/spec/template/spec/domain/devices/logSerialConsole"), Some(&json!(false)));
}

/// The built-in template as a site's, one piece of it changed.
#[test]
fn what_a_template_may_not_do_names_the_place() {
    let request = requests().into_iter().find(|(name, _)| name == "data-source-everything").unwrap().1;
    let request = by(request, json!({ "zone": "fra-1", "large": true }));
    let mut wrong = Vec::new();
    let placed = BUILT_IN
        .replace("          rng: {}\n", "          rng: {}\n          watchdog: {{ parameters.zone }}\n");
    assert!(render_by(&placed, &request, &site()).is_ok());
    for (from, to, said) in [
        ("{{ parameters.zone }}", "x", "the value of `parameters.zone` is missing"),
        ("{{ hostname }}", "\"web\"", "the value of `hostname` is missing"),
        ("{{ parameters.zone }}", "a-{{ parameters.zone }}", "the value of `parameters.zone` is missing"),
        ("{{ parameters.zone }}", "{{ parameters.zones }}", "it does not render: undefined value"),
        ("{{ parameters.zone }}", "{{ parameters }}", "it does not render: "),
        ("{{ parameters.zone }}", "{{ parameters.zone | upper }}", "it does not render: unknown filter"),
        ("{{ parameters.zone }}", "{{ parameters.zone }", "it does not compile: "),
        (
            "          watchdog: {{ parameters.zone }}\n",
            "          watchdog: {{ parameters.zone }}\n{% if parameters.zone == \"fra-1\" %}\n          tpm: {}\n{% endif %}\n",
            "a value became structure at `spec.template.spec.domain.devices`",
        ),
        (
            "          rng: {}\n",
            "          {{ parameters.zone }}: {}\n",
            "a value became structure at `spec.template.spec.domain.devices`",
        ),
        ("kind: VirtualMachine\n", "kind: Pod\n", "it has `\"Pod\"` at `/kind`, not `\"VirtualMachine\"`"),
        ("apiVersion: kubevirt.io/v1\n", "apiVersion: v1\n", "it has `\"v1\"` at `/apiVersion`"),
        (
            "  namespace: {{ namespace }}\n",
            "  namespace: kube-system\n  x: {{ namespace }}\n",
            "it has `\"kube-system\"` at `/metadata/namespace`",
        ),
        (
            "  name: {{ name }}\n",
            "  name: other\n  x: {{ name }}\n",
            "it has `\"other\"` at `/metadata/name`",
        ),
        ("spec:\n", "---\napiVersion: v1\nkind: Secret\n---\nspec:\n", "it does not parse: "),
        (
            "  runStrategy: {{ run_strategy }}\n",
            "  running: true\n  x: {{ run_strategy }}\n",
            "it has `true` at `spec.running`, not nothing",
        ),
        (
            "  runStrategy: {{ run_strategy }}\n",
            "  runStrategy: Manual\n  x: {{ run_strategy }}\n",
            "it has `\"Manual\"` at `spec.runStrategy`, not `\"Always\"`",
        ),
        (
            "  template:\n",
            "  dataVolumeTemplates: []\n  template:\n",
            "it has `[]` at `spec.dataVolumeTemplates`, not nothing",
        ),
        (
            "              bootOrder: 1\n",
            "",
            "it has nothing at `spec.template.spec.domain.devices.disks[root].bootOrder`, not `1`",
        ),
        (
            "            claimName: {{ disk.claim }}\n",
            "            claimName: other\n            x: {{ disk.claim }}\n",
            "it has `\"other\"` at `spec.template.spec.volumes[data].persistentVolumeClaim.claimName`",
        ),
        (
            "terminationGracePeriodSeconds: {{ grace_period_seconds }}",
            "x: 1",
            "it has nothing at `spec.template.spec.terminationGracePeriodSeconds`",
        ),
        (
            "    app.kubernetes.io/managed-by: vm-lifecycle-tasks\n",
            "    app.kubernetes.io/managed-by: us\n",
            "it has `\"us\"` at `metadata.labels.app.kubernetes.io/managed-by`",
        ),
        (
            "              masquerade: {}\n",
            "              bridge: {}\n",
            "it has nothing at `spec.template.spec.domain.devices.interfaces[main].masquerade`",
        ),
    ] {
        assert!(placed.contains(from), "{from}");
        let error = render_by(&placed.replace(from, to), &request, &site()).unwrap_err().to_string();
        if !error.contains(said) {
            wrong.push(format!("{to}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // words that are not the request's are the site's, and a switch may decide
    let own = placed.replace("bus: virtio", "bus: sata").replace("model: virtio", "model: e1000e").replace(
        "          rng: {}\n",
        "          rng: {}\n{% if parameters.large %}\n          tpm: {}\n{% endif %}\n",
    );
    let files = render_by(&own, &request, &site()).unwrap();
    let machine: Value =
        parse(&files[&format!("{}/virtual-machine.yaml", request.spec.target.path())]).unwrap();
    assert_eq!(machine.pointer("/spec/template/spec/domain/devices/tpm"), Some(&json!({})));
}

fn by(mut request: Request, parameters: Value) -> Request {
    let parameters = serde_json::from_value(parameters).unwrap();
    request.spec.template = Some(Template { name: "own".parse().unwrap(), parameters });
    request
}

#[test]
fn hostile_and_random_parameters_stay_values() {
    let source = BUILT_IN.replace(
        "          rng: {}\n",
        "          rng: {}\n          x: {{ parameters.text }}\n          y:\n{% for item in parameters.list %}\n            - {{ item }}\n{% endfor %}\n",
    );
    let base = requests().into_iter().find(|(name, _)| name == "data-source-everything").unwrap().1;
    let mut templates = Templates::new().unwrap();
    templates.replace(render_vm::Template::VirtualMachine, source.leak()).unwrap();
    let wanted = wanted(&base, &site()).unwrap();
    let machine = wanted.iter().find(|one| one.template == render_vm::Template::VirtualMachine).unwrap();
    let mut random = StdRng::seed_from_u64(6);
    let more: Vec<String> = (0..500).map(|_| value(&mut random)).collect();
    for text in HOSTILE.iter().map(|text| (*text).to_owned()).chain(more) {
        let mut context = machine.context.clone();
        context["parameters"] = json!({ "text": text, "list": [text, "b"] });
        let rendered = Lock::new(&templates, machine.template, &context)
            .and_then(|lock| lock.render(&templates, &context, &machine.expected()))
            .unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let devices = &parse::<Value>(&rendered).unwrap()["spec"]["template"]["spec"]["domain"]["devices"];
        assert_eq!((&devices["x"], &devices["y"]), (&json!(text), &json!([text, "b"])), "{text:?}");
    }
}

#[test]
fn the_program_needs_the_folder_and_names_the_file() {
    let temporary = tempfile::tempdir().unwrap();
    let request = fixtures().join("templates/hardened.accepted.json");
    let (request, out) = (request.to_str().unwrap(), format!("--output={}/out", temporary.path().display()));
    let own = temporary.path().join("hardened.yaml.j2");
    let given = format!("--template-directory={}", temporary.path().display());
    let cannot = format!("error: cannot use the template `{}`: ", own.display());
    let mends = "hint: the platform team mends it, or the request does without what it has no place for\n";

    let (code, _, said) = run(request, &[&out]);
    assert_eq!(
        (code, said.as_str()),
        (
            2,
            "error: the request names the template `hardened`\nhint: `--template-directory` is the folder that `validate-request` was given\n"
        )
    );
    let (code, _, said) = run(request, &[&out, &given]);
    assert_eq!((code, said), (2, format!("{cannot}No such file or directory (os error 2)\n{mends}")));
    std::fs::write(&own, BUILT_IN).unwrap();
    let (code, _, said) = run(request, &[&out, &given]);
    assert_eq!(
        (code, said),
        (2, format!("{cannot}the value of `parameters.evictionStrategy` is missing\n{mends}"))
    );
    std::fs::write(&own, vec![b' '; render_vm::OUTPUT + 1]).unwrap();
    let (code, _, said) = run(request, &[&out, &given]);
    assert_eq!((code, said), (2, format!("{cannot}longer than 262144 bytes\n{mends}")));
    assert!(!temporary.path().join("out").exists());

    let (code, _, said) = run(request, &[&out, &format!("--template-directory={}", folder().display())]);
    assert_eq!(code, 0, "{said}");
}
