package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
	terminal "github.com/gozer-ci/gozer/internal/api/term"
)

func explainCommand() *cobra.Command {
	var s serverFlags
	var job string
	cmd := &cobra.Command{
		Use: "explain CHANGE|REF|ITEM|BUILD", Short: "Say why a change, each of its jobs, or a build is where it is", GroupID: "use", Args: cobra.ExactArgs(1),
		Long: `One sentence for the change in every pipeline that has it, one for each of its jobs, for the jobs that do not
run for it, and for the pipelines that do not have it. CHANGE is a number, with or without patch set.

BUILD is the UUID of a build that has ended: the task that failed, the host, the last lines, and whether the
failure is new.

Exit code 1: no pipeline knows of it, or the job is not among those of the change.`,
		Example: "  gozer explain 12\n  gozer explain 12,3 --job deploy\n  gozer explain refs/heads/main --format json",
	}
	f := format(cmd)
	s.add(cmd)
	cmd.Flags().StringVarP(&job, "job", "j", "", "only this job")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		if uuid.Validate(args[0]) == nil {
			b, err := c.ExplainBuild(cmd.Context(), tenant, args[0])
			if err == nil {
				return showVerdict(cmd.OutOrStdout(), b, *f)
			}
			if none := new(api.Error); !errors.As(err, &none) || none.Code != 404 {
				return err
			} // it may be an item
		}
		e, err := c.Explain(cmd.Context(), tenant, args[0])
		if none := new(api.Error); errors.As(err, &none) && none.Code == 404 {
			return exitError{exitNo, none.Description}
		}
		if err != nil {
			return err
		}
		if job != "" && !only(e, job) {
			return exitError{exitNo, fmt.Sprintf("%s has no job %s in any pipeline", args[0], job)}
		}
		if *f == "json" {
			return asJSON(cmd.OutOrStdout(), e)
		}
		showExplained(cmd.OutOrStdout(), e)
		return nil
	}
	return cmd
}

// only keeps one job; false: there is none of that name.
func only(e *api.Explained, job string) (found bool) {
	keep := func(list []api.ExplainedJob) (out []api.ExplainedJob) {
		for _, j := range list {
			if j.Name == job {
				out = append(out, j)
				found = true
			}
		}
		return out
	}
	for i := range e.Items {
		e.Items[i].Jobs, e.Items[i].LeftOut = keep(e.Items[i].Jobs), keep(e.Items[i].LeftOut)
	}
	e.Elsewhere = nil
	return found
}

func showExplained(w io.Writer, e *api.Explained) {
	for i, it := range e.Items {
		if i > 0 {
			fmt.Fprintln(w)
		}
		var names []string
		for _, r := range it.Refs {
			names = append(names, strings.TrimSpace(r.Project+" "+r.ID+" "+r.Title))
		}
		fmt.Fprintf(w, "%s: %s\n  %s\n", it.Pipeline, strings.Join(names, " + "), it.Why)
		width := 0
		for _, j := range append(append([]api.ExplainedJob{}, it.Jobs...), it.LeftOut...) {
			width = max(width, len(j.Name))
		}
		for _, j := range it.Jobs {
			fmt.Fprintf(w, "  %-10s %-*s  %s\n", terminal.Mark(j.State), width, j.Name, j.Why)
		}
		for _, j := range it.LeftOut {
			fmt.Fprintf(w, "  %-10s %-*s  %s\n", "- left out", width, j.Name, j.Why)
		}
	}
	if len(e.Elsewhere) > 0 && len(e.Items) > 0 {
		fmt.Fprintln(w)
	}
	for _, x := range e.Elsewhere {
		fmt.Fprintf(w, "%s: not there. %s\n", x.Pipeline, x.Why)
	}
}
