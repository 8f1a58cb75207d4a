//! What users copy: the sample runs and the start line.

use std::collections::{BTreeMap, BTreeSet};

use crate::check;
use crate::world::World;

#[test]
fn there_is_a_sample_run_of_each_pipeline() {
    check("examples/*-run.yaml", |world, problems| {
        for name in world.pipelines.keys() {
            let file = format!("examples/{name}-run.yaml");
            let run = world.document(&file);
            sample_run(world, name, &run["spec"], &mut |what| {
                problems.push(format!("{file}: {what}"));
            });
            if run["spec"]["pipelineRef"]["name"] != name.as_str() {
                problems.push(format!("{file}: is of another pipeline"));
            }
        }
    });
}

/// What is wrong with a sample run of this pipeline.
fn sample_run(world: &World, name: &str, spec: &serde_json::Value, problem: &mut dyn FnMut(String)) {
    let pipeline = &world.pipelines[name].spec;
    let names = |list: &serde_json::Value, key: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|i| i[key].as_str().unwrap().to_owned()).collect()
    };
    let given = names(&spec["params"], "name");
    for name in given.iter().filter(|g| !pipeline.params.iter().any(|p| p.name == **g)) {
        problem(format!("no param `{name}`"));
    }
    for param in pipeline.params.iter().filter(|p| p.default.is_none() && !given.contains(&p.name)) {
        problem(format!("param `{}` is not given", param.name));
    }
    let request = spec["params"].as_array().unwrap().iter().find(|p| p["name"] == "request");
    let request = request.and_then(|r| r["value"].as_str()).unwrap_or_default();
    let request = serde_json::from_str::<serde_json::Value>(request).ok();
    let samples = std::fs::read_dir(world.root.join("examples/requests")).unwrap();
    let mut samples = samples
        .map(|s| world.document(&format!("examples/requests/{}", s.unwrap().file_name().to_str().unwrap())));
    if !samples.any(|sample| Some(sample) == request) {
        problem("its request is none of examples/requests".to_owned());
    }
    let bound = names(&spec["workspaces"], "name");
    for name in bound.iter().filter(|b| !pipeline.workspaces.iter().any(|w| w.name == **b)) {
        problem(format!("no workspace `{name}`"));
    }
    for workspace in pipeline.workspaces.iter().filter(|w| !w.optional && !bound.contains(&w.name)) {
        problem(format!("workspace `{}` is not bound", workspace.name));
    }
    let accounts: Vec<(&str, &str)> = spec["taskRunSpecs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["pipelineTaskName"].as_str().unwrap(), s["serviceAccountName"].as_str().unwrap()))
        .collect();
    let tasks = pipeline.tasks.iter().chain(&pipeline.finally);
    let wanted: Vec<(&str, &str)> = tasks
        .map(|t| {
            (
                t.name.as_str(),
                crate::roles::account(name, &t.task_ref.name).unwrap_or("an account in roles.rs"),
            )
        })
        .collect();
    if accounts != wanted {
        problem(format!("taskRunSpecs are {accounts:?} and have to be {wanted:?}"));
    }
    for (_, account) in accounts {
        if !crate::roles::accounts(world).iter().any(|a| a == account) {
            problem(format!("there is no ServiceAccount `{account}` in tekton/rbac"));
        }
    }
}

