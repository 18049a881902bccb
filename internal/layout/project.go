package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
)

// addStanzas takes the project stanzas in load order: those that name their project first, then, one regular
// expression after the other, those for all projects that it matches.
func (l *Layout) addStanzas(files []placed) {
	type regular struct {
		file   *placed
		stanza *config.Project
	}
	var order []string
	later := map[string][]regular{}
	each(l, files, "project", func(f *placed) []*config.Project { return f.Projects }, func(f *placed, p *config.Project) {
		if !p.Regular() {
			l.addStanza(f, p)
			return
		}
		if later[p.Name] == nil {
			order = append(order, p.Name)
		}
		later[p.Name] = append(later[p.Name], regular{f, p})
	})
	for _, regex := range order {
		for _, r := range later[regex] {
			l.addStanza(r.file, r.stanza)
		}
	}
}

// addStanza gives a project stanza to the project, or, with a regular expression, to all the projects,
// that it configures.
func (l *Layout) addStanza(f *placed, p *config.Project) {
	targets, ok := l.targets(f, p)
	if !ok {
		return
	}
	st, ok := l.newStanza(f, "project", p)
	if !ok {
		return
	}
	for _, name := range p.Templates {
		t := l.templates[name]
		if t == nil {
			problem := f.File.Problem("project", p.Name, p.At("templates"), config.NameTemplateNotFound,
				fmt.Sprintf("The project template %q was not found", name))
			if problem.Hint = config.Suggest(name, l.templateNames()); problem.Hint != "" {
				problem = problem.In(f.Source)
			}
			l.Problems = append(l.Problems, problem)
			for _, target := range targets {
				target.broken = true
			}
			continue
		}
		st.templates = append(st.templates, t)
	}
	for _, target := range targets {
		own := *st
		own.branches = f.stanzaBranches(p, target)
		if target.stanzas == nil {
			l.configured = append(l.configured, target)
		}
		target.stanzas = append(target.stanzas, &own)
	}
}

func (l *Layout) templateNames() []string {
	out := make([]string, 0, len(l.templates))
	for name := range l.templates {
		out = append(out, name)
	}
	return out
}

// stanzaBranches is the branch rule of stanzas.
func (f *placed) stanzaBranches(p *config.Project, target *project) []change.Pattern {
	switch {
	case p.Branches.Set:
		return p.Branches.Value
	case target != f.project:
		return f.implied
	case f.project.options.Trusted:
		return nil
	}
	return f.exact
}

// targets finds the projects that a stanza configures, and whether it may.
func (l *Layout) targets(f *placed, p *config.Project) ([]*project, bool) {
	fail := func(name, format string, args ...any) ([]*project, bool) {
		l.report(f.File, "project", p.Name, p.At("name"), name, format, args...)
		return nil, false
	}
	var out []*project
	switch {
	case p.Name == "":
		out = []*project{f.project}
	case p.Regular():
		out = l.matching(p.Name)
	default:
		t := l.names[p.Name]
		if t == nil {
			text, hint := l.noProject(p.Name)
			l.reportHint(f.File, "project", p.Name, p.At("name"), config.NameProjectNotFound, hint, "%s", text)
			return nil, false
		}
		out = []*project{t}
	}
	if f.project.options.Trusted {
		return out, true
	}
	for _, t := range out {
		if t != f.project && (t.options.Trusted || !f.project.options.Configures(t.name, t.canon)) {
			return fail(config.NameProjectForbidden,
				"The project %s may not configure %s: the only project definition permitted is for %s itself",
				f.project.name, t.name, f.project.name)
		}
	}
	return out, true
}

// matching finds the projects whose whole name or canonical name a regular expression matches.
func (l *Layout) matching(regex string) []*project {
	full, err := change.Compile("(?:"+regex+")$", false)
	if err != nil {
		return nil
	}
	var out []*project
	for _, p := range l.projects {
		if full.Match(p.name) || full.Match(p.canon) {
			out = append(out, p)
		}
	}
	return out
}

// settleProjects finds the attributes of which the first value wins, and checks what stanzas and the templates that
// they use refer to.
func (l *Layout) settleProjects() {
	checked := map[*config.Project]bool{}
	for _, p := range l.configured {
		if p.broken {
			p.stanzas = nil
		}
		for _, st := range p.stanzas {
			for _, t := range st.templates {
				for _, v := range t.variants {
					l.checkStanza(v, "project-template", checked)
				}
			}
			l.checkStanza(st, "project", checked)
			p.queue = cmp.Or(p.queue, st.Queue)
			p.mergeMode = cmp.Or(p.mergeMode, st.MergeMode)
			p.defaultBranch = cmp.Or(p.defaultBranch, st.DefaultBranch)
			if st.MergeMode != "" && len(p.in.MergeModes) > 0 && !slices.Contains(p.in.MergeModes, st.MergeMode) {
				l.report(st.file, "project", st.Name, st.At("merge-mode"), config.NameUnknown,
					"Merge mode %s not supported by project %s; its forge allows %v", st.MergeMode, p.name, p.in.MergeModes)
			}
			for _, t := range st.templates {
				for _, v := range t.variants {
					p.queue = cmp.Or(p.queue, v.Queue)
				}
			}
		}
	}
	l.remarkUnused(checked)
	for _, p := range l.projects {
		p.mergeMode = cmp.Or(p.mergeMode, p.in.MergeMode, driverMode(p.in.Driver))
		p.defaultBranch = cmp.Or(p.defaultBranch, p.in.DefaultBranch, "master")
	}
}

// remarkUnused looks at templates that no project uses. What is wrong with them harms nobody yet.
func (l *Layout) remarkUnused(checked map[*config.Project]bool) {
	n := len(l.Problems)
	for _, t := range l.sortedTemplates() {
		for _, v := range t.variants {
			l.checkStanza(v, "project-template", checked)
		}
	}
	for _, p := range l.Problems[n:] {
		p.Severity = config.Warning
		l.remarks = append(l.remarks, p.In(p.Source))
	}
	l.Problems = l.Problems[:n:n]
}

func (l *Layout) sortedTemplates() []*templates {
	out := make([]*templates, 0, len(l.templates))
	for _, t := range l.templates {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *templates) int { return cmp.Compare(a.name, b.name) })
	return out
}

func driverMode(driver string) string {
	switch driver {
	case "gerrit", "local", "fake":
		return "merge-resolve"
	}
	return "merge"
}

// checkStanza checks that the jobs of each pipeline exist, and what their variants refer to; once for a
// stanza that configures many projects.
func (l *Layout) checkStanza(st *stanza, kind string, checked map[*config.Project]bool) {
	if checked[st.Project] {
		return
	}
	checked[st.Project] = true
	for _, uses := range st.uses {
		for _, v := range uses {
			if d := l.jobs[v.Name]; d == nil || len(d.variants) == 0 {
				l.checkJobName(v, kind, "", v.Name)
				continue
			}
			if v.Attrs != nil {
				l.checkReferences(v, kind)
			}
			l.checkImageBuild(st, v, kind)
		}
	}
}
