package layout

import (
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
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

// Remarks are warnings about what Zuul takes without a word: sections for pipelines that nothing defines, whose jobs
// never run, templates that nobody could use, and what single files have of that kind.
func (l *Layout) Remarks() []config.Problem {
	return append(slices.Clone(l.remarks), l.unknownPipelines()...)
}

func (l *Layout) unknownPipelines() []config.Problem {
	names := make([]string, len(l.Pipelines))
	for i := range l.Pipelines {
		names[i] = l.Pipelines[i].Name
	}
	var out []config.Problem
	seen := map[*config.Project]bool{}
	add := func(st *stanza, kind string) {
		if seen[st.Project] {
			return
		}
		seen[st.Project] = true
		for _, pp := range st.Pipelines {
			if slices.Contains(names, pp.Pipeline) {
				continue
			}
			p := st.file.Problem(kind, st.Name, pp.Span, config.NamePipelineNotFound,
				fmt.Sprintf("no pipeline is called %q, so these jobs never run", pp.Pipeline))
			p.Severity, p.Hint = config.Warning, config.Suggest(pp.Pipeline, names)
			out = append(out, p.In(st.file.Source))
		}
	}
	for _, p := range l.projects {
		for _, st := range p.stanzas {
			add(st, "project")
		}
	}
	for _, t := range l.sortedTemplates() {
		for _, st := range t.variants {
			add(st, "project-template")
		}
	}
	return out
}
