package config

import (
	"reflect"
	"regexp"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

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
