package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
)

// operateCommands are what operators do to pipelines: Zuul's verbs with Zuul's options, and those of a queue.
func operateCommands() []*cobra.Command {
	return []*cobra.Command{enqueueCommand(), enqueueRefCommand(), dequeueCommand(), promoteCommand(), queueCommand(), reconfigureCommand(), operatorAuditCommand()}
}

// target are the options that say which pipeline and project.
type target struct {
	serverFlags
	pipeline, project string
}

func (w *target) add(cmd *cobra.Command, project bool) {
	w.serverFlags.add(cmd)
	cmd.Flags().StringVar(&w.pipeline, "pipeline", "", "pipeline")
	_ = cmd.MarkFlagRequired("pipeline")
	if project {
		cmd.Flags().StringVar(&w.project, "project", "", "project")
		_ = cmd.MarkFlagRequired("project")
	}
}

const waits = "\n\nThe command ends when the scheduler has taken the wish in, in its turn among all other events, or says why\nit cannot. Each one is written down; see gozer audit."

func enqueueCommand() *cobra.Command {
	var w target
	var change string
	cmd := &cobra.Command{
		Use: "enqueue --pipeline P --project P --change NUMBER,PATCHSET", Short: "Put a change into a pipeline", GroupID: "operate", Args: cobra.NoArgs,
		Long: `The change enters as if an event of it had come, whatever the pipeline requires of changes; what it depends on
comes along, and a gate still takes only what its forge would merge.` + waits,
		Example: "  gozer enqueue --pipeline gate --project org/app --change 12,3",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, tenant, err := w.open(cmd)
			if err != nil {
				return err
			}
			err = c.Enqueue(cmd.Context(), tenant, w.project, api.EnqueueRequest{Pipeline: w.pipeline, Change: change})
			return wished(cmd, err, "Change %s of %s goes into pipeline %s.", change, w.project, w.pipeline)
		},
	}
	w.add(cmd, true)
	cmd.Flags().StringVar(&change, "change", "", "number,patchset")
	_ = cmd.MarkFlagRequired("change")
	return cmd
}

func enqueueRefCommand() *cobra.Command {
	var w target
	var q api.EnqueueRequest
	cmd := &cobra.Command{
		Use: "enqueue-ref --pipeline P --project P --ref REF", Short: "Put a branch, a tag or another ref into a pipeline", GroupID: "operate", Args: cobra.NoArgs,
		Long:    `The ref enters as if it had been updated from --oldrev to --newrev.` + waits,
		Example: "  gozer enqueue-ref --pipeline deploy --project org/app --ref refs/heads/main --newrev 4f1c2e...",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, tenant, err := w.open(cmd)
			if err != nil {
				return err
			}
			q.Pipeline = w.pipeline
			return wished(cmd, c.Enqueue(cmd.Context(), tenant, w.project, q), "%s of %s goes into pipeline %s.", q.Ref, w.project, w.pipeline)
		},
	}
	w.add(cmd, true)
	cmd.Flags().StringVar(&q.Ref, "ref", "", "full name, such as refs/heads/main")
	cmd.Flags().StringVar(&q.OldRev, "oldrev", "", "commit before the update")
	cmd.Flags().StringVar(&q.NewRev, "newrev", "", "commit after it")
	_ = cmd.MarkFlagRequired("ref")
	return cmd
}

func dequeueCommand() *cobra.Command {
	var w target
	var q api.DequeueRequest
	cmd := &cobra.Command{
		Use: "dequeue --pipeline P --project P (--change NUMBER,PATCHSET | --ref REF)", Short: "Take a change or a ref out of a pipeline", GroupID: "operate", Args: cobra.NoArgs,
		Long:    `Its builds are canceled, and what is behind it starts over without it.` + waits,
		Example: "  gozer dequeue --pipeline gate --project org/app --change 12,3\n  gozer dequeue --pipeline periodic --project org/app --ref refs/heads/main",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, tenant, err := w.open(cmd)
			if err != nil {
				return err
			}
			q.Pipeline = w.pipeline
			return wished(cmd, c.Dequeue(cmd.Context(), tenant, w.project, q), "%s%s of %s leaves pipeline %s.", q.Change, q.Ref, w.project, w.pipeline)
		},
	}
	w.add(cmd, true)
	cmd.Flags().StringVar(&q.Change, "change", "", "number,patchset")
	cmd.Flags().StringVar(&q.Ref, "ref", "", "full name, such as refs/heads/main")
	cmd.MarkFlagsOneRequired("change", "ref")
	cmd.MarkFlagsMutuallyExclusive("change", "ref")
	return cmd
}

func promoteCommand() *cobra.Command {
	var w target
	var changes []string
	cmd := &cobra.Command{
		Use: "promote --pipeline P --changes NUMBER,PATCHSET [NUMBER,PATCHSET...]", Short: "Put changes to the front of their queues", GroupID: "operate",
		Long: `The changes go to the front in the order in which they are named; what was there, and what is behind, starts
over. What stands at the front in that order already goes on.` + waits,
		Example: "  gozer promote --pipeline gate --changes 12,3 14,1",
		RunE: func(cmd *cobra.Command, args []string) error {
			changes = append(changes, args...)
			c, tenant, err := w.open(cmd)
			if err != nil {
				return err
			}
			err = c.Promote(cmd.Context(), tenant, api.PromoteRequest{Pipeline: w.pipeline, Changes: changes})
			return wished(cmd, err, "%s in pipeline %s: first in line.", strings.Join(changes, ", "), w.pipeline)
		},
	}
	w.add(cmd, false)
	cmd.Flags().StringArrayVar(&changes, "changes", nil, "number,patchset; more may follow")
	_ = cmd.MarkFlagRequired("changes")
	return cmd
}

func queueCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Pause a pipeline, or let it go on", GroupID: "operate"}
	verb := func(use, short, long, example, done string, reason bool) *cobra.Command {
		var w target
		var q api.PauseRequest
		sub := &cobra.Command{Use: use, Short: short, Long: long + waits, Args: cobra.NoArgs, Example: example, RunE: func(cmd *cobra.Command, _ []string) error {
			if reason && strings.TrimSpace(q.Reason) == "" {
				return fmt.Errorf("say with --reason why: it is shown to everybody who waits")
			}
			c, tenant, err := w.open(cmd)
			if err != nil {
				return err
			}
			q.Pipeline = w.pipeline
			return wished(cmd, c.Pause(cmd.Context(), tenant, q), done, w.pipeline)
		}}
		w.add(sub, false)
		if reason {
			sub.Flags().StringVar(&q.Reason, "reason", "", "why, for everybody who waits")
		}
		return sub
	}
	cmd.AddCommand(
		verb("pause --pipeline P --reason TEXT", "Stop a pipeline from starting anything new",
			"What runs goes on to its end and is reported; nothing new starts, and changes that come wait.",
			"  gozer queue pause --pipeline gate --reason 'database migration'",
			"Pipeline %s starts nothing any more. Let it go on with gozer queue resume.", true),
		verb("resume --pipeline P", "Let a paused pipeline go on", "What waited starts.", "  gozer queue resume --pipeline gate", "Pipeline %s goes on.", false))
	return cmd
}

func reconfigureCommand() *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{
		Use: "reconfigure full|smart|tenant", Short: "Read the tenant file and the configuration again", GroupID: "operate",
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"full", "smart", "tenant"},
		Long: `What merges is read by itself; the tenant file is read at start and by this command.

  smart    tenants of which the file says something else than before are loaded again, new ones are loaded
  full     everything of every tenant is loaded anew, and disabled pipelines report again
  tenant   like full, for the tenant that --tenant names

What is in pipelines goes on as far as the new configuration lets it. A tenant file with mistakes changes nothing: the
first of them is told.` + waits,
		Example: "  gozer reconfigure smart\n  gozer reconfigure tenant --tenant example",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := api.New(api.ClientConfig{URL: s.url, Token: s.token})
			tenants := []string{s.tenant}
			if s.tenant == "" && args[0] == "tenant" {
				return fmt.Errorf("name the tenant with --tenant")
			}
			if s.tenant == "" {
				var err error
				if tenants, err = c.Tenants(cmd.Context()); err != nil {
					return err
				}
			}
			for _, t := range tenants {
				err := c.Reconfigure(cmd.Context(), t, api.ReconfigureRequest{How: args[0]})
				if err := wished(cmd, err, "Tenant %s: the configuration was read.", t); err != nil {
					return err
				}
			}
			return nil
		},
	}
	s.add(cmd)
	return cmd
}

// wished says what was done; a refusal is an answer, and not a failure of the command.
func wished(cmd *cobra.Command, err error, format string, args ...any) error {
	if e, ok := err.(*api.Error); ok && (e.Code == 400 || e.Code == 403 || e.Code == 404) {
		return exitError{exitNo, e.Description}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	return nil
}

func operatorAuditCommand() *cobra.Command {
	var s serverFlags
	var limit int
	cmd := &cobra.Command{Use: "audit", Short: "Show what operators did: who, when, what, and what came of it", GroupID: "operate", Args: cobra.NoArgs,
		Long: `Every action that needs an admin is written down before it is done, and its outcome after that. The newest 2,000 of a
tenant are kept. Only admins of the tenant may read them.`,
		Example: "  gozer audit\n  gozer audit -n 5 --format json"}
	f := format(cmd)
	s.add(cmd)
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "how many, newest first")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		list, err := c.Audits(cmd.Context(), tenant, limit)
		if err != nil {
			return err
		}
		return listing(cmd.OutOrStdout(), *f, list, "No operator did anything yet.", "WHEN\tWHO\tACTION\tWHAT\tOUTCOME", func(w io.Writer, a *api.Audit) {
			outcome := a.Outcome
			if outcome == "" {
				outcome = "under way"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.At.Local().Format("2006-01-02 15:04:05"), a.Who, a.Action, words(a.What), outcome)
		})
	}
	return cmd
}

// words shows what an action was done to, on one line.
func words(what any) string {
	m, ok := what.(map[string]any)
	if !ok {
		if s, ok := what.(string); ok {
			return s
		}
		b, _ := json.Marshal(what)
		return string(b)
	}
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var out []string
	for _, k := range keys {
		switch v := m[k].(type) {
		case string:
			if v != "" {
				out = append(out, k+" "+v)
			}
		case float64, bool:
			out = append(out, fmt.Sprint(k, " ", v))
		}
	}
	return strings.Join(out, ", ")
}
