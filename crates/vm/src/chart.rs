//! The values of the chart that `render-vm --layout helm-values` gives a machine, and the objects that the chart prints of them.
//!
//! The objects stand whole under [`VIRTUAL_MACHINE`] and [`DATA_VOLUMES`]. What differs between environments is beside them,
//! [`RUN_STRATEGY`] and [`MEMORY`], so that a file of values needs no more than a line to set it.

use serde_json::{Map, Value, json};

use crate::layout::VALUES_FILE;
use crate::yaml;

/// Where the `VirtualMachine` stands, without what is beside it.
pub const VIRTUAL_MACHINE: &str = "virtualMachine";
/// Where the `DataVolumes` stand, each under its name.
pub const DATA_VOLUMES: &str = "dataVolumes";
/// The machine's `spec.runStrategy`.
pub const RUN_STRATEGY: &str = "runStrategy";
/// The machine's guest memory; absent where an instance type brings it.
pub const MEMORY: &str = "memory";

/// Where in a `VirtualMachine` the guest memory is.
const GUEST: [&str; 5] = ["spec", "template", "spec", "domain", "memory"];

/// Whether a file, by its path, is that of the values.
pub fn is_values(path: &str) -> bool {
    path.rsplit('/').next() == Some(VALUES_FILE)
}

/// The values of these objects: a `VirtualMachine` and its `DataVolumes`.
pub fn values(mut machine: Value, volumes: impl IntoIterator<Item = (String, Value)>) -> Value {
    let mut values = Map::new();
    let run_strategy =
        machine.get_mut("spec").and_then(|spec| spec.as_object_mut()?.shift_remove(RUN_STRATEGY));
    values.extend(run_strategy.map(|strategy| (RUN_STRATEGY.to_owned(), strategy)));
    values.extend(take_memory(&mut machine).map(|memory| (MEMORY.to_owned(), memory)));
    values.insert(VIRTUAL_MACHINE.to_owned(), machine);
    values.insert(DATA_VOLUMES.to_owned(), volumes.into_iter().collect());
    values.into()
}

fn take_memory(machine: &mut Value) -> Option<Value> {
    let domain = GUEST.iter().take(GUEST.len() - 1).try_fold(machine, |at, key| at.get_mut(*key))?;
    let memory = domain.get_mut(MEMORY)?.as_object_mut()?;
    let guest = memory.shift_remove("guest");
    if memory.is_empty() {
        domain.as_object_mut()?.shift_remove(MEMORY);
    }
    guest
}

/// The objects in a file of a machine's folder: its documents, or what the chart prints of its values.
pub fn objects(path: &str, bytes: &[u8]) -> Result<Vec<Value>, String> {
    let documents = yaml::documents(bytes)?;
    if !is_values(path) {
        return Ok(documents);
    }
    Ok(documents.iter().flat_map(printed).collect())
}

/// The paths of the objects in values; none of what is no values of the chart.
pub(crate) fn places(values: &Value) -> Vec<Vec<String>> {
    let machine = values.get(VIRTUAL_MACHINE).filter(|machine| machine.is_object());
    let machine = machine.map(|_| vec![VIRTUAL_MACHINE.to_owned()]);
    let volumes = values.get(DATA_VOLUMES).and_then(Value::as_object).into_iter().flatten();
    let volumes = volumes.map(|(name, _)| vec![DATA_VOLUMES.to_owned(), name.clone()]);
    machine.into_iter().chain(volumes).collect()
}

/// As the template of the chart does it.
fn printed(values: &Value) -> Vec<Value> {
    let mut machine = values.get(VIRTUAL_MACHINE).filter(|machine| machine.is_object()).cloned();
    if let Some(machine) = &mut machine {
        set(machine, values.get(RUN_STRATEGY), values.get(MEMORY));
    }
    let volumes = values.get(DATA_VOLUMES).and_then(Value::as_object).into_iter().flatten();
    machine.into_iter().chain(volumes.map(|(_, volume)| volume.clone())).collect()
}

/// Set what stands beside the machine in it, where it is given.
pub(crate) fn set(machine: &mut Value, run_strategy: Option<&Value>, memory: Option<&Value>) {
    let mut put = |place: &[&str], key: &str, value: &Value| {
        let mut at = &mut *machine;
        for step in place {
            let Some(map) = at.as_object_mut() else { return };
            at = map.entry(*step).or_insert_with(|| json!({}));
        }
        if let Some(map) = at.as_object_mut() {
            map.insert(key.to_owned(), value.clone());
        }
    };
    if let Some(strategy) = run_strategy {
        put(&["spec"], RUN_STRATEGY, strategy);
    }
    if let Some(memory) = memory {
        put(&GUEST, "guest", memory);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{objects, values};

    fn machine(memory: &serde_json::Value) -> serde_json::Value {
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "web"},
            "spec": {"runStrategy": "Always", "template": {"spec": {"domain": {"memory": memory, "devices": {}}}}},
        })
    }

    #[test]
    fn values_print_to_the_objects_that_they_were_made_of() {
        let volume = json!({"kind": "DataVolume", "metadata": {"name": "web-root-1"}});
        for memory in [json!({"guest": "4Gi"}), json!({"guest": "4Gi", "hugepages": {"pageSize": "2Mi"}})] {
            let values = values(machine(&memory), [("web-root-1".to_owned(), volume.clone())]);
            assert_eq!((&values["runStrategy"], &values["memory"]), (&json!("Always"), &json!("4Gi")));
            assert_eq!(values["virtualMachine"].pointer("/spec/runStrategy"), None);
            let text = crate::yaml::document(&values);
            assert_eq!(
                objects("a/values.yaml", text.as_bytes()).unwrap(),
                [machine(&memory), volume.clone()]
            );
            assert_eq!(objects("a/values-prod.yaml", text.as_bytes()).unwrap(), [values]);
        }
        let sized = json!({"kind": "VirtualMachine", "spec": {"runStrategy": "Halted", "instancetype": {"name": "u1"}}});
        assert_eq!(values(sized, [])["memory"], json!(null));
    }

    #[test]
    fn values_of_other_charts_print_nothing() {
        for text in ["image: {tag: v1}\n", "virtualMachine: web\ndataVolumes: []\n", "- a\n", ""] {
            assert_eq!(objects("a/values.yaml", text.as_bytes()), Ok(Vec::new()), "{text}");
        }
    }
}
