package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/ansible"
)

func ansibleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ansible", Short: "Set up the versions of Ansible that jobs run with", GroupID: "server",
	}
	var dir string
	cmd.PersistentFlags().StringVar(&dir, "dir", defaultAnsibleDir(), "folder of the environments")
	cmd.AddCommand(ansibleInstall(&dir), ansibleList(&dir))
	return cmd
}

func ansibleInstall(dir *string) *cobra.Command {
	var with []string
	cmd := &cobra.Command{
		Use: "install [VERSION...]", Short: "Install versions (9 by default) into virtual environments",
		Long: `Makes a virtual environment for each version, with the pinned release of Ansible and its
collections, and runs it once. What is there already is left alone. Versions are those that jobs name
in ansible-version; several stand side by side.

Roles that run Python libraries on the executor (to upload logs to an object store, say) need them in
the environment: add them with --with.`,
		Example: "  gozer ansible install\n  gozer ansible install 8 9\n  gozer ansible install 9 --with openstacksdk --with boto3==1.35.0",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{ansible.DefaultVersion}
			}
			for _, v := range args { // all of them before the first takes a minute
				if _, err := ansible.ReleaseOf(v); err != nil {
					return err
				}
			}
			abs, err := filepath.Abs(*dir)
			if err != nil {
				return err
			}
			for _, v := range args {
				begun := time.Now()
				said := false
				e, err := ansible.Install(cmd.Context(), abs, v, with, func(s string) {
					said = true
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", v, s)
				})
				if err != nil {
					return err
				}
				if said {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: Ansible %s is ready in %s, after %s\n", v, e.Ansible, e.Dir, time.Since(begun).Round(time.Second))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&with, "with", nil, "a further Python package for the environments (repeat for more)")
	return cmd
}

func ansibleList(dir *string) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "list", Short: "List the versions that jobs can name, and which are installed", Args: cobra.NoArgs,
		Example: "  gozer ansible list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			abs, err := filepath.Abs(*dir)
			if err != nil {
				return err
			}
			list := []ansibleVersion{}
			for _, v := range ansible.Versions() {
				r, err := ansible.ReleaseOf(v)
				if err != nil {
					return err
				}
				row := ansibleVersion{Version: v, Ansible: r.Ansible, Core: r.Core, Default: v == ansible.DefaultVersion}
				if e, err := ansible.Find(abs, v); err == nil {
					row.Installed, row.Folder = true, e.Dir
				}
				list = append(list, row)
			}
			if format == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(list)
			}
			return showAnsible(cmd.OutOrStdout(), list)
		},
	}
	formats(cmd, &format, "text", "json")
	return cmd
}

type ansibleVersion struct {
	Version   string `json:"version"`
	Ansible   string `json:"ansible"`
	Core      string `json:"core"`
	Default   bool   `json:"default"`
	Installed bool   `json:"installed"`
	Folder    string `json:"folder,omitempty"`
}

func showAnsible(out io.Writer, list []ansibleVersion) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tANSIBLE\tANSIBLE-CORE\tINSTALLED")
	for _, v := range list {
		version, where := v.Version, v.Folder
		if v.Default {
			version += " (default)"
		}
		if !v.Installed {
			where = "no; gozer ansible install " + v.Version
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", version, v.Ansible, v.Core, where)
	}
	return w.Flush()
}
