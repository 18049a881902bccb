package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/store"
)

func adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "admin", Short: "Back up, restore and check the store; prune the history; let people in", GroupID: "server",
		Long: `Works on the store itself, as the configuration names it, while servers run or not. The etcd inside a server that has
no client address (store: {member: {clients: ...}}) is reached on the machine and by the user that the server runs on
and as; of one that does not run, the files are opened.`,
	}
	cmd.AddCommand(backupCommand(), restoreCommand(), adminCheckCommand(), pruneCommand(), tokenCommand())
	return cmd
}

var errNoConfig = errors.New("name the configuration with --config FILE")

// withProcess reads a configuration for a process without roles: fn opens of it what it needs.
func withProcess(file string, fn func(*process) error) error {
	if file == "" {
		return errNoConfig
	}
	set, err := settings.Read(file)
	if err != nil {
		return err
	}
	p := &process{set: set, id: newProcessID(), log: slog.New(slog.DiscardHandler)}
	defer p.close()
	return fn(p)
}

// withStore opens the store of a configuration, and nothing else.
func withStore(ctx context.Context, file string, fn func(*store.Store) error) error {
	return withProcess(file, func(p *process) error {
		if err := p.reachStore(ctx); err != nil {
			return err
		}
		return fn(p.store)
	})
}

func backupCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write the whole store, as it is at one moment, to a file", Args: cobra.ExactArgs(1),
		Long: `Writes everything that is in the store at one revision, the keys of projects included, so keep the file as you keep
keys. Servers may go on working. The history is SQL and is backed up with its own tools (pg_dump; sqlite3
FILE .backup), logs and artefacts with those of their blob store.`,
		Example: "  gozer admin backup --config gozer.yaml gozer-$(date +%F).backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd.Context(), file, func(s *store.Store) (err error) {
				// Beside it first, so that there is a whole file or none.
				out, err := os.CreateTemp(filepath.Dir(args[0]), filepath.Base(args[0])+".*")
				if err != nil {
					return err
				}
				defer func() {
					if err != nil {
						err = errors.Join(err, os.Remove(out.Name()))
					}
				}()
				n, err := s.Dump(cmd.Context(), out)
				if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
					return fmt.Errorf("back up the store: %w", err)
				}
				if err := os.Rename(out.Name(), args[0]); err != nil {
					return err
				}
				info, err := os.Stat(args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d records, %d KiB in %s\n", n, info.Size()>>10, args[0])
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration of a server")
	return cmd
}

func restoreCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Fill an empty store from a backup", Args: cobra.ExactArgs(1),
		Long: `Fills the store of the configuration, which must be empty (a new data folder, a new cluster), while no server runs
on it. What was under way at the time of the backup goes on from there: builds that ran then are run again.`,
		Example: "  gozer admin restore --config gozer.yaml gozer-2026-11-25.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			return withStore(cmd.Context(), file, func(s *store.Store) error {
				n, err := s.Restore(cmd.Context(), in)
				if errors.Is(err, store.ErrNotEmpty) {
					return fmt.Errorf("restore %s: %w; name a configuration with another data folder or cluster", args[0], err)
				}
				if err != nil {
					return fmt.Errorf("restore %s: %w", args[0], err)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d records restored\n", n)
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration of a server")
	return cmd
}

func adminCheckCommand() *cobra.Command {
	var file, format string
	var repair bool
	cmd := &cobra.Command{
		Use: "check", Short: "Find leaked locks and orphaned records, and mend them on request", Args: cobra.NoArgs,
		Example: "  gozer admin check --config gozer.yaml\n  gozer admin check --config gozer.yaml --repair",
		Long: `Looks for semaphores and nodes that nobody uses, requests whose outcome nobody waits for, claims without owner,
words to nobody, layouts that are missing or that nothing refers to, records that cannot be read, and inputs that were
set aside. It looks twice, some seconds apart, and tells what was there both times, since a store that is worked on is
never quite still. What schedulers sweep by themselves is told, and is nothing wrong; --repair removes it too where no
scheduler runs.

Exit code 1: something that is wrong was found and is still there.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd.Context(), file, func(s *store.Store) error {
				all, err := checkTwice(cmd.Context(), s)
				if err != nil {
					return err
				}
				mended, wrong := 0, 0
				if repair {
					if mended, err = s.Repair(cmd.Context(), all); err != nil {
						return err
					}
				}
				for _, f := range all {
					if !f.Routine && !(repair && f.Mendable) {
						wrong++
					}
				}
				out := cmd.OutOrStdout()
				if format == "json" {
					enc := json.NewEncoder(out)
					enc.SetIndent("", "  ")
					if err := enc.Encode(append([]store.Finding{}, all...)); err != nil {
						return err
					}
				} else {
					for _, f := range all {
						note := ""
						if f.Routine {
							note = " (nothing is wrong)"
						} else if !f.Mendable {
							note = " (for you to look at)"
						}
						fmt.Fprintf(out, "%-17s %s\n%17s %s%s\n", f.Kind, f.Text, "", f.Key, note)
					}
					fmt.Fprintf(out, "%d found, %d mended\n", len(all), mended)
				}
				if wrong > 0 {
					return exitError{code: exitNo}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration of a server")
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what can be")
	formats(cmd, &format, "text", "json")
	return cmd
}

// checkTwice is what is found both times.
func checkTwice(ctx context.Context, s *store.Store) ([]store.Finding, error) {
	first, err := s.Check(ctx)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(3 * time.Second):
	}
	second, err := s.Check(ctx)
	if err != nil {
		return nil, err
	}
	before := map[string]bool{}
	for _, f := range first {
		before[f.Kind+f.Key+f.Text] = true
	}
	var both []store.Finding
	for _, f := range second {
		if before[f.Kind+f.Key+f.Text] {
			both = append(both, f)
		}
	}
	return both, nil
}
