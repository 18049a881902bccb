package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
)

func buildCommand() *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{
		Use: "build BUILD", Short: "Show a finished build: what failed, where, and whether that is new", GroupID: "use", Args: cobra.ExactArgs(1),
		Long:    "BUILD is a build's UUID, or its beginning, or the name of a job: its newest build.",
		Example: "  gozer build unit\n  gozer build 4f1c2a9b --format json",
	}
	f := format(cmd)
	s.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		id, err := findBuild(cmd.Context(), c, tenant, args[0])
		if err != nil {
			return err
		}
		b, err := c.ExplainBuild(cmd.Context(), tenant, id)
		if err != nil {
			return err
		}
		return showVerdict(cmd.OutOrStdout(), b, *f)
	}
	return cmd
}

func showVerdict(w io.Writer, e *api.ExplainedBuild, format string) error {
	if format == "json" {
		return asJSON(w, e)
	}
	b := &e.Build
	about := b.Ref.Project
	if b.Ref.Change != nil {
		about += " " + *b.Ref.Change + "," + *b.Ref.Patchset
	} else {
		about += " " + b.Ref.Ref
	}
	took := ""
	if b.Duration != nil {
		took = " after " + brief(time.Duration(*b.Duration*float64(time.Second)))
	}
	fmt.Fprintf(w, "%s: %s%s\n  %s in pipeline %s, build %s\n", b.JobName, b.Result, took, about, b.Pipeline, b.UUID)
	if f := e.Failure; f != nil {
		where := fmt.Sprintf("\nTask %q", f.Task)
		if f.Playbook != "" && f.Playbook != f.Task {
			where += " of " + f.Playbook
		}
		if f.Host != "" {
			where += " failed on " + f.Host
		} else {
			where += " failed"
		}
		fmt.Fprintf(w, "%s, at line %d of the log:\n", where, f.Line+1)
		for _, l := range f.Lines {
			fmt.Fprintf(w, "  %s\n", l)
		}
	} else if e.Detail != "" {
		fmt.Fprintf(w, "\n%s\n", e.Detail)
	}
	if e.Novelty != "" {
		fmt.Fprintf(w, "\n%s\n", e.Novelty)
		hints := []string{"gozer logs " + b.UUID}
		if e.Failure != nil {
			hints[0] += fmt.Sprintf(" --task %q", e.Failure.Task)
		}
		if slices.Contains([]string{"FAILURE", "POST_FAILURE", "RETRY_LIMIT", "TIMED_OUT"}, b.Result) {
			hints = append(hints, "gozer run --build "+b.UUID+" --keep-failed")
		}
		fmt.Fprintf(w, "\nGo on with:\n  %s\n", strings.Join(hints, "\n  "))
	}
	return nil
}
