package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// frozen is a job while definitions are applied to it.
type frozen struct {
	job.Job
	l *Layout

	final, abstract, intermediate bool
	// protectedBy is the project whose definition made the job protected.
	protectedBy *project
	control     map[string]bool
	// allowed is nil where every project may run the job.
	allowed       []string
	limited       bool
	ignoreAllowed bool
	files         []change.Pattern
	irrelevant    []change.Pattern
	matchConfig   bool
	deps          []config.Dependency
	roles         []job.Role
	cleanup       []job.Playbook
	applied       int
	// last is the name of the definition applied last; attached, the first place in the project's
	// pipeline that names the job.
	last     string
	attached *Variant
	// variants are the definitions in the order in which they were applied.
	variants []*Variant
}

// freezeError is why a job cannot be frozen, and the definition to blame.
type freezeError struct {
	variant *Variant
	attr    string
	text    string
}

func (e *freezeError) problem() config.Problem {
	p := config.Problem{}
	if e.variant != nil {
		p = e.variant.File.Problem("job", e.variant.Name, e.variant.At(e.attr), config.NameJobGraph, "")
	}
	p.Severity, p.Name = config.Error, config.NameJobGraph
	p.Short = "Unable to freeze job graph: " + e.text
	p.Text = p.Short
	if e.variant != nil {
		p.Text += "\n\n  at " + p.Where()
	}
	return p
}

func newFrozen(l *Layout, name string) *frozen {
	return &frozen{l: l, matchConfig: true, Job: job.Job{Name: name, Voting: true, Attempts: 3,
		Deduplicate: "auto", WorkspaceScheme: "golang", WorkspaceCheckout: "true"}}
}

// execution are the attributes that final and protected guard. The ones that decide about inheritance
// itself are not among them.
var execution = map[string]bool{"parent": true, "semaphore": true, "semaphores": true, "nodeset": true,

	"override-checkout": true, "timeout": true, "post-timeout": true, "attempts": true, "pre-run": true,
	"run": true, "post-run": true, "cleanup-run": true, "ansible-split-streams": true, "ansible-version": true,
	"roles": true, "required-projects": true, "vars": true, "extra-vars": true, "host-vars": true,
	"group-vars": true, "include-vars": true, "allowed-projects": true, "post-review": true,
	"failure-output": true, "workspace-scheme": true, "workspace-checkout": true, "image-build-name": true}

// touches names an attribute that final and protected guard and that v sets; empty, where it sets none.
// A top-level definition always brings its repository as a role.
func (v *Variant) touches() string {
	for _, a := range v.Attrs {
		if execution[a.Name] {
			return a.Name
		}
	}
	switch {
	case !v.Attached:
		return "roles"
	case len(v.Secrets.Value) > 0 && !v.File.Source.Trusted: // they limit the job to its project, after review
		return "secrets"
	}
	return ""
}

// apply puts a definition on top of those applied so far.
func (f *frozen) apply(v *Variant) *freezeError {
	if f.applied > 0 {
		if err := f.permit(v); err != nil {
			return err
		}
	}
	f.inheritance(v)
	if err := f.execution(v); err != nil {
		return err
	}
	f.context(v)
	f.Path = append(f.Path, v.definition())
	f.applied++
	f.last = v.Name
	f.variants = append(f.variants, v)
	return nil
}

// definition tells where v stands and what it sets.
func (v *Variant) definition() job.Definition {
	d := job.Definition{Source: v.File.Source, Job: v.Name, Line: v.Span.Line}
	for _, a := range v.Attrs {
		if a.Name != "name" {
			d.Set = append(d.Set, a.Name)
		}
	}
	return d
}

