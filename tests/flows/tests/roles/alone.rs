//! Pipelines of one Task each, for what no shipped Pipeline does.

/// The Task of one step that has `via`, by the account that may use the verbs.
pub(crate) const API: &str = "\
apiVersion: tekton.dev/v1
kind: Pipeline
metadata:
  name: api
spec:
  displayName: Power
  description: By the verbs of KubeVirt
  params:
    - name: power
      description: What to do
    - name: vm
      description: The machine
  workspaces:
    - name: kubeconfig
      description: The cluster
      optional: true
  tasks:
    - name: power
      displayName: Power
      description: By the verbs of KubeVirt
      taskRef:
        name: stop-start-vm
      params:
        - name: power
          value: $(params.power)
        - name: via
          value: api
        - name: vm
          value: $(params.vm)
        - name: timeout
          value: 1m
      workspaces:
        - name: kubeconfig
          workspace: kubeconfig
";

/// The Task that looks at a machine, alone.
pub(crate) const VERIFY: &str = "\
apiVersion: tekton.dev/v1
kind: Pipeline
metadata:
  name: verify
spec:
  displayName: Check
  description: One machine
  params:
    - name: vm
      description: The machine
    - name: lease
      description: Its Lease
    - name: holder
      description: Whose
  workspaces:
    - name: kubeconfig
      description: The cluster
      optional: true
  tasks:
    - name: verify
      displayName: Check
      description: One machine
      taskRef:
        name: verify-vm
      params:
        - name: vm
          value: $(params.vm)
        - name: lease
          value: $(params.lease)
        - name: holder
          value: $(params.holder)
        - name: timeout
          value: 50s
      workspaces:
        - name: kubeconfig
          workspace: kubeconfig
";
