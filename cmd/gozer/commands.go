package main

import "github.com/spf13/cobra"

// commands are the verbs, in the order of the help.
func commands() []*cobra.Command {
	return []*cobra.Command{
		demoCommand(), serverCommand(), keysCommand(), ansibleCommand(),
		configCommand(), secretCommand(), depsCommand(), conformanceCommand(), versionCommand(),
		changeCommand(), statusCommand(), logsCommand(),
	}
}
