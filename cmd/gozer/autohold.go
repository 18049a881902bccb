package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
)

// autoholdCommands are Zuul's verbs, and the same as verbs of one command.
func autoholdCommands() []*cobra.Command {
	hold := autoholdCreate("autohold", "Keep the nodes of builds that fail")
	hold.GroupID = "use"
	hold.AddCommand(autoholdCreate("create", "Keep the nodes of builds that fail"), autoholdList("list"), autoholdInfo("show"), autoholdDelete("delete"))
	out := []*cobra.Command{hold, autoholdList("autohold-list"), autoholdInfo("autohold-info"), autoholdDelete("autohold-delete")}
	for _, c := range out[1:] {
		c.Hidden = true // known to those who come from Zuul; the help has them as autohold list, show and delete
	}
	return out
}

func autoholdCreate(verb, short string) *cobra.Command {
	var s serverFlags
	var project string
	var q api.AutoholdRequest
	called := "autohold"
	if verb != called {
		called += " " + verb
	}
	cmd := &cobra.Command{
		Use: verb + " --project P --job J --reason TEXT", Short: short, Args: cobra.NoArgs,
		Long: `When a build of the job for the project fails, its nodes are kept for people instead of being deleted:
for the next --count failures, of one change, of one ref, or of any.`,
		Example: "  gozer " + called + " --project org/app --job unit --change 12 --reason 'ann: why does it hang?' --node-hold-expiration 14400\n" +
			"  gozer autohold list\n  gozer nodes --state hold\n  gozer nodes ssh NODE\n  gozer autohold delete ID",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case project == "" || q.Job == "":
				return fmt.Errorf("name the project and the job whose failures count (--project, --job)")
			case q.Reason == "":
				return fmt.Errorf("say with --reason what the nodes are kept for, and by whom")
			}
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			id, err := c.Autohold(cmd.Context(), tenant, project, q)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Hold %s waits for the next failure of %s. See gozer nodes --state hold then.\n", id, q.Job)
			return nil
		},
	}
	s.add(cmd)
	cmd.Flags().StringVar(&project, "project", "", "project of the builds")
	cmd.Flags().StringVar(&q.Job, "job", "", "job of the builds")
	cmd.Flags().StringVar(&q.Change, "change", "", "only of this change, of all its patch sets")
	cmd.Flags().StringVar(&q.Ref, "ref", "", "only of this ref")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "what the nodes are kept for, and by whom")
	cmd.Flags().IntVar(&q.Count, "count", 1, "for how many failures")
	cmd.Flags().IntVar(&q.Expiration, "node-hold-expiration", 0, "seconds for which nodes are kept (what the server says)")
	return cmd
}

func autoholdList(verb string) *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{Use: verb, Short: "List what is to be held", Args: cobra.NoArgs, Example: "  gozer autohold list"}
	f := format(cmd)
	s.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		list, err := c.Autoholds(cmd.Context(), tenant)
		if err != nil {
			return err
		}
		heading := "ID\tPROJECT\tJOB\tREFS\tFAILURES\tHELD\tREASON"
		return listing(cmd.OutOrStdout(), *f, list, "Nothing is to be held.", heading, func(w io.Writer, h *api.Autohold) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d of %d\t%d\t%s\n", h.ID, h.Project, h.Job, h.RefFilter, h.CurrentCount, h.MaxCount, len(heldNodes(h)), h.Reason)
		})
	}
	return cmd
}

func heldNodes(h *api.Autohold) (out []string) {
	for _, n := range h.Nodes {
		out = append(out, n.Nodes...)
	}
	return out
}

func autoholdInfo(verb string) *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{Use: verb + " ID", Short: "Show one hold with its builds and nodes", Args: cobra.ExactArgs(1), Example: "  gozer autohold show h3f2a9c1b0d"}
	f := format(cmd)
	s.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		h, err := c.AutoholdInfo(cmd.Context(), tenant, args[0])
		if err != nil {
			return err
		}
		if *f == "json" {
			return asJSON(cmd.OutOrStdout(), h)
		}
		showHold(cmd.OutOrStdout(), h)
		return nil
	}
	return cmd
}

func showHold(w io.Writer, h *api.Autohold) {
	fmt.Fprintf(w, "Hold %s: %s\n", h.ID, h.Reason)
	fmt.Fprintf(w, "  job %s of %s, refs %s\n", h.Job, h.Project, h.RefFilter)
	fmt.Fprintf(w, "  %d of %d failures\n", h.CurrentCount, h.MaxCount)
	if h.NodeExpiration > 0 {
		fmt.Fprintf(w, "  nodes are kept for %s\n", brief(time.Duration(h.NodeExpiration)*time.Second))
	}
	if h.Expired != nil {
		fmt.Fprintf(w, "  used up at %s\n", time.UnixMilli(int64(*h.Expired*1000)).Local().Format("2006-01-02 15:04:05"))
	}
	for _, n := range h.Nodes {
		fmt.Fprintf(w, "  build %s: %s\n", n.Build, strings.Join(n.Nodes, ", "))
		for _, id := range n.Nodes {
			fmt.Fprintf(w, "      gozer nodes ssh %s\n", id)
		}
	}
}

func autoholdDelete(verb string) *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{
		Use: verb + " ID...", Short: "End holds; the nodes that are kept for them are given back", Args: cobra.MinimumNArgs(1),
		Example: "  gozer autohold delete h3f2a9c1b0d",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := c.DeleteAutohold(cmd.Context(), tenant, id); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "Hold %s is ended.\n", id)
			}
			return nil
		},
	}
	s.add(cmd)
	return cmd
}
