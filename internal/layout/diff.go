package layout

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// Difference is one frozen job that two layouts have differently.
type Difference struct {
	Project  change.Project `json:"project"`
	Branch   string         `json:"branch"`
	Pipeline string         `json:"pipeline"`
	// Job is empty where the graph as a whole can be frozen in one layout only.
	Job string `json:"job,omitempty"`
	// Kind is added, removed, changed, broken or repaired.
	Kind string `json:"kind"`
	// Changes are the attributes that differ, in the order of the language's reference; Error, why a graph is
	// broken.
	Changes []AttributeChange `json:"changes,omitempty"`
	Error   string            `json:"error,omitempty"`
}

// AttributeChange is an attribute of a job before and after; nil where the job does not have it.
type AttributeChange struct {
	Name string `json:"name"`
	Old  any    `json:"old"`
	New  any    `json:"new"`
}

// Diff lists what becomes of the frozen jobs of every project, branch and pipeline when l takes the
// place of old: in load order, for a change of unknown files.
func (l *Layout) Diff(old *Layout) []Difference {
	var out []Difference
	for _, s := range l.Compared(old) {
		out = append(out, l.DiffSection(old, s)...)
	}
	return out
}

// Compared are the sections that Diff compares, in its order: those of either layout.
func (l *Layout) Compared(old *Layout) []Section {
	var out []Section
	for _, p := range union(old.projects, l.projects) {
		pipelines := pipelineUnion(old.names[p.canon], l.names[p.canon])
		for _, branch := range branchUnion(old.names[p.canon], l.names[p.canon]) {
			for _, name := range pipelines {
				out = append(out, Section{p.in.Project, branch, name})
			}
		}
	}
	return out
}

// DiffSection is what Diff finds in one section.
func (l *Layout) DiffSection(old *Layout, s Section) []Difference {
	out := diffGraph(old, l, s.Change(), s.Pipeline)
	for i := range out {
		out[i].Project, out[i].Branch, out[i].Pipeline = s.Project, s.Branch, s.Pipeline
	}
	return out
}

func union(a, b []*project) []*project {
	out := slices.Clone(b)
	seen := map[string]bool{}
	for _, p := range b {
		seen[p.canon] = true
	}
	for _, p := range a {
		if !seen[p.canon] {
			out = append(out, p)
		}
	}
	return out
}

func branchUnion(projects ...*project) []string {
	var out []string
	for _, p := range projects {
		if p == nil {
			continue
		}
		for _, b := range p.branches {
			if !slices.Contains(out, b.Name) {
				out = append(out, b.Name)
			}
		}
	}
	return out
}

func pipelineUnion(projects ...*project) []string {
	var all []*stanza
	for _, p := range projects {
		if p != nil {
			all = append(all, p.stanzas...)
		}
	}
	return mentioned(all)
}

func diffGraph(old, l *Layout, c *change.Change, pipeline string) []Difference {
	in := FreezeInput{Pipeline: pipeline, Changes: []*change.Change{c}}
	a, before := old.freeze(in)
	b, after := l.freeze(in)
	switch {
	case len(b.Problems) > 0 && len(a.Problems) == 0:
		return []Difference{{Kind: "broken", Error: b.Problems[0].Short}}
	case len(a.Problems) > 0 && len(b.Problems) == 0:
		return []Difference{{Kind: "repaired"}}
	case len(b.Problems) > 0:
		return nil
	}
	var out []Difference
	for _, j := range after {
		if was := find(before, j); was == nil {
			out = append(out, Difference{Job: j.Name, Kind: "added"})
		} else if ch := changed(was.frozen, j.frozen); len(ch) > 0 {
			out = append(out, Difference{Job: j.Name, Kind: "changed", Changes: ch})
		}
	}
	for _, j := range before {
		if find(after, j) == nil {
			out = append(out, Difference{Job: j.Name, Kind: "removed"})
		}
	}
	return out
}

func find(list []*candidate, like *candidate) *candidate {
	if i := slices.IndexFunc(list, func(c *candidate) bool { return c.ID == like.ID }); i >= 0 {
		return list[i]
	}
	return nil
}

// changed lists the attributes in which two frozen jobs differ, where they were declared aside.
func changed(a, b *frozen) []AttributeChange {
	var out []AttributeChange
	for _, attr := range attributes {
		x, y := attr.value(a), attr.value(b)
		if sum(plainly(x)) != sum(plainly(y)) {
			out = append(out, AttributeChange{attr.name, x, y})
		}
	}
	return out
}

// plainly is a value without what tells only where it was declared.
func plainly(v any) any {
	books, ok := v.([]job.Playbook)
	if !ok {
		return v
	}
	out := pathless(books)
	for i := range out {
		out[i].Level = 0
	}
	return out
}
