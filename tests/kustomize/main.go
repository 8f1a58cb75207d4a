// kustomize is Kustomize's own command, as Argo CD runs it. Tests build what `render-vm --layout kustomize` writes with it.
package main

import (
	"os"

	"sigs.k8s.io/kustomize/kustomize/v5/commands"
)

func main() {
	if commands.NewDefaultCommand().Execute() != nil {
		os.Exit(1)
	}
}
