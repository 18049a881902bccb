package checkout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
)

// Elsewhere is the name of the project that stands in for repositories that were not given.
const Elsewhere = "(not given)"

// standsAlone tells whether the projects can be a whole tenant: there are pipelines, and the parent that jobs have
// where they name none.
func standsAlone(in *layout.Input) bool {
	pipelines, parent := false, false
	for _, p := range in.Projects {
		for _, b := range p.Branches {
			for _, f := range b.Files {
				pipelines = pipelines || len(f.PipelineSpans) > 0
				for _, j := range f.Jobs {
					parent = parent || j.Name == in.Tenant.DefaultParent
				}
			}
		}
	}
	return pipelines && parent
}

// mention is a name of something, with the first place that names it.
type mention struct {
	kind, name string
	file       *config.File
	object     string
	declared   string
	at         config.Span
	times      int
}

// names are what files define and mention.
type names struct {
	defined   map[string][]string // by kind
	mentioned map[[2]string]*mention
	order     []*mention
}

func (n *names) define(kind, name string) { n.defined[kind] = append(n.defined[kind], name) }

func (n *names) mention(f *config.File, object string, o *config.Object, attr, kind, name string) {
	if name == "" {
		return
	}
	key := [2]string{kind, name}
	m := n.mentioned[key]
	if m == nil {
		m = &mention{kind: kind, name: name, file: f, object: object, declared: o.Name, at: o.At(attr)}
		n.mentioned[key] = m
		n.order = append(n.order, m)
	}
	m.times++
}

// collect reads all files of an input.
func collect(in *layout.Input) *names {
	n := &names{defined: map[string][]string{}, mentioned: map[[2]string]*mention{}}
	n.define("job", "noop")
	for _, p := range in.Projects {
		n.define("project", p.Project.Name)
		n.define("project", p.Project.Canonical())
		for _, b := range p.Branches {
			for _, f := range b.Files {
				n.file(f, in.Tenant.DefaultParent)
			}
		}
	}
	return n
}

func (n *names) file(f *config.File, defaultParent string) {
	for _, s := range f.Nodesets {
		n.define("nodeset", s.Name)
		for _, a := range s.Alternatives {
			n.mention(f, "nodeset", &s.Object, "alternatives", "nodeset", a.Name)
		}
	}
	for _, j := range f.Jobs {
		n.define("job", j.Name)
		if !j.Parent.Set {
			n.mention(f, "job", &j.Object, "parent", "job", defaultParent)
		}
		n.job(f, "job", j)
	}
	for _, t := range f.Templates {
		n.define("project-template", t.Name)
		n.stanza(f, "project-template", t)
	}
	for _, p := range f.Projects {
		if p.Name != "" && p.Name[0] != '^' {
			n.mention(f, "project", &p.Object, "name", "project", p.Name)
		}
		for _, t := range p.Templates {
			n.mention(f, "project", &p.Object, "templates", "project-template", t)
		}
		n.stanza(f, "project", p)
	}
}

func (n *names) stanza(f *config.File, kind string, p *config.Project) {
	for _, pp := range p.Pipelines {
		for _, j := range pp.Jobs {
			n.mention(f, kind, &config.Object{Name: p.Name, Span: j.Span}, "", "job", j.Name)
			n.job(f, kind, j)
		}
	}
}

func (n *names) job(f *config.File, kind string, j *config.Job) {
	n.mention(f, kind, &j.Object, "parent", "job", j.Parent.Value)
	n.mention(f, kind, &j.Object, "nodeset", "nodeset", j.Nodeset.Value.Name)
	for _, d := range j.Dependencies.Value {
		n.mention(f, kind, &j.Object, "dependencies", "job", d.Name)
	}
	for _, p := range j.RequiredProjects.Value {
		n.mention(f, kind, &j.Object, "required-projects", "project", p.Project)
	}
	for _, p := range j.AllowedProjects.Value {
		n.mention(f, kind, &j.Object, "allowed-projects", "project", p)
	}
	for _, r := range j.Roles.Value {
		n.mention(f, kind, &j.Object, "roles", "project", r.Project)
	}
	for _, v := range j.IncludeVars.Value {
		n.mention(f, kind, &j.Object, "include-vars", "project", v.Project)
	}
}

// standIn adds to the input a config project that defines what is mentioned and nowhere defined, and tells of each
// in a warning. Names that are near to one that is defined are left for the layout to complain about, unless all is
// taken to be elsewhere.
func standIn(in *layout.Input, all bool) []config.Problem {
	n := collect(in)
	var missing []*mention
	for _, m := range n.order {
		if !slices.Contains(n.defined[m.kind], m.name) && (all || config.Suggest(m.name, n.defined[m.kind]) == "") {
			missing = append(missing, m)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var warnings []config.Problem
	var text strings.Builder
	var projects []string
	for _, m := range missing {
		warnings = append(warnings, m.warning(n.defined[m.kind]))
		switch m.kind {
		case "job":
			fmt.Fprintf(&text, "- job: {name: %q, parent: null, run: %q}\n", m.name, Elsewhere)
		case "nodeset":
			fmt.Fprintf(&text, "- nodeset: {name: %q, nodes: []}\n", m.name)
		case "project-template":
			fmt.Fprintf(&text, "- project-template: {name: %q}\n", m.name)
		case "project":
			projects = append(projects, m.name)
		}
	}
	in.Projects = append([]layout.ProjectInput{elsewhere(text.String())}, in.Projects...)
	for _, p := range slices.Sorted(slices.Values(projects)) {
		in.Projects = append(in.Projects, layout.ProjectInput{Project: change.Project{Host: "", Name: p}, Options: &config.TenantProject{Name: p}})
	}
	return warnings
}

func elsewhere(text string) layout.ProjectInput {
	p := change.Project{Name: Elsewhere}
	x := config.NewTenantProject("", Elsewhere, true)
	src := config.Source{Project: p, Branch: x.LoadBranch, Path: "", Trusted: true}
	return layout.ProjectInput{Project: p, Options: x, DefaultBranch: x.LoadBranch,
		Branches: []layout.BranchInput{{Name: x.LoadBranch, Files: []*config.File{config.Parse(src, []byte(text), config.Options{})}}}}
}

// problemNames are the names of problems about what is not there.
var problemNames = map[string]string{"job": config.NameJobNotFound, "nodeset": config.NameNodesetNotFound,
	"project-template": config.NameTemplateNotFound, "project": config.NameProjectNotFound}

func (m *mention) warning(defined []string) config.Problem {
	times := ""
	if m.times > 1 {
		times = fmt.Sprintf(" (named %d times)", m.times)
	}
	p := m.file.Problem(m.object, m.declared, m.at, problemNames[m.kind],
		fmt.Sprintf("the %s %q is in no repository that was given%s", strings.ReplaceAll(m.kind, "-", " "), m.name, times))
	p.Severity = config.Warning
	p.Hint = cmp.Or(config.Suggest(m.name, defined), "give the repository that has it, too")
	return p.In(m.file.Source)
}
