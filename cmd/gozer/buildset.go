package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api/term"
)

func buildsetCommand() *cobra.Command {
	var s serverFlags
	var slots int
	cmd := &cobra.Command{
		Use: "buildset BUILDSET", Short: "Draw a buildset in time: what ran when, and what each job waited for", GroupID: "use", Args: cobra.ExactArgs(1),
		Long: `Draws the jobs of a buildset as a chart, with what each waited for, the critical path and the time that no schedule
could have beaten. BUILDSET is its UUID, as the page and reports have it.

With --slots N, one that has ended is laid beside the simulation of the same jobs on N slots: whether the server
started them in as good an order as gozer deps simulate would.`,
		Example: "  gozer buildset 4f1c2a9b-...\n  gozer buildset 4f1c2a9b-... --slots 4",
	}
	f := format(cmd)
	s.add(cmd)
	cmd.Flags().IntVar(&slots, "slots", 0, "lay it beside the simulation with so many jobs at a time")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if slots < 0 {
			return errors.New("--slots: it takes one job at a time, or more")
		}
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		g, err := c.Graph(cmd.Context(), tenant, args[0])
		if err != nil {
			return err
		}
		if *f == "json" {
			return asJSON(cmd.OutOrStdout(), g)
		}
		if err := term.Buildset(cmd.OutOrStdout(), g, width()); err != nil || slots == 0 {
			return err
		}
		a, err := term.Agreement(g, slots)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "beside a simulation of %d at a time: %s\n", slots, a)
		return nil
	}
	return cmd
}
