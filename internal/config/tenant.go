package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/dlclark/regexp2"

	"github.com/gozer-ci/gozer/internal/change"
)

// TenantFile is the tenant file: who may do what with which projects.
type TenantFile struct {
	Path             string
	Tenants          []*Tenant
	Rules            []*AuthorizationRule
	GlobalSemaphores []*Semaphore
	APIRoot          *APIRoot
	Problems         []Problem
}

// Tenant finds a tenant by name; nil where there is none.
func (f *TenantFile) Tenant(name string) *Tenant {
	for _, t := range f.Tenants {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Tenant is one tenant as the tenant file declares it. A limit of -1 is none.
type Tenant struct {
	Object
	// Projects in load order: config projects of all sources, then untrusted ones.
	Projects []*TenantProject

	MaxChangesPerPipeline int // 0: no bound
	MaxDependencies       int // 0: no bound
	MaxNodesPerJob        int
	MaxJobTimeout         int // seconds
	ExcludeUnprotected    bool
	ExcludeLocked         bool
	DefaultParent         string
	DefaultAnsibleVersion string
	// AllowedTriggers and AllowedReporters name connections; absent allows all.
	AllowedTriggers     Setting[[]string]
	AllowedReporters    Setting[[]string]
	AllowedLabels       []change.Pattern
	DisallowedLabels    []change.Pattern
	WebRoot             string
	AdminRules          []string
	AccessRules         []string
	AuthenticationRealm string
	// Semaphores are the global ones that the tenant may use.
	Semaphores []string
	// Deployment is nil where the tenant says nothing of it.
	Deployment *Deployment
}

// Equal tells whether two declarations say the same, wherever they stand; nil is a tenant that is not there.
func (t *Tenant) Equal(o *Tenant) bool {
	if t == nil || o == nil {
		return t == o
	}
	return reflect.DeepEqual(t.placeless(), o.placeless())
}

// placeless is a copy of t without places in the file.
func (t *Tenant) placeless() *Tenant {
	c := *t
	c.Object = Object{Name: t.Name}
	c.Deployment = t.Deployment.placeless()
	c.Projects = make([]*TenantProject, len(t.Projects))
	for i, p := range t.Projects {
		q := *p
		q.Span = Span{}
		c.Projects[i] = &q
	}
	return &c
}

// NewTenant is a tenant with the defaults.
func NewTenant(name string) *Tenant {
	return &Tenant{Object: Object{Name: name}, MaxNodesPerJob: 5, MaxJobTimeout: 10800, DefaultParent: "base"}
}

// LabelAllowed tells whether nodesets of the tenant may ask for a label.
func (t *Tenant) LabelAllowed(label string) bool {
	match := func(p change.Pattern) bool { return p.Match(label) }
	if len(t.AllowedLabels) > 0 && !slices.ContainsFunc(t.AllowedLabels, match) {
		return false
	}
	return !slices.ContainsFunc(t.DisallowedLabels, match)
}

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

// AuthorizationRule is a named rule that admin-rules and access-rules refer to.
type AuthorizationRule struct {
	Object
	// Conditions are alternatives; each maps claims to the value asked for.
	Conditions []map[string]any
}

// APIRoot holds what applies to the API as a whole.
type APIRoot struct {
	Object
	AuthenticationRealm string
	AccessRules         []string
}

var tenantKinds = []string{"tenant", "authorization-rule", "admin-rule", "global-semaphore", "api-root"}

// ParseTenants reads a tenant file. Options that neither Zuul nor Gozer knows are refused.
func ParseTenants(path string, data []byte, opts Options) *TenantFile {
	f := &TenantFile{Path: path}
	r := &reader{opts: &opts, lines: strings.Split(string(data), "\n")}
	root, errs := loadYAML(data)
	for _, e := range errs {
		r.at, r.object = e.span, e.object
		r.fail(NameSyntax, "%s", e.text)
	}
	switch {
	case root == nil && len(errs) == 0:
		r.hint("write [] where there shall be no tenant")
		r.fail(NameSyntax, "the tenant file is empty")
	case root == nil:
	case root.kind != kindList:
		r.at = root.span
		r.fail(NameSyntax, "the tenant file is not a list:\n\n%s", dump(root))
	default:
		for _, item := range root.list {
			r.tenantItem(f, item)
		}
		r.checkTenants(f)
	}
	for _, p := range r.finish() {
		f.Problems = append(f.Problems, p.In(Source{Path: path}))
	}
	return f
}

func (r *reader) tenantItem(f *TenantFile, item *node) {
	r.object, r.declared, r.at = "", "", item.span
	if item.kind != kindMap || len(item.pairs) != 1 {
		r.fail(NameSyntax, "an item of the tenant file is not a dictionary with one key:\n\n%s", dump(item))
		return
	}
	p := item.pairs[0]
	r.object = p.name
	if p.val.kind == kindMap {
		if n := p.val.child("name"); n != nil {
			r.declared = n.text
		}
		p.val.span = Span{item.span.Line, item.span.EndLine, item.span.Column}
	}
	switch p.name {
	case "tenant":
		keep(r, &f.Tenants, p.val, (*reader).tenant)
	case "authorization-rule", "admin-rule":
		keep(r, &f.Rules, p.val, (*reader).rule)
	case "global-semaphore":
		keep(r, &f.GlobalSemaphores, p.val, (*reader).semaphore)
	case "api-root":
		if f.APIRoot != nil {
			r.fail(NameSyntax, "there can be only one api-root")
		}
		f.APIRoot = r.apiRoot(p.val)
	default:
		r.hint(Suggest(p.name, tenantKinds))
		r.fail(NameSyntax, "the object %q is not recognized:\n\n%s", p.name, dump(item))
	}
}

// checkTenants holds the rules between several objects of the file.
func (r *reader) checkTenants(f *TenantFile) {
	r.object = "tenant"
	seen := map[string]bool{}
	for _, t := range f.Tenants {
		r.declared, r.at = t.Name, t.At("name")
		if seen[t.Name] {
			r.fail(NameDuplicateDefinition, "the tenant %q is defined more than once", t.Name)
		}
		seen[t.Name] = true
		r.at = t.At("semaphores")
		for _, s := range t.Semaphores {
			if !slices.ContainsFunc(f.GlobalSemaphores, func(g *Semaphore) bool { return g.Name == s }) {
				r.fail(NameGlobalSemaphore, "The global semaphore %q was not found", s)
			}
		}
	}
}

// urlSafe are the names that need no escaping in a URL.
var urlSafe = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

func tenantStr(f func(*Tenant) *string) func(*reader, *Tenant, *node) {
	return func(r *reader, t *Tenant, v *node) { *f(t) = r.str(v) }
}

func tenantInt(f func(*Tenant) *int) func(*reader, *Tenant, *node) {
	return func(r *reader, t *Tenant, v *node) { *f(t) = r.integer(v) }
}

var tenantAttrs = attributes[Tenant]{
	"name": func(r *reader, t *Tenant, v *node) {
		t.Name = r.str(v)
		if !urlSafe.MatchString(t.Name) {
			r.fail(NameSyntax, "the name %q of a tenant must be made of letters, digits, dots, underscores, tildes and dashes", t.Name)
		}
	},
	"source":                       func(r *reader, t *Tenant, v *node) { r.sources(t, v) },
	"max-changes-per-pipeline":     tenantInt(func(t *Tenant) *int { return &t.MaxChangesPerPipeline }),
	"max-dependencies":             tenantInt(func(t *Tenant) *int { return &t.MaxDependencies }),
	"max-nodes-per-job":            tenantInt(func(t *Tenant) *int { return &t.MaxNodesPerJob }),
	"max-job-timeout":              tenantInt(func(t *Tenant) *int { return &t.MaxJobTimeout }),
	"exclude-unprotected-branches": func(r *reader, t *Tenant, v *node) { t.ExcludeUnprotected = r.boolean(v) },
	"exclude-locked-branches":      func(r *reader, t *Tenant, v *node) { t.ExcludeLocked = r.boolean(v) },
	"default-parent":               tenantStr(func(t *Tenant) *string { return &t.DefaultParent }),
	"default-ansible-version":      func(r *reader, t *Tenant, v *node) { t.DefaultAnsibleVersion = r.ansibleVersion(v) },
	"allowed-triggers":             func(r *reader, t *Tenant, v *node) { t.AllowedTriggers = set(v, r.strs(v)) },
	"allowed-reporters":            func(r *reader, t *Tenant, v *node) { t.AllowedReporters = set(v, r.strs(v)) },
	"allowed-labels":               func(r *reader, t *Tenant, v *node) { t.AllowedLabels = r.regexes(v) },
	"disallowed-labels":            func(r *reader, t *Tenant, v *node) { t.DisallowedLabels = r.regexes(v) },
	"web-root":                     tenantStr(func(t *Tenant) *string { return &t.WebRoot }),
	"admin-rules":                  func(r *reader, t *Tenant, v *node) { t.AdminRules = r.strs(v) },
	"access-rules":                 func(r *reader, t *Tenant, v *node) { t.AccessRules = r.strs(v) },
	"authentication-realm":         tenantStr(func(t *Tenant) *string { return &t.AuthenticationRealm }),
	"semaphores":                   func(r *reader, t *Tenant, v *node) { t.Semaphores = r.strs(v) },
	"deployment":                   func(r *reader, t *Tenant, v *node) { t.Deployment = r.deployment(v) },
	"report-build-page":            func(r *reader, _ *Tenant, v *node) { r.boolean(v) },
	"allow-circular-dependencies":  func(r *reader, _ *Tenant, v *node) { r.boolean(v) },
}

func (r *reader) tenant(v *node) *Tenant {
	t := NewTenant("")
	if v.kind != kindMap {
		r.expected("a dictionary", v)
		return t
	}
	t.header(v)
	read(r, t, v, tenantAttrs, nil)
	r.required(&t.Object, "name")
	slices.SortStableFunc(t.Projects, func(a, b *TenantProject) int { return rank(a) - rank(b) })
	seen := map[[2]string]bool{}
	for _, p := range t.Projects {
		r.at = p.Span
		key := [2]string{p.Connection, p.Name}
		if seen[key] {
			r.fail(NameSyntax, "the project %q is listed more than once in tenant %q", p.Name, t.Name)
		}
		seen[key] = true
		for _, q := range t.Projects {
			if q.Trusted && (anyFull(p.ConfigureProjects, q.Name)) {
				r.fail(NameSyntax, "configure-projects of %q matches the config project %q, which only itself may configure", p.Name, q.Name)
			}
		}
	}
	return t
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

func (r *reader) rule(v *node) *AuthorizationRule {
	a := &AuthorizationRule{}
	if v.kind != kindMap {
		r.expected("a dictionary", v)
		return a
	}
	a.header(v)
	read(r, a, v, attributes[AuthorizationRule]{
		"name": func(r *reader, a *AuthorizationRule, v *node) { a.Name = r.str(v) },
		"conditions": func(r *reader, a *AuthorizationRule, v *node) {
			for _, i := range items(v) {
				a.Conditions = append(a.Conditions, r.dict(i))
			}
		},
	}, nil)
	r.required(&a.Object, "name", "conditions")
	return a
}

func (r *reader) apiRoot(v *node) *APIRoot {
	a := &APIRoot{}
	if v.kind != kindMap {
		r.expected("a dictionary", v)
		return a
	}
	a.header(v)
	read(r, a, v, attributes[APIRoot]{
		"authentication-realm": func(r *reader, a *APIRoot, v *node) { a.AuthenticationRealm = r.str(v) },
		"access-rules":         func(r *reader, a *APIRoot, v *node) { a.AccessRules = r.strs(v) },
	}, nil)
	return a
}

// Problem makes a problem at a place of the tenant file.
func (f *TenantFile) Problem(t *Tenant, at Span, name, format string, args ...any) Problem {
	p := Problem{Severity: Error, Name: name, Object: "tenant", Declared: t.Name,
		Line: at.Line, EndLine: at.EndLine, Column: at.Column, Short: fmt.Sprintf(format, args...)}
	return p.In(Source{Path: f.Path})
}
