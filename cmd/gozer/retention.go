package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/settings"
)

// forgetBatch is how many buildsets are forgotten in one transaction, so that those who write wait for no more.
const forgetBatch = 200

// forgotten counts what went of the history.
type forgotten struct{ buildsets, builds int }

// forget removes buildsets of which nothing happened since a moment, with their builds and the logs of those: logs
// first, so that nothing is left of which nobody knows.
func (p *process) forget(ctx context.Context, before time.Time, batch int, told func(forgotten)) (out forgotten, err error) {
	for {
		list, err := p.history.Ended(ctx, before, batch)
		if err != nil || len(list) == 0 {
			return out, err
		}
		for _, s := range list {
			for _, b := range s.Builds {
				if err := p.logs.Remove(ctx, b); err != nil {
					return out, fmt.Errorf("remove the log of build %s: %w", b, err)
				}
			}
		}
		if err := p.history.Forget(ctx, list); err != nil {
			return out, err
		}
		out.buildsets += len(list)
		for _, s := range list {
			out.builds += len(s.Builds)
		}
		if told != nil {
			told(out)
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(20 * time.Millisecond): // others write, too
		}
	}
}

// forgetHistory keeps the history as long as the settings say. One process of the installation does.
func (p *process) forgetHistory(ctx context.Context) error {
	keep := time.Duration(p.set.History.Keep)
	if keep == 0 {
		return nil
	}
	for {
		fence, mine, err := p.store.Own(ctx, p.session, "history/retention", p.id)
		if err == nil && mine {
			var out forgotten
			out, err = p.forget(ctx, time.Now().Add(-keep), forgetBatch, nil)
			if out.buildsets > 0 {
				p.log.Info("old history is removed", "buildsets", out.buildsets, "builds", out.builds)
			}
			err = errors.Join(err, p.store.Disown(ctx, fence))
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("old history cannot be removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(expireEvery):
		}
	}
}

func pruneCommand() *cobra.Command {
	var file, older, before string
	var batch int
	cmd := &cobra.Command{
		Use: "prune-database", Short: "Remove old buildsets, with their builds and logs, from the history", Args: cobra.NoArgs,
		Long: `Removes buildsets of which nothing happened since a moment, with their builds, artifacts and logs. Servers may go on
working. They do the same every hour where the configuration says history: {keep: 180d}.`,
		Example: "  gozer admin prune-database --config gozer.yaml --older-than 180d\n  gozer admin prune-database --config gozer.yaml --before 2026-01-01",
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := pruneBefore(older, before, time.Now())
			if err != nil {
				return err
			}
			return withProcess(file, func(p *process) error {
				ctx := cmd.Context()
				if err := errors.Join(p.openHistory(ctx), p.openLogs(ctx)); err != nil {
					return err
				}
				last := time.Now()
				out, err := p.forget(ctx, at, max(1, batch), func(f forgotten) {
					if time.Since(last) > 2*time.Second {
						last = time.Now()
						fmt.Fprintf(cmd.ErrOrStderr(), "%d buildsets so far\n", f.buildsets)
					}
				})
				fmt.Fprintf(cmd.OutOrStdout(), "removed, from before %s: %s, %s\n", at.UTC().Format("2006-01-02 15:04:05 UTC"), plural(out.buildsets, "buildset", "buildsets"), plural(out.builds, "build", "builds"))
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration of a server")
	cmd.Flags().StringVar(&older, "older-than", "", "how long ago the last thing happened: 180d, 36h")
	cmd.Flags().StringVar(&before, "before", "", "a day or a moment (UTC): 2026-01-31, 2026-01-31T12:00:00Z")
	cmd.Flags().IntVar(&batch, "batch-size", forgetBatch, "buildsets in one transaction")
	cmd.MarkFlagsMutuallyExclusive("older-than", "before")
	cmd.MarkFlagsOneRequired("older-than", "before")
	return cmd
}

// pruneBefore reads the moment before which history goes.
func pruneBefore(older, before string, now time.Time) (time.Time, error) {
	if older != "" {
		var age settings.Age
		if err := yaml.Unmarshal([]byte(older), &age); err != nil {
			return now, fmt.Errorf("--older-than: %q is no length of time such as 30d or 12h", older)
		}
		return now.Add(-time.Duration(age)), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, time.DateTime} {
		if t, err := time.ParseInLocation(layout, before, time.UTC); err == nil {
			return t, nil
		}
	}
	return now, fmt.Errorf("--before: %q is no day or moment such as 2026-01-31 or 2026-01-31T12:00:00Z", before)
}
