package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/deps/read"
	"github.com/gozer-ci/gozer/internal/deps/report"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/timeline"
)

// durationFlags say where durations come from.
type durationFlags struct {
	server  serverFlags
	ask     bool
	file    string
	sqlite  string
	project string
	fallen  time.Duration
}

func (f *durationFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "durations", "", "CSV file of jobs and durations (seconds, or like 4m20s)")
	cmd.Flags().StringVar(&f.sqlite, "history", "", "history of a server, which may be running: an SQLite file or a postgres:// URL; it is only read")
	cmd.Flags().BoolVar(&f.ask, "from-server", false, "ask a server for the last builds")
	cmd.Flags().StringVar(&f.project, "project", "", "canonical name of the project in --history")
	cmd.Flags().DurationVar(&f.fallen, "default", 5*time.Minute, "what a job takes of which nothing is known")
	f.server.add(cmd)
}

func (f *durationFlags) set() bool { return f.file != "" || f.sqlite != "" || f.ask }

// of reads the durations of the jobs of a pipeline: the median of the last successes.
func (f *durationFlags) of(cmd *cobra.Command, p *deps.Pipeline) (deps.Durations, error) {
	d := deps.Durations{Known: map[string]time.Duration{}, Default: f.fallen}
	switch {
	case f.file != "":
		in, err := os.Open(f.file)
		if err != nil {
			return d, err
		}
		defer in.Close()
		d.Source = "from " + filepath.Base(f.file)
		d.Known, err = read.Durations(in)
		return d, err
	case f.sqlite != "":
		return f.fromHistory(cmd.Context(), p, d)
	case f.ask:
		return f.fromServer(cmd, p, d)
	}
	return d, nil
}

func (f *durationFlags) fromHistory(ctx context.Context, p *deps.Pipeline, d deps.Durations) (deps.Durations, error) {
	if f.project == "" || f.server.tenant == "" {
		return d, errors.New("--history needs --tenant and --project, whose builds count")
	}
	db, err := history.OpenForReading(ctx, history.Config{URL: f.sqlite})
	if err != nil {
		return d, err
	}
	defer db.Close()
	found, err := db.Estimates(ctx, f.server.tenant, p.Name, f.project)
	if err != nil {
		return d, err
	}
	for name, e := range found {
		d.Known[name] = e.Median
	}
	d.Source = "medians of the last successes in the history"
	return d, nil
}

func (f *durationFlags) fromServer(cmd *cobra.Command, p *deps.Pipeline, d deps.Durations) (deps.Durations, error) {
	c, tenant, err := f.server.open(cmd)
	if err != nil {
		return d, err
	}
	builds, err := c.Builds(cmd.Context(), tenant, url.Values{"pipeline": {p.Name}, "result": {"SUCCESS"}, "limit": {"1000"}})
	if err != nil {
		return d, err
	}
	seen := map[string][]time.Duration{}
	for _, b := range slices.Backward(builds) {
		if b.Duration != nil && *b.Duration > 0 {
			seen[b.JobName] = append(seen[b.JobName], time.Duration(*b.Duration*float64(time.Second)))
		}
	}
	for name, list := range seen {
		d.Known[name] = timeline.Durations(list).Typical
	}
	d.Source = fmt.Sprintf("medians of the last successes on %s", f.server.url)
	return d, nil
}

func simulateCommand() *cobra.Command {
	var c contentFlags
	var d durationFlags
	var o deps.SimulateOptions
	var pipeline, change, format, svg string
	cmd := &cobra.Command{
		Use: "simulate [PATH]", Short: "Say how long a pipeline takes with more jobs at a time, and what would help", Args: cobra.MaximumNArgs(1),
		Example: "  gozer deps simulate --pipeline deploy --durations took.csv\n  gozer deps simulate --from-server --slots 1,4 --svg deploy.svg",
		Long: `Carries a pipeline out on paper, longest remaining path first, as the scheduler does: for 1, 2, 4, 8 and 16
jobs at a time the makespan, the time that no schedule can beat, their ratio, and what stands in the way; then
what each suggested change would gain.

Durations are those of a history (--from-server, --history), of a CSV file (--durations), or the same for all
(--default).`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.open(cmd, at(args, 0))
			if err != nil {
				return err
			}
			list, err := pipelines(a, pipeline)
			if err != nil {
				return err
			}
			if change != "" {
				files, err := read.Changed(cmd.Context(), at(args, 0), change)
				if err != nil {
					return err
				}
				o.Want = func(job string) bool { j := a.Job(job); return j == nil || j.Triggered(files) }
			}
			var all []*deps.Simulation
			for i, p := range list {
				if o.Durations, err = d.of(cmd, p); err != nil {
					return err
				}
				s, err := a.Simulate(p, o)
				if err != nil {
					return err
				}
				all = append(all, s)
				if format == "text" {
					if i > 0 {
						fmt.Fprintln(cmd.OutOrStdout())
					}
					if err := report.Simulation(cmd.OutOrStdout(), s, o.At, max(width(), 80)); err != nil {
						return err
					}
				}
				if svg != "" {
					if err := chart(s, svgName(svg, p.Name, len(list)), o.At); err != nil {
						return err
					}
				}
			}
			if format == "json" {
				return report.JSON(cmd.OutOrStdout(), all)
			}
			return nil
		},
	}
	c.add(cmd)
	d.add(cmd)
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "only this pipeline (all that deploy)")
	cmd.Flags().StringVar(&change, "change", "", "only the jobs that this revision, or range of them, triggers")
	cmd.Flags().IntSliceVar(&o.Slots, "slots", []int{1, 2, 4, 8, 16}, "how many jobs at a time")
	cmd.Flags().IntVar(&o.At, "at", 4, "slots of the chart and of what is gained")
	cmd.Flags().StringVar(&svg, "svg", "", "write the chart as SVG to this file (with the pipeline in its name, where there are several)")
	formats(cmd, &format, "text", "json")
	return cmd
}

func svgName(file, pipeline string, n int) string {
	if n == 1 {
		return file
	}
	ext := filepath.Ext(file)
	return strings.TrimSuffix(file, ext) + "-" + pipeline + ext
}

func chart(s *deps.Simulation, file string, slots int) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(timeline.SVG(io.Writer(out), s.Chart, fmt.Sprintf("%s with %d jobs at a time", s.Pipeline, slots)), out.Close())
}
