package main

import "github.com/spf13/cobra"

// commands are the verbs; the help sorts them.
func commands() []*cobra.Command {
	out := []*cobra.Command{
		demoCommand(), serverCommand(), executorCommand(), clusterCommand(), adminCommand(), keysCommand(), ansibleCommand(),
		configCommand(), secretCommand(), depsCommand(), conformanceCommand(), versionCommand(),
		changeCommand(), statusCommand(), explainCommand(), buildCommand(), buildsetCommand(), logsCommand(),
		nodesCommand(), locksCommand(), runCommand(), runNodesCommand(),
	}
	out = append(out, operateCommands()...)
	return append(out, autoholdCommands()...)
}
