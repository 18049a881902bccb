package layout

import (
	"fmt"
	"reflect"
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

// section is what all stanzas and templates of a project say of one pipeline for one change.
type section struct {
	names []string
	uses  map[string][]*Variant
	vars  map[string]any
	// varsOf are the stanzas and templates that vars come from, in order.
	varsOf   []*stanza
	failFast config.Setting[bool]
	debug    bool
}

// section walks the project's stanzas in load order. Not ok: nothing mentions the pipeline.
func (l *Layout) section(c *change.Change, pipeline string) (*section, bool) {
	p := l.names[c.Project.Canonical()]
	if p == nil {
		return nil, false
	}
	s := &section{uses: map[string][]*Variant{}}
	found := false
	for _, st := range p.stanzas {
		if !matchesBranch(st.branches, c, "") {
			continue
		}
		for _, t := range st.templates {
			for _, tv := range t.variants {
				if tv.Pipeline(pipeline) == nil || !matchesBranch(tv.branches, c, "") {
					continue
				}
				found = true
				s.add(tv, pipeline)
				s.addVars(tv)
			}
		}
		s.addVars(st)
		if st.Pipeline(pipeline) != nil {
			found = true
			s.add(st, pipeline)
		}
	}
	return s, found
}

// Runs tells whether a project of the changes has something to do with a pipeline.
func (l *Layout) Runs(pipeline string, changes []*change.Change) bool {
	return slices.ContainsFunc(changes, func(c *change.Change) bool {
		_, ok := l.section(c, pipeline)
		return ok
	})
}

func (s *section) addVars(st *stanza) {
	if len(st.Vars) > 0 {
		s.vars = deepMerge(s.vars, st.Vars)
		s.varsOf = append(s.varsOf, st)
	}
}

// add merges the job list of one stanza or template.
func (s *section) add(st *stanza, pipeline string) {
	for i := range st.Pipelines {
		pp := &st.Pipelines[i]
		if pp.Pipeline != pipeline {
			continue
		}
		if !s.failFast.Set {
			s.failFast = pp.FailFast
		}
		s.debug = s.debug || pp.Debug
		for _, v := range st.uses[i] {
			list, known := s.uses[v.Name]
			if !known {
				s.names = append(s.names, v.Name)
			}
			if !slices.ContainsFunc(list, func(o *Variant) bool { return sameVariant(o, v) }) {
				s.uses[v.Name] = append(list, v)
			}
		}
	}
}

// sameVariant tells whether two definitions are equal, place in the file aside.
func sameVariant(a, b *Variant) bool {
	if a == b || a.Job == b.Job && a.File == b.File {
		return true
	}
	if a.Name != b.Name || a.File.Source != b.File.Source || len(a.Attrs) != len(b.Attrs) || a.Granted != b.Granted {
		return false
	}
	x, y := *a.Job, *b.Job
	x.Object, y.Object = config.Object{}, config.Object{}
	return reflect.DeepEqual(&x, &y)
}

// matchesBranch tells whether one of the patterns (none: always) matches the change, or the branch that
// overrides it.
func matchesBranch(ps []change.Pattern, c *change.Change, override string) bool {
	if len(ps) == 0 {
		return true
	}
	for _, p := range ps {
		switch {
		case override != "":
			if p.Match(override) {
				return true
			}
		case c.Branch != "":
			if p.Match(c.Branch) {
				return true
			}
		default:
			if p.Match(c.Ref) || slices.ContainsFunc(c.ContainingBranches, p.Match) {
				return true
			}
		}
	}
	return false
}
