//! What the flows run on, and how they are followed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::git;
use testbed::pipeline::{Accounts, Ended, Event, Flow, Run};
use testbed::stage::{ARGOCD, PARENT, Stage};

/// The namespace of the flows.
const FLOWS: &str = "vm-lifecycle";

pub(super) struct Scene<'a> {
    root: &'a Path,
    pub(super) server: &'a git::Server,
    pub(super) stage: &'a Stage,
    folder: tempfile::TempDir,
    accounts: Accounts,
}

impl<'a> Scene<'a> {
    /// Lay out the workspaces that a PipelineRun would mount.
    pub(super) async fn new(root: &'a Path, server: &'a git::Server, stage: &'a Stage) -> Result<Self> {
        let accounts = Accounts::install(stage.plane(), &root.join("tekton/rbac"), FLOWS, |_| {}).await?;
        let folder = tempfile::tempdir()?;
        let credentials = folder.path().join("basic-auth");
        fs::create_dir(&credentials)?;
        fs::write(credentials.join(".git-credentials"), format!("{}\n", server.url_with_credentials()))?;
        fs::write(credentials.join(".gitconfig"), "[credential]\n\thelper = store\n")?;
        let policy = folder.path().join("policy");
        fs::create_dir(&policy)?;
        fs::copy(root.join("examples/policy.yaml"), policy.join("policy.yaml"))?;
        fs::create_dir(folder.path().join("kubeconfig"))?;
        fs::copy(stage.plane().kubeconfig(), folder.path().join("kubeconfig/kubeconfig"))?;
        Ok(Self { root, server, stage, folder, accounts })
    }

    /// A flow with this request, ready to be run.
    pub(super) fn flow(&self, pipeline: &str, run: &str, request: &Value) -> Result<Flow> {
        let file = self.root.join(format!("pipelines/{pipeline}.yaml"));
        let yaml: Value = serde_saphyr::from_str(&fs::read_to_string(&file)?)?;
        let takes = |kind: &str, name: &str| {
            yaml["spec"][kind].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name))
        };
        let params = [
            ("request", request.to_string()),
            ("git-url", self.server.url()),
            ("parent-application", format!("{ARGOCD}/{PARENT}")),
        ];
        let params = params.into_iter().filter(|(name, _)| takes("params", name));
        let workspaces = [
            ("basic-auth", "basic-auth"),
            ("basic-auth-read", "basic-auth"),
            ("kubeconfig", "kubeconfig"),
            ("policy", "policy"),
        ];
        let workspaces = workspaces.into_iter().filter(|(name, _)| takes("workspaces", name));
        let (name, kubeconfig) = (run.to_owned(), Some(self.stage.plane().kubeconfig()));
        Ok(Flow {
            pipeline: file,
            tasks: self.root.join("tekton/tasks"),
            binaries: std::env::current_exe()?.parent().context("a program without a folder")?.to_owned(),
            params: params.map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
            workspaces: workspaces
                .map(|(name, folder)| (name.to_owned(), self.folder.path().join(folder)))
                .collect(),
            accounts: self.accounts.of_run(&self.root.join(format!("examples/{pipeline}-run.yaml")))?,
            run: Run { namespace: FLOWS.to_owned(), name, kubeconfig },
            ..Flow::default()
        })
    }

    /// Run a flow and tell what it does.
    pub(super) fn run(&self, pipeline: &str, run: &str, request: &Value) -> Result<Ended> {
        play(&self.flow(pipeline, run, request)?)
    }

    /// Run a flow that has to end well.
    pub(super) fn done(&self, pipeline: &str, run: &str, request: &Value) -> Result<Ended> {
        let ended = self.run(pipeline, run, request)?;
        ensure!(ended.succeeded, "the flow failed");
        Ok(ended)
    }
}

/// Run a flow as it is and tell what it does.
pub(super) fn play(flow: &Flow) -> Result<Ended> {
    play_with(flow, &mut |_| ())
}

/// The same, and let `heard` know each line of a step.
pub(super) fn play_with(flow: &Flow, heard: &mut dyn FnMut(&str)) -> Result<Ended> {
    let ended = flow.run(&mut |event| {
        tell(event);
        if let Event::Line { text, .. } = event {
            heard(text);
        }
    })?;
    for (name, value) in ended.results.iter().filter(|(_, value)| !value.is_empty()) {
        println!("  result {name} = {value}");
    }
    Ok(ended)
}

/// Tell what a flow does, as a person follows it.
fn tell(event: Event<'_>) {
    match event {
        Event::Begun { task, step, .. } => println!("\n▶ {task} / {step}"),
        Event::Line { text, .. } => println!("  {text}"),
        Event::Ended { code: 0, .. } => {}
        Event::Ended { code, .. } => println!("  exit {code}"),
        Event::Skipped { task, reason } => println!("\n▷ {task}: {reason}"),
    }
}
