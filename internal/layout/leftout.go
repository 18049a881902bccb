package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
)

// LeftOut is a job that a project names for a pipeline and that does not run for an item.
type LeftOut struct {
	Job string
	// Why, as a sentence.
	Why string
}

// LeftOut tells of every job that the projects of the item's changes name for the pipeline, and that is not
// in the graph that Freeze makes of the same input, why it is not.
func (l *Layout) LeftOut(in FreezeInput) []LeftOut {
	runs := map[string]bool{}
	if g := l.Freeze(in).Graph; g != nil {
		for _, j := range g.Jobs {
			runs[j.Name] = true
		}
	}
	var out []LeftOut
	for _, c := range in.Changes {
		s, ok := l.section(c, in.Pipeline)
		if !ok {
			continue
		}
		for _, name := range s.names {
			known := slices.ContainsFunc(out, func(x LeftOut) bool { return x.Job == name })
			if !runs[name] && !known {
				out = append(out, LeftOut{name, l.whyNot(c, name, s)})
			}
		}
	}
	return out
}

func (l *Layout) whyNot(c *change.Change, name string, s *section) string {
	var say remarks
	f, err := l.freezeJob(c, name, s, &say)
	switch {
	case err != nil:
		return fmt.Sprintf("Its configuration is broken: %s.", strings.TrimSpace(err.problem().Text))
	case f == nil:
		return fmt.Sprintf("None of its definitions matches branch %s: %s.", c.Branch, strings.Join(say.leftOut(), "; "))
	case !f.matchesFiles(c) && len(f.files) > 0 && !slices.ContainsFunc(c.Files, func(p string) bool { return anyMatch(f.files, p) }):
		return fmt.Sprintf("None of the %s matches its files: %s.", changedFiles(c), regexes(f.files))
	case !f.matchesFiles(c):
		return fmt.Sprintf("All of the %s match its irrelevant-files: %s.", changedFiles(c), regexes(f.irrelevant))
	}
	return "The event that enqueued the item asked for other jobs."
}

func changedFiles(c *change.Change) string {
	n := 0
	for _, f := range c.Files {
		if f != commitMessage {
			n++
		}
	}
	if n == 1 {
		return "1 changed file"
	}
	return fmt.Sprintf("%d changed files", n)
}

func regexes(ps []change.Pattern) string {
	var out []string
	for _, p := range ps {
		text := p.Regex
		if p.Negate {
			text = "not " + text
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}
