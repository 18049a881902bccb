package layout

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

// Section is a project-branch with a section for a pipeline.
type Section struct {
	Project  change.Project `json:"project"`
	Branch   string         `json:"branch"`
	Pipeline string         `json:"pipeline"`
}

// Sections lists all sections, in load order: everything that has a job graph of its own. Pipelines that stanzas
// name and nothing defines count, too.
func (l *Layout) Sections() []Section {
	var out []Section
	for _, p := range l.projects {
		names := mentioned(p.stanzas)
		for _, b := range p.branches {
			if !p.options.Includes(b.Name) {
				continue
			}
			c := tip(p.in.Project, b.Name)
			for _, name := range names {
				if _, ok := l.section(c, name); ok {
					out = append(out, Section{p.in.Project, b.Name, name})
				}
			}
		}
	}
	return out
}

// mentioned are the pipelines that stanzas and their templates name, in order.
func mentioned(stanzas []*stanza) []string {
	var out []string
	add := func(st *stanza) {
		for _, pp := range st.Pipelines {
			if !slices.Contains(out, pp.Pipeline) {
				out = append(out, pp.Pipeline)
			}
		}
	}
	for _, st := range stanzas {
		for _, t := range st.templates {
			for _, v := range t.variants {
				add(v)
			}
		}
		add(st)
	}
	return out
}

// tip is a change of unknown files on a branch: all file matchers match.
func tip(p change.Project, branch string) *change.Change {
	return &change.Change{Kind: change.KindChange, Project: p, Branch: branch, Number: "1", Patchset: "1"}
}

// Change is one on the section's branch, of which no files are known: every file matcher matches.
func (s Section) Change() *change.Change { return tip(s.Project, s.Branch) }

// SectionJobs are the jobs that a section names, in order.
func (l *Layout) SectionJobs(s Section) []string {
	if sec, ok := l.section(s.Change(), s.Pipeline); ok {
		return sec.names
	}
	return nil
}
