//! What a machine has, and what it lacks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::bed::Bed;
use crate::{begin, verify};

/// A server that says this to each who comes; its port.
async fn says(words: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // who came may have gone already
            let _ = stream.write_all(words.as_bytes()).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_asked_for_holds() {
    let bed = Bed::new("vv-good").await;
    bed.runs().await;
    let (ssh, http) = (says("SSH-2.0-OpenSSH_9.9\r\n").await, says("HTTP/1.1 204 No Content\r\n\r\n").await);
    let report = tempfile::tempdir().unwrap();
    let path = report.path().join("report.json");
    let ended = verify(
        &bed,
        &[
            "--expect-cpu=2",
            "--expect-memory=2Gi",
            "--expect-boot-claim=web01-root",
            "--expect-claims=web01-data",
            "--expect-node=node1",
            "--expect-hostname=web01",
            &format!("--require-ssh-port={ssh}"),
            &format!("--require-tcp-port={ssh}"),
            &format!("--require-http=/healthz:{http}"),
            &format!("--report={}", path.display()),
            "--stable-for=2s",
        ],
    )
    .await;
    ended.is(0, "done: virtual machine `vv-good/web01` passes all checks (13/13) on node `node1`, for 2s");
    let results = ["outcome", "changed", "vm-status", "node", "ip", "reason", "restarts", "checks"]
        .map(|r| ended.result(r));
    assert_eq!(results, ["ok", "false", "Running", "node1", "127.0.0.1", "", "0", "13/13"]);
    let [head, row] = ended.output.lines().collect::<Vec<_>>()[..] else { panic!("{}", ended.output) };
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        ["NAME", "STATUS", "RESTARTS", "AGE", "NODE", "NETWORKS(IP)"]
    );
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        [row[0], row[1], row[2], row[4], row[5]],
        ["web01", "Running", "0", "node1", "default(127.0.0.1)"]
    );
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(
        [&report["cpu"], &report["memory"], &report["outcome"]],
        [&json!(2), &json!(2_147_483_648_u64), &json!("ok")]
    );
    let names: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "ready",
            "cpu",
            "memory",
            "node",
            "boot-claim",
            "claims",
            "hostname",
            "ip",
            "disk web01-data",
            "disk web01-root",
            "tcp-port",
            "ssh-port",
            "http"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_10_running_on_the_old_hardware_is_found_out_at_once_with_all_else_that_is_wrong() {
    let bed = Bed::new("vv-old").await;
    bed.runs().await;
    let change = json!({"spec": {"template": {"spec": {"domain": {"cpu": {"sockets": 4}, "memory": {"guest": "4Gi"}}}}}});
    bed.merge(&bed.vm_path(), change).await;
    let generation = bed.get(&bed.vm_path()).await["metadata"]["generation"].clone();
    let words = "a non-live-updatable field was changed in the template spec";
    bed.status(&bed.vm_path(), json!({"desiredGeneration": generation, "conditions": [
        {"type": "Ready", "status": "True"}, {"type": "RestartRequired", "status": "True", "message": words}]}))
        .await;
    let began = Instant::now();
    let ended = verify(
        &bed,
        &["--expect-cpu=4", "--expect-memory=4Gi", "--require-guest-agent", "--output=none", "--timeout=5m"],
    )
    .await;
    ended.is(
        40,
        "error: virtual machine `vv-old/web01` still runs what was declared before and has to be restarted: \
         a non-live-updatable field was changed in the template spec (2/6 checks hold)",
    );
    assert_eq!(
        ended.log[..4],
        [
            "ready: RestartRequired still runs what was declared before and has to be restarted: a non-live-updatable field was changed in the template spec",
            "cpu: RestartRequired still runs with cpu `2` (want `4`) and has to be restarted: a non-live-updatable field was changed in the template spec",
            "memory: RestartRequired still runs with memory `2Gi` (want `4Gi`) and has to be restarted: a non-live-updatable field was changed in the template spec",
            "guest-agent: GuestAgent has no guest agent that answers",
        ]
    );
    assert_eq!(
        [ended.result("reason"), ended.result("checks"), ended.output.clone()],
        ["RestartRequired", "2/6", ""]
    );
    assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn point_10_running_and_synced_is_not_the_boot_disk_that_was_wanted() {
    let bed = Bed::new("vv-boot").await;
    bed.runs().await;
    verify(&bed, &["--expect-boot-claim=web01-root-2", "--expect-claims=web01-data,web01-logs"]).await.is(
        40,
        "error: virtual machine `vv-boot/web01` boots from claim `web01-root` (want `web01-root-2`) (3/5 checks hold)",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_14_what_may_come_true_is_waited_for() {
    let bed = Bed::new("vv-late").await;
    bed.runs().await;
    let run = begin(&bed, &["--require-guest-agent", "--expect-memory=3Gi", "--timeout=60s"]);
    // memory is plugged in while the machine runs: not there yet, and no word of a restart
    run.says("waiting for memory: has memory `2Gi` (want `3Gi`)").await;
    bed.status(
        &bed.vmi_path(),
        json!({
            "memory": {"guestCurrent": "3Gi"},
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "AgentConnected", "status": "True"}]
        }),
    )
    .await;
    let ended = run.end().await;
    ended.is(0, "done: virtual machine `vv-late/web01` passes all checks (5/5) on node `node1`");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_14_a_wait_that_ends_says_what_it_last_saw() {
    let bed = Bed::new("vv-port").await;
    bed.runs().await;
    let (mail, web) =
        (says("220 mail ESMTP\r\n").await, says("HTTP/1.1 503 Service Unavailable\r\n\r\n").await);
    let (ssh, http) = (format!("--require-ssh-port={mail}"), format!("--require-http=/:{web}"));
    let ended = verify(&bed, &[&ssh, &http, "--timeout=4s"]).await;
    ended.is(60, &format!(
        "error: after 4s: virtual machine `vv-port/web01` does not answer as wanted: the SSH server on port {mail}: does not greet as an \
         SSH server does: `220 mail ESMTP` (4/6 checks hold)"));
    assert!(
        ended.log.contains(&format!(
            "http: Http does not answer as wanted: the web server at `/:{web}`: answers with status 503"
        )),
        "{:#?}",
        ended.log
    );
    assert_eq!(
        [ended.result("outcome"), ended.result("reason"), ended.result("checks")],
        ["timeout", "SshPort", "4/6"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_10_another_instance_while_it_should_be_stable_is_a_restart() {
    let bed = Bed::new("vv-stable").await;
    bed.runs().await;
    let run = begin(&bed, &["--stable-for=1m", "--timeout=5m", "--output=none"]);
    let uid = bed.get(&bed.vmi_path()).await["metadata"]["uid"].clone();
    run.says("all checks hold; now for 1m").await;
    bed.delete(&bed.vmi_path()).await;
    bed.instance().await;
    assert_ne!(bed.get(&bed.vmi_path()).await["metadata"]["uid"], uid);
    let ended = run.end().await;
    assert_eq!(ended.code, Some(40), "{:#?}", ended.log);
    let last = ended.last();
    assert!(
        last.starts_with("error: virtual machine `vv-stable/web01` was restarted, ")
            && last.ends_with("s after all checks held (3/4 checks hold)"),
        "{last}"
    );
    assert_eq!([ended.result("restarts"), ended.result("reason")], ["1", "Restarted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_11_of_a_stopped_machine_the_disks_are_verified() {
    let bed = Bed::new("vv-stopped").await;
    bed.machine("Halted").await;
    // storage that waits for the first pod: a machine that is off is none
    bed.volume("web01-data", "PendingPopulation").await;
    bed.status(&bed.claim_path("web01-data"), json!({"phase": "Pending", "capacity": null})).await;
    let flags = [
        "--until=stopped",
        "--expect-cpu=8",
        "--require-ip",
        "--expect-boot-claim=web01-root",
        "--timeout=1m",
    ];
    let ended = verify(&bed, &flags).await;
    ended.is(0, "done: virtual machine `vv-stopped/web01` passes all checks (4/4)");
    let results = ["vm-status", "node", "ip", "checks"].map(|r| ended.result(r));
    assert_eq!(results, ["Stopped", "", "", "4/4"]);
    assert!(ended.output.contains("web01   Stopped   0 "), "{}", ended.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_request_asks_for_is_expected() {
    let bed = Bed::new("vv-request").await;
    bed.runs().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("request.json");
    let request = |name: &str| {
        json!({
            "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
            "metadata": {"requestId": "r-1", "requestedBy": "jane"},
            "spec": {
                "operation": "resize", "target": {"name": name, "namespace": "vv-request", "cluster": "in-cluster"},
                "operationSpec": {"compute": {"cpu": 2, "memory": "4Gi"}}, "checks": {"ip": true}
            }
        })
        .to_string()
    };
    let flag = format!("--request-file={}", file.display());
    std::fs::write(&file, request("web01")).unwrap();
    verify(&bed, &[&flag, "--timeout=3s"]).await.is(
        60,
        "error: after 3s: virtual machine `vv-request/web01` has memory `2Gi` (want `4Gi`) (5/6 checks hold)",
    );
    // a flag says otherwise
    verify(&bed, &[&flag, "--expect-memory=2Gi", "--timeout=30s"])
        .await
        .is(0, "done: virtual machine `vv-request/web01` passes all checks (6/6) on node `node1`");
    std::fs::write(&file, request("db01")).unwrap();
    verify(&bed, &[&flag]).await.is(
        2,
        &format!("error: cannot use request file `{}`: it is about `vv-request/db01`, not about `vv-request/web01`", file.display()),
    );
}
