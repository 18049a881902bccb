package explain

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/layout"
)

// shownPlaces bounds how many places one group of differences lists.
const shownPlaces = 12

// Differences writes what layout.Diff found, as text or json. The text groups jobs that change in the same way, as
// one line of a parent changes many; all lists every place of each.
func Differences(w io.Writer, format string, list []layout.Difference, all bool) error {
	switch format {
	case "json":
		if list == nil {
			list = []layout.Difference{}
		}
		return encode(w, list)
	case "text":
	default:
		return unknown(format, "text", "json")
	}
	var b strings.Builder
	for _, g := range groups(list) {
		g.write(&b, all)
	}
	if len(list) == 0 {
		b.WriteString("No job differs.\n")
	}
	return write(w, &b)
}

// Plain is what Diff found as JSON writes it, without what is in secrets.
func Plain(list []layout.Difference) any {
	if list == nil {
		list = []layout.Difference{}
	}
	return redacted(list)
}

// group are differences that are the same change.
type group struct {
	kind    string
	changes []layout.AttributeChange
	err     string
	places  []place
	jobs    map[string]bool
}

// place is a project, branch and pipeline with the jobs that differ there.
type place struct {
	where string
	jobs  []string
}

func groups(list []layout.Difference) []*group {
	var out []*group
	byKey := map[string]*group{}
	for _, d := range list {
		key, err := json.Marshal([]any{d.Kind, d.Changes, d.Error})
		if err != nil {
			continue
		}
		g := byKey[string(key)]
		if g == nil {
			g = &group{kind: d.Kind, changes: d.Changes, err: d.Error, jobs: map[string]bool{}}
			byKey[string(key)] = g
			out = append(out, g)
		}
		where := fmt.Sprintf("%s@%s %s", d.Project.Name, d.Branch, d.Pipeline)
		if len(g.places) == 0 || g.places[len(g.places)-1].where != where {
			g.places = append(g.places, place{where: where})
		}
		if d.Job != "" {
			p := &g.places[len(g.places)-1]
			p.jobs = append(p.jobs, d.Job)
			g.jobs[d.Job] = true
		}
	}
	slices.SortStableFunc(out, func(a, b *group) int { return cmp.Compare(rank[a.kind], rank[b.kind]) })
	return out
}

// rank orders the kinds: what hurts first.
var rank = map[string]int{"broken": 0, "repaired": 1, "changed": 2, "added": 3, "removed": 4}

func (g *group) write(b *strings.Builder, all bool) {
	switch g.kind {
	case "broken":
		fmt.Fprintf(b, "! the jobs can no longer be frozen: %s\n", g.err)
	case "repaired":
		b.WriteString("! the jobs can be frozen again\n")
	case "added":
		fmt.Fprintf(b, "+ %s added\n", count(len(g.jobs), "job"))
	case "removed":
		fmt.Fprintf(b, "- %s removed\n", count(len(g.jobs), "job"))
	default:
		fmt.Fprintf(b, "~ %s changed\n", count(len(g.jobs), "job"))
		for _, c := range g.changes {
			attributeChange(b, c)
		}
	}
	width := 0
	for _, p := range g.places {
		width = max(width, len(p.where))
	}
	for i, p := range g.places {
		if i == shownPlaces && !all && len(g.places) > shownPlaces+1 {
			fmt.Fprintf(b, "    and in %s more\n", count(len(g.places)-i, "place"))
			break
		}
		fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("    %-*s  %s", width, p.where, some(p.jobs, all)), " "))
	}
	b.WriteByte('\n')
}

// shownJobs bounds how many jobs are listed in one place.
const shownJobs = 6

func some(jobs []string, all bool) string {
	if !all && len(jobs) > shownJobs+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(jobs[:shownJobs], ", "), len(jobs)-shownJobs)
	}
	return strings.Join(jobs, ", ")
}

// attributeChange writes one attribute: a value before and after, or the entries that come and go.
func attributeChange(b *strings.Builder, c layout.AttributeChange) {
	was, now := Lines(c.Old), Lines(c.New)
	_, dict := c.New.(map[string]any)
	if !dict && len(was) == 1 && len(now) == 1 && !strings.HasPrefix(was[0], "- ") && !strings.HasPrefix(now[0], "- ") {
		if was[0] != now[0] {
			fmt.Fprintf(b, "  %s: %s -> %s\n", c.Name, was[0], now[0])
			return
		}
		fmt.Fprintf(b, "  %s: %s (in its details)\n", c.Name, was[0])
		return
	}
	fmt.Fprintf(b, "  %s:\n", c.Name)
	shown := false
	write := func(sign string, list, other []string) {
		for _, l := range list {
			if l != "[]" && !slices.Contains(other, l) {
				fmt.Fprintf(b, "    %s %s\n", sign, strings.TrimPrefix(l, "- "))
				shown = true
			}
		}
	}
	write("-", was, now)
	write("+", now, was)
	switch {
	case shown:
	case !slices.Equal(was, now):
		b.WriteString("    the order\n")
	default:
		b.WriteString("    roles or secrets of its playbooks\n")
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
