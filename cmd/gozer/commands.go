package main

import "github.com/spf13/cobra"

// commands are the verbs, in the order of the help.
func commands() []*cobra.Command {
	return []*cobra.Command{demoCommand(), serverCommand(), ansibleCommand(), configCommand(), depsCommand(), changeCommand(), statusCommand(), logsCommand(), conformanceCommand(), versionCommand()}
}
