//! What belongs to no namespace, and what KubeVirt tells of a guest that runs.

use http::Request;
use serde_json::Value;

use crate::client::Cluster;
use crate::error::Error;
use crate::object::{Kind, Name, Object};

impl Cluster {
    /// An object of a kind that has no namespaces, such as a `StorageClass`, or none if it is not there.
    pub async fn get_wide(&self, kind: Kind, name: &str) -> Result<Option<Value>, Error> {
        // a name that no object can have is the name of none
        if format!("x/{name}").parse::<Name>().is_err() {
            return Ok(None);
        }
        match self.send(Request::get(format!("{}/{}/{name}", kind.root(), kind.plural)), Vec::new()).await {
            Ok(object) => Ok(Some(object)),
            Err(refused) if refused.absent => Ok(None),
            Err(refused) => Err(refused.error),
        }
    }

    /// What the guest agent of a running instance tells: `hostname`, `os`, `timezone` and more
    /// (`VirtualMachineInstanceGuestAgentInfo`). KubeVirt refuses while no agent is connected.
    pub async fn guest_info(&self, instance: &Object) -> Result<Value, Error> {
        let uri = format!(
            "/apis/subresources.kubevirt.io/v1/namespaces/{}/{}/{}/guestosinfo",
            instance.name.namespace(),
            instance.kind.plural,
            instance.name.name(),
        );
        self.send(Request::get(uri), Vec::new()).await.map_err(|refused| refused.error)
    }
}
