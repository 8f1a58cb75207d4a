//! What is rendered, to the byte. `SNAPSHOTS=overwrite cargo test -p render-vm` writes it anew.

use std::collections::BTreeSet;

use crate::{all_requests, fixtures, requests, site};
use render_vm::{Files, Site, Templates, render};
use snapbox::Data;

/// All files of one case in one document stream, each under its path.
fn stream(files: &Files) -> String {
    files.iter().flat_map(|(path, text)| ["--- # ", path, "\n", text]).collect()
}

#[test]
fn every_request_renders_to_these_files() {
    let templates = Templates::new().unwrap();
    let mut cases = BTreeSet::new();
    for (name, request) in all_requests() {
        let files = render(&templates, &request, &site()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let golden = fixtures().join(format!("manifests/{name}.yaml"));
        snapbox::Assert::new()
            .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
            .eq(Data::text(stream(&files)).raw(), Data::read_from(&golden, None).raw());
        cases.insert(golden);
    }
    let folders = ["manifests", "manifests/valid", "manifests/examples"];
    let there: BTreeSet<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(fixtures().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert_eq!(there, cases, "each golden file has a request");
}

#[test]
fn two_renders_are_equal() {
    for (name, request) in all_requests() {
        let [first, second] =
            [(); 2].map(|()| render(&Templates::new().unwrap(), &request, &site()).unwrap());
        assert_eq!(first, second, "{name}");
    }
}

/// Whoever renders it, whatever else is asked for.
#[test]
fn a_namespace_is_the_same_for_every_machine_in_it() {
    let templates = Templates::new().unwrap();
    let other =
        Site { repo_url: "ssh://git@other.example/x.git".to_owned(), branch: "live".to_owned(), ..site() };
    let mut texts = BTreeSet::new();
    for (_, request) in requests() {
        for site in [site(), other.clone()] {
            let files = render(&templates, &request, &site).unwrap();
            texts.insert(files[&request.spec.target.namespace_path()].clone());
        }
    }
    assert_eq!(
        texts.into_iter().collect::<Vec<_>>(),
        ["apiVersion: v1\nkind: Namespace\nmetadata:\n  name: \"team-a\"\n  annotations:\n    \
          argocd.argoproj.io/sync-options: Prune=false,Delete=false\n"]
    );
}

/// Argo CD must not take a data disk away with the machine, and must take the boot disk.
#[test]
fn only_data_disks_outlive_the_machine() {
    let files =
        render(&Templates::new().unwrap(), &crate::request("data-source-everything"), &site()).unwrap();
    let kept: Vec<_> = files
        .iter()
        .filter(|(_, text)| text.contains("Prune=false,Delete=false"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        kept,
        [
            "namespaces/in-cluster/team-a/namespace.yaml",
            "vms/in-cluster/team-a/db-01/disk-data.yaml",
            "vms/in-cluster/team-a/db-01/disk-log.yaml",
        ]
    );
}

/// Either option would delete the machine to make it anew, or give it other hardware.
#[test]
fn point_21_argo_cd_is_never_told_to_replace() {
    let templates = Templates::new().unwrap();
    for (name, request) in all_requests() {
        for (path, text) in render(&templates, &request, &site()).unwrap() {
            let told = ["Replace=true", "Force=true"].into_iter().find(|option| text.contains(option));
            assert_eq!(told, None, "{name}: {path}");
        }
    }
}

#[test]
fn a_server_takes_the_place_of_the_clusters_name() {
    let request = crate::request("container-disk");
    let site = Site { destination_server: Some("https://10.0.0.1:6443".to_owned()), ..site() };
    let files = render(&Templates::new().unwrap(), &request, &site).unwrap();
    let application = &files["applications/in-cluster/team-a/web-01.yaml"];
    assert!(
        application
            .contains("  destination:\n    server: \"https://10.0.0.1:6443\"\n    namespace: \"team-a\"\n"),
        "{application}"
    );
}
