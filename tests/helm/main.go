// helm is Helm's own command. Tests render with it what `render-vm --layout helm-values` writes.
package main

import (
	"os"

	"helm.sh/helm/v4/pkg/cmd"
)

func main() {
	command, err := cmd.NewRootCmd(os.Stdout, os.Args[1:], cmd.SetupLogging)
	if err != nil || command.Execute() != nil {
		os.Exit(1)
	}
}