/// It is started as the Task does, with the sample's params and workspaces, and waits for people as long as it says.
#[test]
fn the_sample_of_a_pull_request_fits_its_task() {
    let file = "examples/git-push-pull-request-run.yaml";
    check(file, |world, problems| {
        let run = world.document(file);
        let (kind, spec) = (run["kind"].as_str().unwrap(), &run["spec"]);
        assert_eq!((kind, spec["taskRef"]["name"].as_str()), ("TaskRun", Some("git-push")));
        let list = |key: &str| spec[key].as_array().unwrap().clone();
        let given: BTreeMap<String, String> = list("params")
            .iter()
            .map(|p| (p["name"].as_str().unwrap().to_owned(), p["value"].as_str().unwrap().to_owned()))
            .collect();
        let bound: BTreeSet<String> =
            list("workspaces").iter().map(|w| w["name"].as_str().unwrap().to_owned()).collect();
        let task = &world.tasks["git-push"].spec;
        let unknown = given.keys().filter(|name| !task.params.iter().any(|p| p.name == **name));
        problems.extend(unknown.map(|name| format!("no param `{name}`")));
        let unknown = bound.iter().filter(|name| !task.workspaces.iter().any(|w| w.name == **name));
        problems.extend(unknown.map(|name| format!("no workspace `{name}`")));
        let missing = task.workspaces.iter().filter(|w| !w.optional && !bound.contains(&w.name));
        problems.extend(missing.map(|w| format!("workspace `{}` is not bound", w.name)));
        // what Tekton puts in: the path of a workspace that is bound, else nothing
        let mut values: Vec<(String, String)> = Vec::new();
        for workspace in &task.workspaces {
            let name = &workspace.name;
            let path = if bound.contains(name) { format!("/workspace/{name}") } else { String::new() };
            values.push((format!("$(workspaces.{name}.path)"), path));
        }
        for param in &task.params {
            match given.get(&param.name).or(param.default.as_ref()) {
                Some(value) => values.push((format!("$(params.{})", param.name), value.clone())),
                None => problems.push(format!("param `{}` is not given", param.name)),
            }
        }
        let put_in =
            |arg: &String| values.iter().fold(arg.clone(), |arg, (name, value)| arg.replace(name, value));
        let args: Vec<String> = task.steps[0].args.iter().map(put_in).collect();
        if let Err(error) = world.binary("git-push").unwrap().parse(&args) {
            problems.push(format!("the step refuses it: {error}"));
        }
        for (name, value) in [("mode", "pull-request"), ("wait-merged", "true")] {
            if given.get(name).map(String::as_str) != Some(value) {
                problems.push(format!("`{name}` is not `{value}`"));
            }
        }
        for name in ["labels", "reviewers"] {
            if given.get(name).is_none_or(String::is_empty) {
                problems.push(format!("it gives no `{name}`"));
            }
        }
        if !bound.contains("github-app-key") || bound.contains("basic-auth") {
            problems.push("it is to show a GitHub App in place of other credentials".to_owned());
        }
        let seconds = |text: &str| text.parse::<step::Timeout>().unwrap().get();
        if seconds(spec["timeout"].as_str().unwrap()) <= seconds(&given["timeout"]) {
            problems.push("Tekton ends it before its param `timeout` does".to_owned());
        }
    });
}

/// `tkn pipeline start` in examples/README.md names what is there.
#[test]
fn the_start_line_fits_its_pipeline() {
    check("examples/README.md", |world, problems| {
        let text = std::fs::read_to_string(world.root.join("examples/README.md")).unwrap();
        let (_, rest) = text.split_once("tkn pipeline start ").unwrap();
        let (command, _) = rest.split_once("```").unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        let pipeline = &world.pipelines[words[0]].spec;
        let values = |flag: &str| -> BTreeSet<String> {
            let given = words.windows(2).filter(|w| w[0] == flag);
            given
                .map(|w| w[1].trim_start_matches("name=").split(['=', ',']).next().unwrap().to_owned())
                .collect()
        };
        let params: BTreeSet<String> = pipeline.params.iter().map(|p| p.name.clone()).collect();
        let workspaces: BTreeSet<String> = pipeline.workspaces.iter().map(|w| w.name.clone()).collect();
        let tasks: BTreeSet<String> =
            pipeline.tasks.iter().chain(&pipeline.finally).map(|t| t.name.clone()).collect();
        let required: BTreeSet<String> =
            pipeline.params.iter().filter(|p| p.default.is_none()).map(|p| p.name.clone()).collect();
        problems.extend((&values("--param") - &params).into_iter().map(|p| format!("no param `{p}`")));
        problems.extend(
            (&required - &values("--param")).into_iter().map(|p| format!("`--param {p}=…` is missing")),
        );
        problems.extend(
            (&values("--workspace") - &workspaces).into_iter().map(|w| format!("no workspace `{w}`")),
        );
        if values("--task-serviceaccount") != tasks {
            problems.push(format!("`--task-serviceaccount` for each of {tasks:?}"));
        }
    });
}

/// The Leases are with the other flows: who runs patch-vm elsewhere has his Role there as well, and nobody else has.
#[test]
fn the_accounts_of_a_patch_reach_the_leases() {
    check("examples/patching", |world, problems| {
        let run = &world.documents("examples/patch-vm-run.yaml")[0];
        let place = &run["metadata"]["namespace"];
        let accounts = run["spec"]["taskRunSpecs"].as_array().unwrap().iter();
        let accounts: BTreeSet<String> =
            accounts.map(|spec| spec["serviceAccountName"].as_str().unwrap().to_owned()).collect();
        let bindings = world.documents("examples/patching/leases.yaml");
        let wanted = accounts.iter().map(|account| {
            serde_json::json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {
                    "name": format!("{account}-{}", place.as_str().unwrap()), "namespace": "vm-lifecycle",
                    "labels": {"app.kubernetes.io/part-of": "vm-lifecycle-tasks"},
                },
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": place}],
            })
        });
        for wanted in wanted.filter(|wanted| !bindings.contains(wanted)) {
            problems.push(format!("examples/patching/leases.yaml: lacks\n{wanted}"));
        }
        if bindings.len() != accounts.len() {
            problems.push(format!("{} RoleBindings for {} accounts", bindings.len(), accounts.len()));
        }
    });
}
