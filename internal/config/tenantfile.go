package config

import (
	"fmt"
	"slices"
	"strings"
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
