package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/deps"
)

func racesCommand() *cobra.Command {
	var s serverFlags
	var format string
	cmd := &cobra.Command{
		Use: "races BUILDSET", Short: "Tell what jobs of a deployment touched without an order", Args: cobra.ExactArgs(1),
		Long: `Asks a server what the jobs of a finished buildset were seen to do, task by task, and tells each thing that two
of them touched, one to alter it, although neither dependencies nor semaphores say which goes first. It does
not matter how the times fell this once: at another time it may be the other way round.

Only buildsets of pipelines with "observe: true" in the tenant file are known. Exits with 1 where there is a race.`,
		Example: "  gozer deps races 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			r, err := c.Races(cmd.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			if format == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(r)
			} else {
				err = showRaces(cmd.OutOrStdout(), r)
			}
			if err == nil && len(r.Races) > 0 {
				return exitError{code: exitNo}
			}
			return err
		},
	}
	s.add(cmd)
	formats(cmd, &format, "text", "json")
	return cmd
}

func showRaces(w io.Writer, r *api.Races) error {
	var b strings.Builder
	for _, x := range r.Races {
		how := "one after the other, as it happened"
		if x.Overlapped {
			how = "at the same time"
		}
		if x.Idle {
			how += "; nothing was altered this time"
		}
		fmt.Fprintf(&b, "%s: %s and %s, %s\n", x.Resource, x.First.Job, x.Second.Job, how)
		for _, side := range []deps.RaceSide{x.First, x.Second} {
			fmt.Fprintf(&b, "  %s  %s: %s by task %q%s\n", side.Begin.Format("15:04:05.000"), side.Job, side.Verb, side.Task, within(side.Place))
		}
	}
	if len(r.Observed) == 0 {
		b.WriteString("No job of this buildset was observed. In the tenant file: deployment: {pipelines: [{name: ..., observe: true}]}\n")
		_, err := io.WriteString(w, b.String())
		return err
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(&b, "Not observed: %s\n", strings.Join(r.Missing, ", "))
	}
	fmt.Fprintf(&b, "%s in %s\n", plural(len(r.Races), "race", "races"), plural(len(r.Observed), "observed job", "observed jobs"))
	_, err := io.WriteString(w, b.String())
	return err
}

// view is where a project happened to lie: in a view (or a workspace), or in a folder that a job named by a commit.
var view = regexp.MustCompile(`^/.*/(src/[^/]+|[0-9a-f]{40})/`)

func within(place string) string {
	if place == "" {
		return ""
	}
	return " (" + view.ReplaceAllString(place, "") + ")"
}
