package main

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/gatetest"
	"github.com/gozer-ci/gozer/internal/gatetest/conformance"
)

func conformanceCommand() *cobra.Command {
	o := conformance.Options{}
	var filter string
	cmd := &cobra.Command{
		Use: "conformance DIR", Short: "Replay scenarios that were proven on a real Zuul", GroupID: "local", Args: cobra.ExactArgs(1),
		Example: "  gozer conformance ../shared/conformance\n  gozer conformance internal/gatetest/testdata --filter 'requirements-.*' --log",
		Long: `Replays the scenarios of a folder on the whole system in this process: configuration, scheduler, store, merger
and git are real; forges, executors and nodes are played as the scenarios say. Prints a line for each that
fails with its first difference, counts by area, and last "N passed, M failed". Exits with 1 where one fails
that is not excused.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Dir, o.Out = args[0], cmd.OutOrStdout()
			if filter != "" {
				re, err := regexp.Compile(filter)
				if err != nil {
					return fmt.Errorf("--filter: %w", err)
				}
				o.Filter = re
			}
			var err error
			if o.Excused, err = conformance.ReadExcused(gatetest.Excused); err != nil {
				return err
			}
			_, failed, err := conformance.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if failed > 0 {
				return exitError{code: exitNo}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&filter, "filter", "", "regular expression of names")
	cmd.Flags().StringVar(&o.Fixtures, "fixtures", "", "fixtures, where the folder has none")
	cmd.Flags().IntVar(&o.Workers, "workers", 2, "scenarios at once")
	formats(cmd, &o.Format, "text", "json")
	cmd.Flags().BoolVar(&o.Log, "log", false, "show what the system logged in those that fail")
	return cmd
}
