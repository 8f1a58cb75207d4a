//! Few rights are enough, and each is needed.

use serde_json::{Value, json};

use crate::bed::{Bed, Ended, Run};

/// What the program does, and nothing else.
fn rules() -> Value {
    json!([
        {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get", "watch"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]},
        {"apiGroups": ["cdi.kubevirt.io"], "resources": ["datavolumes"], "verbs": ["get"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
    ])
}

async fn run(bed: &Bed, rules: Value) -> Ended {
    let kubeconfig = bed.account("verify", rules).await;
    let vm = format!("--vm={}/web01", bed.namespace);
    let lease = format!("--lease={}/in-cluster.{}.web01", bed.namespace, bed.namespace);
    let flags = [vm.as_str(), &lease, "--holder=r-1", "--timeout=60s", "--expect-cpu=2"];
    Run::begin(env!("CARGO_BIN_EXE_verify-vm"), &kubeconfig, &flags).end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rights_are_enough_and_a_missing_one_is_named() {
    let bed = Bed::new("vv-rights").await;
    bed.runs().await;
    run(&bed, rules())
        .await
        .is(0, "done: virtual machine `vv-rights/web01` passes all checks (4/4) on node `node1`");
    let mut fewer = rules();
    fewer[1]["verbs"] = json!(["list"]);
    run(&bed, fewer).await.is(
        30,
        "error: cannot read virtual machine `vv-rights/web01`: persistentvolumeclaims \"web01-data\" is forbidden: User \
         \"system:serviceaccount:vv-rights:verify\" cannot get resource \"persistentvolumeclaims\" in API group \"\" in the namespace \
         \"vv-rights\"",
    );
}
