package config

import (
	"maps"
	"slices"

	"github.com/dlclark/regexp2"

	"github.com/gozer-ci/gozer/internal/change"
)

// TenantProject is a project in a tenant, with its options.
type TenantProject struct {
	Connection string
	Name       string
	Trusted    bool
	Span       Span
	// Classes are the kinds of declarations that are loaded (pragma always is); empty: no
	// configuration is read from the project.
	Classes []string
	// NoPipelines: pipelines are excluded by name, so nobody is told of those in an untrusted project.
	NoPipelines           bool
	Shadow                []string
	ExcludeUnprotected    Setting[bool]
	ExcludeLocked         Setting[bool]
	IncludeBranches       []string
	ExcludeBranches       []string
	AlwaysDynamic         []string
	ImpliedBranchMatchers Setting[bool]
	ExtraConfigPaths      []string
	// LoadBranch is the branch that a config project is read from.
	LoadBranch string
	// ConfigureProjects are regular expressions of projects that stanzas here may configure.
	ConfigureProjects []string
}

// NewTenantProject is a project with the default options.
func NewTenantProject(connection, name string, trusted bool) *TenantProject {
	p := &TenantProject{Connection: connection, Name: name, Trusted: trusted, LoadBranch: "master"}
	p.Classes = defaultClasses(trusted)
	return p
}

// classes can be loaded from a project; the provider objects have to be asked for.
var classes = []string{"pipeline", "job", "semaphore", "project", "project-template", "nodeset", "secret",

	"queue", "image", "flavor", "label", "section", "provider"}

func defaultClasses(trusted bool) []string {
	out := []string{"pipeline", "job", "semaphore", "project", "secret", "project-template", "nodeset", "queue"}
	if !trusted {
		return out[1:]
	}
	return out
}

// Loads tells whether declarations of a kind are loaded from the project.
func (p *TenantProject) Loads(kind string) bool {
	return kind == "pragma" || slices.Contains(p.Classes, kind)
}

// Includes tells whether a branch takes part statically: its configuration is read, timers fire.
func (p *TenantProject) Includes(branch string) bool {
	if len(p.IncludeBranches) > 0 {
		return anyFull(p.IncludeBranches, branch)
	}
	return !anyFull(p.ExcludeBranches, branch) && !anyFull(p.AlwaysDynamic, branch)
}

// Dynamic tells whether every change on the branch is taken for one of the configuration.
func (p *TenantProject) Dynamic(branch string) bool { return anyFull(p.AlwaysDynamic, branch) }

// DynamicPatterns are the always-dynamic branches as patterns that match whole names.
func (p *TenantProject) DynamicPatterns() []change.Pattern {
	out := make([]change.Pattern, 0, len(p.AlwaysDynamic))
	for _, s := range p.AlwaysDynamic {
		if c, err := change.Compile("(?:"+s+")$", false); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// Configures tells whether stanzas in the project may configure another one (whose canonical and plain
// name are given) by virtue of configure-projects.
func (p *TenantProject) Configures(name, canonical string) bool {
	return anyFull(p.ConfigureProjects, name) || anyFull(p.ConfigureProjects, canonical)
}

func anyFull(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fullMatch(p, s) })
}

// fullMatch matches the whole of s, in the Perl-style dialect where RE2 does not take the pattern.
func fullMatch(pattern, s string) bool {
	c, err := change.Compile("(?:"+pattern+")$", false)
	return err == nil && c.Match(s)
}

func rank(p *TenantProject) int {
	if p.Trusted {
		return 0
	}
	return 1
}

func (r *reader) sources(t *Tenant, v *node) {
	if v.kind != kindMap {
		r.expected("a dictionary of connections", v)
		return
	}
	for _, p := range v.pairs {
		r.at = p.span()
		if _, ok := r.opts.driver(p.name); !ok && r.opts.Connections != nil {
			r.hint(Suggest(p.name, slices.Collect(maps.Keys(r.opts.Connections))))
			r.fail(NameUnknownConnection, "Unknown connection named %q", p.name)
		}
		read(r, t, p.val, attributes[Tenant]{
			"config-projects":    func(r *reader, t *Tenant, v *node) { r.projects(t, p.name, true, v, nil) },
			"untrusted-projects": func(r *reader, t *Tenant, v *node) { r.projects(t, p.name, false, v, nil) },
		}, nil)
	}
}

// projects reads a list of projects and groups of projects. Outer holds the classes that enclosing
// groups allow; nil: the default ones.
func (r *reader) projects(t *Tenant, connection string, trusted bool, v *node, outer []string) {
	for _, i := range items(v) {
		r.at = i.span
		switch {
		case i.kind == kindNull:
		case i.kind == kindString:
			t.Projects = append(t.Projects, r.tenantProject(connection, i.text, trusted, i, nil, outer))
		case i.kind == kindMap && i.child("projects") != nil:
			r.group(t, connection, trusted, i, outer)
		case i.kind == kindMap && len(i.pairs) == 1:
			p := i.pairs[0]
			t.Projects = append(t.Projects, r.tenantProject(connection, p.name, trusted, i, p.val, outer))
		default:
			r.fail(NameSyntax, "a project is a name, a dictionary of one name with options, or a group with projects:\n\n%s", dump(i))
		}
	}
}

