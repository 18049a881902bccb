package layout

import (
	"fmt"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
)

// remarks tell people how the jobs were chosen. A nil *remarks takes none.
type remarks []string

func (r *remarks) add(format string, args ...any) {
	if r != nil {
		*r = append(*r, fmt.Sprintf(format, args...))
	}
}

// variant tells whether a definition holds for the change.
func (r *remarks) variant(kind string, v *Variant, c *change.Change, matched bool) {
	if r == nil {
		return
	}
	word := "did not match"
	if matched {
		word = "matched"
	}
	at := v.File.Source.Path
	if v.Span.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, v.Span.Line)
	}
	if p := v.File.Source.Project.Name; p != "" {
		at = fmt.Sprintf("%s/%s@%s", p, at, v.File.Source.Branch)
	}
	r.add("  %s variant %s (%s) %s %s", kind, v.Name, at, word, c.ID())
}

// leftOut are the remarks that say why something does not count.
func (r remarks) leftOut() []string {
	var out []string
	for _, s := range r {
		if strings.Contains(s, "did not match") || strings.Contains(s, "No matching") || strings.Contains(s, "is not defined") {
			out = append(out, strings.TrimSpace(s))
		}
	}
	return out
}

// debugged has remarks taken where the project of some change asks for them.
func (z *freezer) debugged() {
	for _, c := range z.in.Changes {
		if s, ok := z.l.section(c, z.in.Pipeline); ok && s.debug {
			z.remarks = &remarks{}
			return
		}
	}
}
