package layout

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

func (l *Layout) addNodeset(f *placed, n *config.Nodeset) {
	if !l.checkLabels(f, "nodeset", n.Name, n) {
		return
	}
	unique(l, l.nodesets, "nodeset", f, &n.Object, n, sameNodeset)
}

func sameNodeset(a, b *config.Nodeset) bool {
	return slices.EqualFunc(a.Nodes, b.Nodes, func(x, y job.Node) bool {
		return x.Label == y.Label && slices.Equal(x.Names, y.Names)
	}) && slices.EqualFunc(a.Groups, b.Groups, func(x, y job.Group) bool {
		return x.Name == y.Name && slices.Equal(x.Nodes, y.Nodes)
	}) && slices.EqualFunc(a.Alternatives, b.Alternatives, func(x, y config.NodesetUse) bool {
		if x.Inline == nil || y.Inline == nil {
			return x == y
		}
		return sameNodeset(x.Inline, y.Inline)
	})
}

// checkLabels holds the tenant's rules about labels against one nodeset and the inline ones among its alternatives.
func (l *Layout) checkLabels(f *placed, kind, name string, n *config.Nodeset) bool {
	ok := true
	for i, node := range n.Nodes {
		if !l.tenant.LabelAllowed(node.Label) {
			l.report(f.File, kind, name, n.Labels[i], config.NameLabelForbidden,
				"Label named %q is not part of the allowed labels (%s) for this tenant", node.Label, allowed(l.tenant))
			ok = false
		}
	}
	for _, a := range n.Alternatives {
		if a.Inline != nil && !l.checkLabels(f, kind, name, a.Inline) {
			ok = false
		}
	}
	return ok
}

func allowed(t *config.Tenant) string {
	out := ""
	for i, p := range t.AllowedLabels {
		if i > 0 {
			out += ", "
		}
		out += p.Regex
	}
	for i, p := range t.DisallowedLabels {
		switch {
		case i > 0:
			out += ", "
		case out != "":
			out += " and not "
		default:
			out += "not "
		}
		out += p.Regex
	}
	return out
}

func (l *Layout) addSecret(f *placed, s *config.Secret) {
	unique(l, l.secrets, "secret", f, &s.Object, s, func(a, b *config.Secret) bool {
		return reflect.DeepEqual(a.Data, b.Data)
	})
}

func (l *Layout) addSemaphore(f *placed, s *config.Semaphore) {
	if slices.Contains(l.tenant.Semaphores, s.Name) {
		l.report(f.File, "semaphore", s.Name, s.Span, config.NameDuplicateDefinition,
			"Semaphore %s shadows a global semaphore and will be ignored", s.Name)
		return
	}
	unique(l, l.semaphores, "semaphore", f, &s.Object, s, func(a, b *config.Semaphore) bool { return a.Max == b.Max })
}

func (l *Layout) addQueue(f *placed, q *config.Queue) {
	unique(l, l.queues, "queue", f, &q.Object, q, func(a, b *config.Queue) bool {
		return a.PerBranch == b.PerBranch && a.AllowCircular == b.AllowCircular && a.ByTopic == b.ByTopic
	})
}

// addJob takes a top-level definition, unless it breaks a rule that only the whole tenant can tell.
func (l *Layout) addJob(f *placed, j *config.Job) {
	if !l.checkVariant(f, "job", j) {
		return
	}
	if j.Parent.Set && j.Parent.Value == "" && !f.project.options.Trusted {
		l.report(f.File, "job", j.Name, j.At("parent"), config.NameUnknown, "Base jobs must be defined in config projects")
		return
	}
	d := l.jobs[j.Name]
	if d == nil {
		d = &definitions{name: j.Name, origin: f.project}
		l.jobs[j.Name] = d
		l.jobNames = append(l.jobNames, j.Name)
	}
	if d.origin != f.project {
		l.shadow(f, j, d)
		return
	}
	if f.variants == nil {
		f.variants = make([]Variant, 0, len(f.Jobs))
	}
	f.variants = append(f.variants, Variant{Job: j, File: f.File, project: f.project, Branches: f.implied})
	v := &f.variants[len(f.variants)-1]
	if j.Branches.Set {
		v.Branches = j.Branches.Value
	}
	d.variants = append(d.variants, v)
}

// shadow is silent where the project may shadow the one that has the job.
func (l *Layout) shadow(f *placed, j *config.Job, d *definitions) {
	where := "the built-in jobs"
	if d.origin != nil {
		where = d.origin.name
		for _, s := range f.project.options.Shadow {
			if l.names[s] == d.origin {
				return
			}
		}
	}
	l.report(f.File, "job", j.Name, j.Span, config.NameDuplicateDefinition,
		"Job %s in %s is not permitted to shadow job %s in %s", j.Name, f.project.name, j.Name, where)
}

