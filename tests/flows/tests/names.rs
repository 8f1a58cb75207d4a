//! A request that leaves the name of its machine to the site, through `pipelines/provision-vm.yaml`.

use std::fs;

use flows::{World, machine, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_a_name_is_made_once_and_named_in_the_answer() {
    let world = World::start().await.unwrap();
    let policy = tempfile::tempdir().unwrap();
    fs::write(
        policy.path().join("policy.yaml"),
        "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMPolicy\nspec: {nameTemplate: \"vm-{id}\"}\n",
    )
    .unwrap();
    let mut request = machine("nameless");
    request["spec"]["target"].as_object_mut().unwrap().shift_remove("name");
    let (mut tips, mut messages) = (Vec::new(), Vec::new());
    for run in ["first", "again"] {
        let mut flow = world.flow("provision-vm", run, &request).unwrap();
        flow.workspaces.insert("policy".to_owned(), policy.path().to_owned());
        let (ended, _) = world.hear(&flow).unwrap();
        assert!(ended.succeeded, "{:?}", told(&ended));
        messages.push(told(&ended).1);
        tips.push(world.server.git().tip().unwrap());
    }
    assert_eq!(tips[0], tips[1]);
    let folders = world.server.git().files("main").unwrap();
    let folders = folders.iter().filter_map(|file| file.strip_suffix("/virtual-machine.yaml"));
    let names: Vec<_> = folders.filter_map(|folder| folder.rsplit('/').next()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("vm-") && names[0].len() == "vm-".len() + 8, "{names:?}");
    assert!(messages.iter().all(|message| message.contains(names[0])), "{messages:?}");
}
