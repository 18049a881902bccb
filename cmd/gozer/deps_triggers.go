package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/deps/read"
	"github.com/gozer-ci/gozer/internal/deps/report"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// patch is a difference that git apply takes.
func patch(file, before, after string) string {
	text := diff.Diff("a/"+file, []byte(before), "b/"+file, []byte(after))
	_, body, _ := bytes.Cut(text, []byte("\n")) // its first line is a command
	if before == "" {
		_, rest, _ := strings.Cut(string(body), "\n")
		return "diff --git a/" + file + " b/" + file + "\nnew file mode 100644\n--- /dev/null\n" + rest
	}
	return "diff --git a/" + file + " b/" + file + "\n" + string(body)
}

func triggersCommand() *cobra.Command {
	var c contentFlags
	var pipeline, since, format string
	var limit int
	var suggest, all bool
	cmd := &cobra.Command{
		Use: "triggers [PATH]", Short: "Replay the history: which jobs each change needed, ran for nothing, missed", Args: cobra.MaximumNArgs(1),
		Example: "  gozer deps triggers --since v1.0 --suggest",
		Long: `Goes through the last commits and compares the jobs that the matchers of files trigger with those of which an
input had changed: playbooks, roles, files, templates, the inventory, and of group_vars and host_vars the keys
that the job uses. Old commits are judged by what the jobs read today.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.open(cmd, at(args, 0))
			if err != nil {
				return err
			}
			commits, err := read.History(cmd.Context(), at(args, 0), since, limit)
			if err != nil {
				return err
			}
			if len(commits) < limit && since == "" && read.Shallow(cmd.Context(), at(args, 0)) {
				fmt.Fprintln(cmd.ErrOrStderr(), "this clone has only the end of the history: git fetch --unshallow brings the rest")
			}
			list, err := pipelines(a, pipeline)
			if err != nil {
				return err
			}
			var out []*report.Triggers
			for _, p := range list {
				out = append(out, report.Replay(a, p, commits))
			}
			if format == "json" {
				return report.JSON(cmd.OutOrStdout(), out)
			}
			for i, t := range out {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := t.Text(cmd.OutOrStdout(), suggest, all); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.add(cmd)
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "only this pipeline (all that deploy)")
	cmd.Flags().StringVar(&since, "since", "", "only commits after this revision")
	cmd.Flags().IntVarP(&limit, "commits", "n", 500, "so many commits at most")
	cmd.Flags().BoolVar(&suggest, "suggest", false, "print the files that each job's matchers should have")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show every commit")
	formats(cmd, &format, "text", "json")
	return cmd
}
