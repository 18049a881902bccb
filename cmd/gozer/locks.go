package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
)

func locksCommand() *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{
		Use: "locks", Short: "Tell who holds the locks of deployments, and who waits", GroupID: "use", Args: cobra.NoArgs,
		Example: "  gozer locks\n  gozer locks --format json | jq '.[] | select(.holder)'",
		Long: `Lists the locks that pipelines of the tenant share (deployment: locks: in the tenant file): which buildset holds
each, since when and until about when; who waits, in the order in which they would get it now; and which part of
the time it was held lately.`,
	}
	f := format(cmd)
	s.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		list, err := c.Locks(cmd.Context(), tenant)
		if err != nil {
			return err
		}
		if *f == "json" {
			return asJSON(cmd.OutOrStdout(), list)
		}
		showLocks(cmd.OutOrStdout(), list)
		return nil
	}
	return cmd
}

func showLocks(w io.Writer, list []api.Lock) {
	if len(list) == 0 {
		fmt.Fprintln(w, "No pipelines share a lock.")
	}
	for i := range list {
		l := &list[i]
		var shared []string
		for _, p := range l.Pipelines {
			shared = append(shared, p.Pipeline+" ("+p.Precedence+")")
		}
		fmt.Fprintf(w, "%s: shared by %s\n", l.Name, strings.Join(shared, ", "))
		if h := l.Holder; h == nil {
			fmt.Fprintln(w, "  free")
		} else {
			fmt.Fprintf(w, "  held by %s for %s%s\n", lockParty(h), brief(l.Now.Sub(h.Since)), lockEnd(h, l.Now))
		}
		for k := range l.Waiting {
			x := &l.Waiting[k]
			fmt.Fprintf(w, "  %d. in line: %s, precedence %s, waits for %s\n", k+1, lockParty(x), x.Precedence, brief(l.Now.Sub(x.Since)))
		}
		if first := lockBegin(l); !first.IsZero() {
			fmt.Fprintf(w, "  held for %.0f %% of the last %s\n", l.Use*100, brief(l.Now.Sub(first)))
		}
	}
}

// lockParty names a buildset: its changes, pipeline and id.
func lockParty(p *api.LockParty) string {
	var what []string
	for _, r := range p.Refs {
		what = append(what, strings.TrimSpace(r.Project+" "+r.ID+" "+r.Title))
	}
	if len(what) == 0 {
		what = []string{"a buildset that has left"}
	}
	return fmt.Sprintf("%s in %s (buildset %s)", strings.Join(what, ", "), p.Pipeline, p.Buildset)
}

func lockEnd(p *api.LockParty, now time.Time) string {
	switch {
	case p.Ends.IsZero():
		return ""
	case p.Ends.After(now):
		return ", for about " + brief(p.Ends.Sub(now)) + " more"
	}
	return ", done any moment"
}

// lockBegin is when the lock was first held, as far as is remembered.
func lockBegin(l *api.Lock) time.Time {
	if len(l.Past) > 0 {
		return l.Past[0].From
	}
	if l.Holder != nil {
		return l.Holder.Since
	}
	return time.Time{}
}
