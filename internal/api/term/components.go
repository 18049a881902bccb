package term

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
)

// order of roles: what everything stands on first.
var order = []string{"store", "scheduler", "merger", "reporter", "launcher", "executor", "history", "web"}

// Components draws the live processes, role by role: state, version, age, format of records, what they hold; and who
// paused those that are paused.
func Components(w io.Writer, all map[string][]api.Component, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROLE\tPROCESS\tSTATE\tVERSION\tFORMAT\tUP\tHOLDS")
	for _, role := range order {
		list := slices.SortedFunc(slices.Values(all[role]), func(a, b api.Component) int { return cmp.Compare(a.ID, b.ID) })
		for _, c := range list {
			format := fmt.Sprint(c.Writes)
			if c.Reads != c.Writes {
				format = fmt.Sprintf("%d (can %d)", c.Writes, c.Reads)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", role, c.ID, c.State, c.Version, format, age(now.Sub(c.Started)), holds(c.Owns))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, role := range order {
		for _, c := range all[role] {
			if p := c.Paused; p != nil {
				fmt.Fprintf(w, "\n%s %s takes no more work: %s\n", role, c.ID, Paused(p.By, p.Reason, now.Sub(p.Since)))
			}
		}
	}
	return nil
}

// Paused says who paused something, for how long it has been so, and why.
func Paused(by, reason string, d time.Duration) string {
	text := "paused for " + age(d)
	if by != "" {
		text = "paused by " + by + " for " + age(d)
	}
	if reason != "" {
		text += " (" + reason + ")"
	}
	return text
}

// holds names work that fits on a line, and counts the rest.
func holds(owns []string) string {
	const most = 3
	if len(owns) == 0 {
		return "-"
	}
	text := strings.Join(owns[:min(most, len(owns))], ", ")
	if n := len(owns) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	case d >= time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d >= time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
