//! What a machine has, by its own objects. Lenient: what is absent or of another type counts as not said.
//!
//! Sources: `kubevirt` 1.8 `core/v1/schema.go` (`MemoryStatus`, `CPUTopology`), `pkg/defaults/defaults.go`,
//! `pkg/virt-handler/vm.go` (`guestCurrent`), `core/v1/types.go` (annotations of instance types).

use serde_json::Value;
use vm::quantity::bytes;

/// The text there, or the empty text.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of the list there, or none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

/// The condition of this type if its status is `True`.
pub(crate) fn holds<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").find(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

/// Virtual CPUs of an instance: as plugged in now, else as it was made. KubeVirt counts what is not given as 1.
pub(crate) fn cpus(instance: &Value) -> u64 {
    let topology = ["/status/currentCPUTopology", "/spec/domain/cpu"]
        .into_iter()
        .filter_map(|pointer| instance.pointer(pointer))
        .find(|t| t.get("sockets").or_else(|| t.get("cores")).is_some());
    ["sockets", "cores", "threads"]
        .into_iter()
        .filter_map(|part| topology?.get(part)?.as_u64().filter(|n| *n > 0))
        .product()
}

/// Bytes of memory that the guest of an instance has: now, else at boot, else as it was made.
pub(crate) fn memory(instance: &Value) -> Option<u64> {
    [
        "/status/memory/guestCurrent",
        "/status/memory/guestAtBoot",
        "/spec/domain/memory/guest",
        "/spec/domain/resources/requests/memory",
    ]
    .into_iter()
    .find_map(|pointer| bytes(text(instance, pointer)))
}

/// The instance type that an instance was made with, or empty.
pub(crate) fn instance_type(instance: &Value) -> &str {
    ["kubevirt.io~1cluster-instancetype-name", "kubevirt.io~1instancetype-name"]
        .into_iter()
        .map(|key| text(instance, &format!("/metadata/annotations/{key}")))
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

/// The host name that an instance gives its guest (`pkg/util/net/dns/sanitize.go`: the name up to its first dot).
pub(crate) fn hostname(instance: &Value) -> &str {
    match text(instance, "/spec/hostname") {
        "" => text(instance, "/metadata/name").split('.').next().unwrap_or_default(),
        name => name,
    }
}

/// The claim that a machine (`/spec/template/spec`) or an instance (`/spec`) boots from, or empty: the lowest `bootOrder`, else
/// the first disk.
pub(crate) fn boot_claim<'a>(object: &'a Value, spec: &str) -> &'a str {
    let order = |disk: &&Value| disk.get("bootOrder").and_then(Value::as_u64).unwrap_or(u64::MAX);
    // min_by_key takes the first of equals
    let disk = list(object, &format!("{spec}/domain/devices/disks")).min_by_key(order);
    let volumes = || list(object, &format!("{spec}/volumes"));
    let volume = match disk.map(|d| text(d, "/name")) {
        Some(name) => volumes().find(|v| text(v, "/name") == name),
        // KubeVirt makes a disk for each volume that has none
        None => volumes().next(),
    };
    volume.map_or("", claim)
}

/// The claims of an instance (`/spec`).
pub(crate) fn mounted(instance: &Value) -> Vec<&str> {
    list(instance, "/spec/volumes").map(claim).filter(|c| !c.is_empty()).collect()
}

fn claim(volume: &Value) -> &str {
    match text(volume, "/persistentVolumeClaim/claimName") {
        "" => text(volume, "/dataVolume/name"),
        claim => claim,
    }
}

/// Networks with their addresses, `default(10.244.0.5)`, joined by commas.
pub(crate) fn networks(instance: &Value) -> String {
    let interface = |i: &Value| {
        let all: Vec<&str> = list(i, "/ipAddresses").filter_map(Value::as_str).collect();
        let addresses = if all.is_empty() { text(i, "/ipAddress").to_owned() } else { all.join(",") };
        format!("{}({addresses})", text(i, "/name"))
    };
    list(instance, "/status/interfaces").map(interface).collect::<Vec<_>>().join(",")
}

/// Failed starts in a row.
pub(crate) fn failed_starts(vm: &Value) -> u64 {
    vm.pointer("/status/startFailure/consecutiveFailCount").and_then(Value::as_u64).unwrap_or_default()
}

/// What is live was not built from what is declared, and will not be without a restart. KubeVirt 1.8 says `RestartRequired`
/// also of machines whose instance was built from the newest template (kubevirt#17610); what an instance type holds is not
/// in the template, so there its word stands.
pub(crate) fn restart_required(vm: &Value) -> Option<&str> {
    let generation = vm.pointer("/metadata/generation").and_then(Value::as_i64);
    let built = vm.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let typed = ["/spec/instancetype", "/spec/preference"]
        .into_iter()
        .any(|pointer| vm.pointer(pointer).is_some_and(|v| !v.is_null()));
    let newest = generation.is_some() && built == generation && !typed;
    holds(vm, "RestartRequired").filter(|_| !newest).map(|c| text(c, "/message"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{boot_claim, cpus, hostname, memory, networks};

    #[test]
    fn the_instances_own_hardware_counts_and_not_what_it_was_made_with() {
        let mut instance = json!({
            "spec": {"domain": {"cpu": {"sockets": 2, "cores": 1, "threads": 1}, "memory": {"guest": "1Gi"}}},
            "status": {"currentCPUTopology": {"sockets": 4, "cores": 2}, "memory": {"guestAtBoot": "1Gi", "guestCurrent": "2Gi"}}
        });
        assert_eq!((cpus(&instance), memory(&instance)), (8, Some(2 << 30)));
        instance["status"] = json!({});
        assert_eq!((cpus(&instance), memory(&instance)), (2, Some(1 << 30)));
        assert_eq!((cpus(&json!({})), memory(&json!({}))), (1, None));
    }

    #[test]
    fn the_boot_disk_is_the_first_by_order() {
        let mut spec = json!({"spec": {
            "domain": {"devices": {"disks": [{"name": "data"}, {"name": "root", "bootOrder": 1}, {"name": "two", "bootOrder": 2}]}},
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "d"}}, {"name": "root", "dataVolume": {"name": "r"}}]
        }});
        assert_eq!(boot_claim(&spec, "/spec"), "r");
        spec["spec"]["domain"]["devices"]["disks"][1] = json!({"name": "root"});
        spec["spec"]["domain"]["devices"]["disks"][2] = json!({"name": "two"});
        assert_eq!(boot_claim(&spec, "/spec"), "d");
        spec["spec"]["domain"] = json!({});
        assert_eq!(boot_claim(&spec, "/spec"), "d");
        spec["spec"]["volumes"][0] = json!({"name": "root", "containerDisk": {"image": "x"}});
        assert_eq!(boot_claim(&spec, "/spec"), "", "a container disk is no claim");
    }

    #[test]
    fn names_and_addresses_of_networks() {
        let instance = json!({"metadata": {"name": "web01.x"}, "status": {"interfaces": [
            {"name": "default", "ipAddress": "10.1.2.3", "ipAddresses": ["10.1.2.3", "fd00::1"]}, {"name": "lan", "ipAddress": "192.168.1.2"}, {"name": "off"}]}});
        assert_eq!(networks(&instance), "default(10.1.2.3,fd00::1),lan(192.168.1.2),off()");
        assert_eq!(hostname(&instance), "web01");
        assert_eq!(hostname(&json!({"metadata": {"name": "web01"}, "spec": {"hostname": "db"}})), "db");
    }
}
