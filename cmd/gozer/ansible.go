package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/ansible"
)

func ansibleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ansible", Short: "Set up the versions of Ansible that jobs run with", GroupID: "server",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var dir string
	install := &cobra.Command{
		Use: "install [VERSION...]", Short: "Install versions (9 by default) into virtual environments",
		Long: `Makes a virtual environment with a pinned ansible-core for each version, and runs it once. What is
there already is left alone. A version is Zuul's word: 9 is ansible-core 2.16.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"9"}
			}
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			for _, v := range args {
				_, err := ansible.Install(cmd.Context(), abs, v, func(s string) { fmt.Fprintln(cmd.OutOrStdout(), s) })
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	install.Flags().StringVar(&dir, "dir", defaultAnsibleDir(), "folder of the environments")
	cmd.AddCommand(install)
	return cmd
}