// permit holds final, protected, intermediate and attribute-control against v.
func (f *frozen) permit(v *Variant) *freezeError {
	fail := func(attr, format string, args ...any) *freezeError {
		return &freezeError{v, attr, fmt.Sprintf(format, args...)}
	}
	if attr := v.touches(); attr != "" {
		if f.final {
			return fail(attr, "Unable to modify final job %s attribute %s with a variant of %s", f.Name, attr, v.File.Source.Project.Name)
		}
		if f.protectedBy != nil && f.protectedBy != v.project {
			return fail(attr, "Job %s, which is defined in %s, is a protected job in a different project and can not be changed by %s",
				f.last, f.protectedBy.name, v.File.Source.Project.Name)
		}
	}
	if f.intermediate && !v.Abstract.Value {
		return fail("abstract", "Job %s is not abstract, but job %s is intermediate and can only be inherited by abstract jobs", v.Name, f.last)
	}
	for _, a := range v.Attrs {
		if f.control[a.Name] {
			return fail(a.Name, "Unable to modify job %s attribute %s with a variant of %s: attribute-control makes it a final attribute", f.Name, a.Name, v.File.Source.Project.Name)
		}
	}
	if v.Protected.Set && !v.Protected.Value && f.protectedBy != nil {
		return fail("protected", "Unable to reset protected attribute of job %s", f.Name)
	}
	return nil
}

// inheritance takes over the attributes that govern inheritance.
func (f *frozen) inheritance(v *Variant) {
	f.final = f.final || v.Final.Value
	if v.Name != f.last {
		f.abstract, f.intermediate = v.Abstract.Value, v.Intermediate.Value
	} else {
		f.abstract = f.abstract || v.Abstract.Value
		f.intermediate = f.intermediate || v.Intermediate.Value
	}
	if v.Protected.Value && f.protectedBy == nil {
		f.protectedBy = v.project
	}
	for _, a := range v.Control.Value {
		if f.control == nil {
			f.control = map[string]bool{}
		}
		f.control[a] = true
	}
}

// execution takes over what changes how the job runs.
func (f *frozen) execution(v *Variant) *freezeError {
	f.addRoles(v)
	if err := f.setNodeset(v); err != nil {
		return err
	}
	if err := f.addPlaybooks(v); err != nil {
		return err
	}
	put(&f.OverrideCheckout, v.OverrideCheckout)
	put(&f.OverrideBranch, v.OverrideBranch)
	put(&f.AnsibleVersion, v.AnsibleVersion)
	put(&f.AnsibleSplitStreams, v.SplitStreams)
	put(&f.WorkspaceScheme, v.WorkspaceScheme)
	put(&f.WorkspaceCheckout, v.WorkspaceCheckout)
	put(&f.ImageBuildName, v.ImageBuildName)
	put(&f.Attempts, v.Attempts)
	seconds(&f.Timeout, v.Timeout)
	seconds(&f.PostTimeout, v.PostTimeout)
	f.Vars = combine(f.Vars, v.Vars)
	f.ExtraVars = combine(f.ExtraVars, v.ExtraVars)
	f.HostVars = combineOf(f.HostVars, v.HostVars)
	f.GroupVars = combineOf(f.GroupVars, v.GroupVars)
	f.addIncludeVars(v)
	f.addRequiredProjects(v)
	f.limitProjects(v)
	f.FailureOutput = unionOf(f.FailureOutput, v.FailureOutput, config.Inherit)
	return f.addSemaphores(v)
}

// context takes over what changes when the job runs and how it is reported.
func (f *frozen) context(v *Variant) {
	if v.Name == f.Name { // a description is not inherited
		put(&f.Description, v.Description)
	}
	put(&f.Voting, v.Voting)
	put(&f.HoldFollowingChanges, v.HoldFollowingChanges)
	put(&f.SuccessMessage, v.SuccessMessage)
	put(&f.FailureMessage, v.FailureMessage)
	put(&f.Deduplicate, v.Deduplicate)
	put(&f.matchConfig, v.MatchOnConfigUpdates)
	f.Tags = unionOf(f.Tags, v.Tags, config.Inherit)
	f.Provides = unionOf(f.Provides, v.Provides, config.Inherit)
	f.Requires = unionOf(f.Requires, v.Requires, config.Inherit)
	f.files = patterns(f.files, v.Files)
	f.irrelevant = patterns(f.irrelevant, v.IrrelevantFiles)
	if v.Dependencies.Set {
		if v.Dependencies.Mode != config.Inherit {
			f.deps = nil
		}
		f.deps = slices.Clone(f.deps)
		for _, d := range v.Dependencies.Value {
			if !slices.Contains(f.deps, d) {
				f.deps = append(f.deps, d)
			}
		}
	}
	if v.Granted {
		f.ignoreAllowed = true
	}
}

