//! The recorder on the stand-ins, and the comparison with what a real cluster was seen to do.

use std::time::Duration;

use flows::{MACHINES, World};
use testbed::conformance::{Recorder, Recording, Subject, compare};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_goes_through_is_recorded_and_compared() {
    let world = World::start().await.unwrap();
    let client = world.stage.plane().client().await.unwrap();
    let recorder = Recorder::start(client, &Subject::new(MACHINES, "web"), "start", "stand-ins");
    world.provision("web").unwrap();
    let minute = Duration::from_mins(1);
    recorder.until("Application", "health", "Healthy", minute).await.unwrap();
    recorder.settle(Duration::from_secs(2), minute).await;
    let seen = recorder.finish();

    let values = |object: &str, facet: &str| seen.objects[object][facet].join(", ");
    assert_eq!(
        seen.objects.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "Application",
            "DataVolume data",
            "DataVolume root",
            "PersistentVolumeClaim data",
            "PersistentVolumeClaim root",
            "VirtualMachine",
            "VirtualMachineInstance",
        ]
    );
    // over HTTP, so a second pod has scratch space
    assert_eq!(
        values("DataVolume root", "phase"),
        "-, ImportScheduled, ImportInProgress, ImportScheduled, ImportInProgress, Succeeded"
    );
    assert_eq!(values("PersistentVolumeClaim root", "phase"), "Pending, Bound");
    assert_eq!(values("VirtualMachine", "created"), "-, true");
    assert!(
        values("VirtualMachineInstance", "phase").ends_with("Scheduling, Scheduled, Running"),
        "{seen:?}"
    );
    assert!(values("Application", "operation").ends_with("Running, Succeeded"), "{seen:?}");

    // what is written is what is read, and a side does not differ from itself
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("start.json");
    seen.write(&file).unwrap();
    let mut real = Recording::read(&file).unwrap();
    assert_eq!(real, seen);
    assert_eq!(compare(&real, &seen), []);

    // measured.md: a machine that is applied together with its disks passes through ErrorUnschedulable on a real cluster
    let status = real.objects.get_mut("VirtualMachine").unwrap().get_mut("printableStatus").unwrap();
    let measured = ["Stopped", "ErrorUnschedulable", "WaitingForVolumeBinding", "Starting", "Running"];
    *status = measured.map(str::to_owned).to_vec();
    let differences = compare(&real, &seen);
    let told: Vec<_> = differences.iter().flat_map(|difference| &difference.what).collect();
    assert_eq!(told, ["the stand-ins lack `ErrorUnschedulable` after Stopped"], "{seen:?}");
}
