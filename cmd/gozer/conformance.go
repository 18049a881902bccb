package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/gatetest"
	"github.com/gozer-ci/gozer/internal/gatetest/conformance"
)

// conformanceCommand replays scenarios; it fails if one does that is not excused.
func conformanceCommand() *cobra.Command {
	var o conformance.Options
	var filter string
	cmd := &cobra.Command{
		Use: "conformance DIR", Short: "Replay scenarios that were proven on a real Zuul", GroupID: "local", Args: cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			o.Dir, o.Out = args[0], cmd.OutOrStdout()
			if filter != "" {
				if o.Filter, err = regexp.Compile(filter); err != nil {
					return fmt.Errorf("--filter: %w", err)
				}
			}
			if o.Format != "text" && o.Format != "json" {
				return fmt.Errorf("--format is text or json, not %q", o.Format)
			}
			if o.Excused, err = conformance.ReadExcused(gatetest.Excused); err != nil {
				return fmt.Errorf("excused.txt: %w", err)
			}
			if o.Fixtures == "" {
				o.Fixtures = filepath.Join("..", "shared", "conformance", "fixtures")
			}
			_, failed, err := conformance.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if failed > 0 {
				return exitError{exitNo}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&filter, "filter", "", "a regular expression for the names of the scenarios")
	f.StringVar(&o.Fixtures, "fixtures", "", "the folder of fixtures, where none is beside the scenarios")
	f.StringVar(&o.Format, "format", "text", strings.Join([]string{"text", "json"}, " or "))
	f.IntVar(&o.Workers, "workers", 2, "how many run at once")
	f.BoolVar(&o.Log, "log", os.Getenv("GOZER_LOG") != "", "show the system's log of those that fail")
	return cmd
}