func (f *frozen) setNodeset(v *Variant) *freezeError {
	if !v.Nodeset.Set {
		return nil
	}
	all, err := f.l.flatten(v.Nodeset.Value, nil)
	if err != nil {
		return &freezeError{v, "nodeset", err.text}
	}
	f.Nodeset, f.Alternatives = job.Nodeset{}, nil
	if len(all) > 0 {
		f.Nodeset = all[0]
	}
	if len(all) > 1 {
		f.Alternatives = all
	}
	return nil
}

func (f *frozen) addSemaphores(v *Variant) *freezeError {
	if v.Semaphores.Set {
		out := slices.Clone(f.Semaphores)
		for _, s := range v.Semaphores.Value {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		slices.SortStableFunc(out, func(a, b job.Semaphore) int { return cmp.Compare(a.Name, b.Name) })
		f.Semaphores = out
	}
	for _, books := range [][]job.Playbook{f.PreRun, f.Run, f.PostRun, f.cleanup} {
		for _, b := range books {
			for _, s := range f.Semaphores {
				if slices.Contains(b.Semaphores, s.Name) {
					return &freezeError{v, "semaphores", fmt.Sprintf("The job %s uses the semaphore %q itself and in its playbook %s", f.Name, s.Name, b.Path)}
				}
			}
		}
	}
	return nil
}

func (f *frozen) addIncludeVars(v *Variant) {
	if !v.IncludeVars.Set {
		return
	}
	var out []job.IncludeVars
	if v.IncludeVars.Mode != config.Override {
		out = slices.Clone(f.IncludeVars)
	}
	for _, iv := range v.IncludeVars.Value {
		n := job.IncludeVars{Path: iv.Path, ZuulProject: iv.ZuulProject, UseRef: iv.UseRef, Required: iv.Required}
		switch {
		case iv.ZuulProject:
		case iv.Project == "":
			n.Project = v.File.Source.Project
		default:
			if p := f.l.names[iv.Project]; p != nil {
				n.Project = p.in.Project
			}
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	f.IncludeVars = out
}

func (f *frozen) addRequiredProjects(v *Variant) {
	if !v.RequiredProjects.Set {
		return
	}
	var out []job.RequiredProject
	if v.RequiredProjects.Mode != config.Override {
		out = slices.Clone(f.RequiredProjects)
	}
	for _, r := range v.RequiredProjects.Value {
		p := f.l.names[r.Project]
		if p == nil {
			continue
		}
		n := job.RequiredProject{Project: p.in.Project, OverrideCheckout: r.OverrideCheckout, OverrideBranch: r.OverrideBranch}
		if i := slices.IndexFunc(out, func(o job.RequiredProject) bool { return o.Project == n.Project }); i >= 0 {
			out[i] = n
		} else {
			out = append(out, n)
		}
	}
	f.RequiredProjects = out
}

// limitProjects narrows the projects that may run the job. A job with secrets in an untrusted project
// is for that project only, whatever it says.
func (f *frozen) limitProjects(v *Variant) {
	var allowed []string
	switch {
	case len(v.Secrets.Value) > 0 && !v.File.Source.Trusted:
		allowed = []string{v.File.Source.Project.Name}
	case v.AllowedProjects.Set:
		for _, name := range v.AllowedProjects.Value {
			if p := f.l.names[name]; p != nil {
				allowed = append(allowed, p.name)
			}
		}
	default:
		return
	}
	if f.limited {
		allowed = slices.DeleteFunc(allowed, func(s string) bool { return !slices.Contains(f.allowed, s) })
	}
	f.allowed, f.limited = allowed, true
}