func (r *reader) group(t *Tenant, connection string, trusted bool, v *node, outer []string) {
	var include, exclude []string
	included := false
	var members *node
	read(r, t, v, attributes[Tenant]{
		"include":  func(r *reader, _ *Tenant, v *node) { include, included = r.classes(v), true },
		"exclude":  func(r *reader, _ *Tenant, v *node) { exclude = r.classes(v) },
		"projects": func(_ *reader, _ *Tenant, v *node) { members = v },
	}, nil)
	r.projects(t, connection, trusted, members, narrow(trusted, outer, include, included, exclude))
}

// narrow is what becomes of the classes outer (nil: the default ones): include replaces them, also those of an
// enclosing group, and exclude subtracts.
func narrow(trusted bool, outer, include []string, included bool, exclude []string) []string {
	out := outer
	switch {
	case included:
		out = include
	case out == nil:
		out = defaultClasses(trusted)
	}
	return slices.DeleteFunc(slices.Clone(out), func(c string) bool {
		return slices.Contains(exclude, c) || !trusted && c == "pipeline"
	})
}

func (r *reader) classes(v *node) []string {
	out := []string{}
	if v.kind == kindNull {
		return out
	}
	for _, i := range items(v) {
		out = append(out, r.oneOf(i, classes...))
	}
	return out
}

// fullPatterns reads the expressions that must match a whole name.
func (r *reader) fullPatterns(v *node) []string {
	out := r.strs(v)
	for _, s := range out {
		if _, err := change.Compile(s, false); err != nil {
			r.fail(NameSyntax, "the regular expression %q is invalid: %v", s, err)
		} else if _, err := regexp2.Compile(s, regexp2.None); err != nil {
			r.fail(NameSyntax, "the regular expression %q is invalid: %v", s, err)
		}
	}
	return out
}

func (r *reader) tenantProject(connection, name string, trusted bool, at, v *node, outer []string) *TenantProject {
	p := NewTenantProject(connection, name, trusted)
	p.Span = at.span
	var include, exclude []string
	included := false
	if v != nil && v.kind != kindNull {
		table := attributes[TenantProject]{
			"include":                      func(r *reader, _ *TenantProject, v *node) { include, included = r.classes(v), true },
			"exclude":                      func(r *reader, _ *TenantProject, v *node) { exclude = r.classes(v) },
			"shadow":                       func(r *reader, p *TenantProject, v *node) { p.Shadow = r.strs(v) },
			"exclude-unprotected-branches": func(r *reader, p *TenantProject, v *node) { p.ExcludeUnprotected = set(v, r.boolean(v)) },
			"exclude-locked-branches":      func(r *reader, p *TenantProject, v *node) { p.ExcludeLocked = set(v, r.boolean(v)) },
			"include-branches":             func(r *reader, p *TenantProject, v *node) { p.IncludeBranches = r.fullPatterns(v) },
			"exclude-branches":             func(r *reader, p *TenantProject, v *node) { p.ExcludeBranches = r.fullPatterns(v) },
			"always-dynamic-branches":      func(r *reader, p *TenantProject, v *node) { p.AlwaysDynamic = r.fullPatterns(v) },
			"implied-branch-matchers":      func(r *reader, p *TenantProject, v *node) { p.ImpliedBranchMatchers = set(v, r.boolean(v)) },
			"extra-config-paths":           func(r *reader, p *TenantProject, v *node) { p.ExtraConfigPaths = r.extraPaths(v) },
			"allow-circular-dependencies":  func(r *reader, _ *TenantProject, v *node) { r.boolean(v) },
		}
		if trusted {
			table["load-branch"] = func(r *reader, p *TenantProject, v *node) { p.LoadBranch = r.str(v) }
		} else {
			table["configure-projects"] = func(r *reader, p *TenantProject, v *node) { p.ConfigureProjects = r.fullPatterns(v) }
		}
		read(r, p, v, table, nil)
	}
	p.Classes = narrow(trusted, outer, include, included, exclude)
	p.NoPipelines = slices.Contains(exclude, "pipeline")
	return p
}

func (r *reader) extraPaths(v *node) []string {
	out := r.strs(v)
	for _, s := range out {
		if slices.Contains(roots, s) || slices.Contains(roots, s+"/") {
			r.fail(NameSyntax, "the default configuration path %q must not be listed in extra-config-paths", s)
		}
	}
	return out
}