// checkVariant holds the rules of the tenant against one definition or variant.
func (l *Layout) checkVariant(f *placed, kind string, j *config.Job) bool {
	if j.Attrs == nil {
		return true
	}
	ok := true
	fail := func(attr, name, format string, args ...any) {
		l.report(f.File, kind, stanzaName(kind, j), j.At(attr), name, format, args...)
		ok = false
	}
	noProject := func(attr, project string) {
		text, hint := l.noProject(project)
		l.reportHint(f.File, kind, stanzaName(kind, j), j.At(attr), config.NameProjectNotFound, hint, "%s", text)
		ok = false
	}
	if most := l.tenant.MaxJobTimeout; most >= 0 {
		if j.Timeout.Value > most {
			fail("timeout", config.NameMaxTimeout, "The job %q exceeds tenant max-job-timeout %d", j.Name, most)
		}
		if j.PostTimeout.Value > most {
			fail("post-timeout", config.NameMaxTimeout, "The job %q exceeds tenant max-job-timeout %d in its post-timeout", j.Name, most)
		}
	}
	if n := j.Nodeset.Value.Inline; n != nil && !l.checkLabels(f, kind, j.Name, n) {
		ok = false
	}
	if missing := l.unknownProjects(j); len(missing) == 1 {
		noProject("required-projects", missing[0])
	} else if len(missing) > 1 {
		l.reportHint(f.File, kind, stanzaName(kind, j), j.At("required-projects"), config.NameProjectNotFound, l.meant(missing...),
			"The projects %s were not found", list(missing))
		ok = false
	}
	for _, iv := range j.IncludeVars.Value {
		if iv.Project != "" && l.names[iv.Project] == nil {
			noProject("include-vars", iv.Project)
		}
	}
	for _, name := range j.AllowedProjects.Value {
		if l.names[name] == nil {
			noProject("allowed-projects", name)
		}
	}
	return ok
}

// stanzaName is the name of the object that a problem with a job is in: a variant in a project's pipeline is in no job
// of its name.
func stanzaName(kind string, j *config.Job) string {
	if kind != "job" {
		return ""
	}
	return j.Name
}

// noProject tells why a name is none of a project, and what may be meant.
func (l *Layout) noProject(name string) (text, hint string) {
	if _, ambiguous := l.names[name]; ambiguous {
		return fmt.Sprintf("Project name %q is ambiguous, please use the full name, with the host", name), ""
	}
	return fmt.Sprintf("The project %q was not found", name), l.meant(name)
}

// meant suggests the project that somebody may have meant by the first of the names that has one near.
func (l *Layout) meant(names ...string) string {
	known := make([]string, len(l.projects))
	for i, p := range l.projects {
		known[i] = p.name
	}
	for _, n := range names {
		if hint := config.Suggest(n, known); hint != "" {
			return hint
		}
	}
	return ""
}

func (l *Layout) unknownProjects(j *config.Job) []string {
	var out []string
	for _, p := range j.RequiredProjects.Value {
		if l.names[p.Project] == nil {
			out = append(out, p.Project)
		}
	}
	return out
}

func list(names []string) string {
	out := ""
	for i, n := range names {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%q", n)
	}
	return out
}

// addTemplate takes a project-template; all of one name must be in one project.
func (l *Layout) addTemplate(f *placed, t *config.Project) {
	st, ok := l.newStanza(f, "project-template", t)
	if !ok {
		return
	}
	known := l.templates[t.Name]
	if known == nil {
		known = &templates{name: t.Name, origin: f.project}
		l.templates[t.Name] = known
	}
	if known.origin != f.project {
		l.report(f.File, "project-template", t.Name, t.Span, config.NameDuplicateDefinition,
			"Project template %s is already defined in project %s", t.Name, known.origin.name)
		return
	}
	st.branches = f.implied
	known.variants = append(known.variants, st)
}

// newStanza wraps the variants of a stanza or template.
func (l *Layout) newStanza(f *placed, kind string, p *config.Project) (*stanza, bool) {
	st := &stanza{Project: p, file: f.File, uses: make([][]*Variant, len(p.Pipelines))}
	ok := true
	for i, pp := range p.Pipelines {
		slab := make([]Variant, len(pp.Jobs))
		st.uses[i] = make([]*Variant, len(pp.Jobs))
		for k, j := range pp.Jobs {
			if !l.checkVariant(f, kind, j) {
				ok = false
			}
			slab[k] = Variant{Job: j, File: f.File, project: f.project, Attached: true,
				Granted: f.Source.Trusted, Branches: branchesOf(j)}
			st.uses[i][k] = &slab[k]
		}
	}
	return st, ok
}

func branchesOf(j *config.Job) []change.Pattern {
	if j.Branches.Set {
		return j.Branches.Value
	}
	return nil
}
