package layout

import (
	"maps"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
)

// Proposal is the configuration of one project-branch with the item's changes and those ahead of it
// merged: all its files, which take the place of the live ones.
type Proposal struct {
	Project change.Project
	Branch  string
	Files   []*config.File
	Ignored []string
}

// DynamicInput is what a speculative layout is made for.
type DynamicInput struct {
	// Proposed holds every project-branch whose configuration the item, or an item ahead of it,
	// changes.
	Proposed []Proposal
	// Changes are the item's own: problems in their project-branches always concern the item.
	Changes []*change.Change
	// Ahead is the layout of the item ahead; nil: the live one.
	Ahead *Layout
	// Sealed tells of proposed secrets that the keys at hand do not open, and why.
	Sealed map[SecretID]string
}

// Dynamic is the outcome of a speculative layout.
type Dynamic struct {
	// Layout is what the item's jobs are frozen from; nil, where Problems block the item.
	Layout *Layout
	// Problems are those that concern the item. Without an error among them they are warnings for
	// its report.
	Problems []config.Problem
}

// Blocked tells whether the item may not run.
func (d *Dynamic) Blocked() bool { return d.Layout == nil }

// Dynamic makes the layout that a proposed change would make. L is the live layout of the tenant. What
// is proposed for config projects is only validated and never used, and pipelines, semaphores, queues
// and providers stay those of the live layout. Rule: semantics 2.9, point 5.
func (l *Layout) Dynamic(in DynamicInput) Dynamic {
	if l.live != nil {
		return l.live.Dynamic(in)
	}
	var trusted, untrusted *Layout
	changesTrusted, changesUntrusted := false, false
	for _, p := range in.Proposed {
		q := l.names[p.Project.Canonical()]
		switch {
		case q == nil || len(q.options.Classes) == 0:
		case q.options.Trusted:
			changesTrusted = true
		default:
			changesUntrusted = true
		}
	}
	if changesTrusted {
		trusted = l.speculate(in, true)
	}
	if changesUntrusted {
		untrusted = l.speculate(in, false)
	}
	return l.decide(trusted, untrusted, in)
}

// Redo makes a speculative layout again that was used before, without asking whether its problems concern
// anybody: the same proposal gives the layout with the same identity.
func (l *Layout) Redo(in DynamicInput) Dynamic {
	return Dynamic{Layout: l.speculate(in, false)}
}

// decide is the table of what is used and what blocks. Only problems that concern the item count; what is wrong with
// what would be used is told before what is wrong with the proposal for a config project. A proposal that is free of
// any problem together with the config project is only too early.
func (l *Layout) decide(trusted, untrusted *Layout, in DynamicInput) Dynamic {
	var trustedProblems, problems []config.Problem
	if trusted != nil {
		trustedProblems = l.relevant(trusted, in)
	}
	if untrusted != nil {
		problems = l.relevant(untrusted, in)
	}
	switch {
	case hasError(problems) && trusted != nil && len(trusted.Problems) == 0:
		return Dynamic{Problems: append([]config.Problem{unmerged()}, problems...)}
	case hasError(problems):
		return Dynamic{Problems: problems}
	case hasError(trustedProblems):
		return Dynamic{Problems: trustedProblems}
	case untrusted != nil:
		return Dynamic{Layout: untrusted, Problems: problems}
	}
	return Dynamic{Layout: l, Problems: trustedProblems}
}

func unmerged() config.Problem {
	p := config.Problem{Severity: config.Error, Name: config.NameConfigProjectUnmerged,
		Short: "The configuration of this change is invalid by itself: it depends on a change to a config project, which takes effect only once that is merged."}
	p.Text = p.Short
	return p
}

func hasError(list []config.Problem) bool {
	return slices.ContainsFunc(list, func(p config.Problem) bool { return p.Severity == config.Error })
}

// relevant are the problems that concern the item: new ones, and those in the project-branches that it
// changes.
func (l *Layout) relevant(made *Layout, in DynamicInput) []config.Problem {
	old := map[string]bool{}
	for _, base := range []*Layout{l, in.Ahead} {
		if base == nil {
			continue
		}
		for i := range base.Problems {
			old[base.Problems[i].Identity()] = true
		}
	}
	var out []config.Problem
	for i := range made.Problems {
		p := &made.Problems[i]
		if in.own(p) || !old[p.Identity()] {
			out = append(out, *p)
		}
	}
	for i := range made.remarks {
		if p := &made.remarks[i]; in.own(p) {
			out = append(out, *p)
		}
	}
	return out
}

// own tells whether a problem is in a project-branch that the item changes.
func (in *DynamicInput) own(p *config.Problem) bool {
	return slices.ContainsFunc(in.Changes, func(c *change.Change) bool {
		return c.Project.Canonical() == p.Source.Project.Canonical() && c.Branch == p.Source.Branch
	})
}

// speculate assembles the layout with the proposed files in place: of all projects, or of the untrusted
// ones only.
func (l *Layout) speculate(d DynamicInput, withTrusted bool) *Layout {
	in := l.in
	in.Projects = slices.Clone(l.in.Projects)
	if len(d.Sealed) > 0 {
		in.Sealed = maps.Clone(in.Sealed)
		if in.Sealed == nil {
			in.Sealed = map[SecretID]string{}
		}
		maps.Copy(in.Sealed, d.Sealed)
	}
	for _, p := range d.Proposed {
		i := slices.IndexFunc(in.Projects, func(q ProjectInput) bool {
			return q.Project.Host == p.Project.Host && q.Project.Name == p.Project.Name
		})
		if i < 0 || l.projects[i].options.Trusted && !withTrusted {
			continue
		}
		in.Projects[i].Branches = replaced(in.Projects[i].Branches, p)
	}
	return assemble(in, l, withTrusted)
}

func replaced(branches []BranchInput, p Proposal) []BranchInput {
	out := slices.Clone(branches)
	b := BranchInput{Name: p.Branch, Files: p.Files, Ignored: p.Ignored}
	if i := slices.IndexFunc(out, func(b BranchInput) bool { return b.Name == p.Branch }); i >= 0 {
		out[i] = b
		return out
	}
	return append(out, b)
}
