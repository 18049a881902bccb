// Package layout makes, from the declarations of all files of a tenant, what the tenant runs: which
// pipelines want an event, and which jobs, frozen with every attribute settled, a change gets. It is
// pure: the same input gives the same layout with the same identity, and a Layout is never changed
// once New has returned it, so it may be read by many at once.
//
// A layout is assembled anew for every difference, from files that were parsed before: assembly links
// declarations and checks references, and copies nothing. The rules are those of Zuul 11.3
// (semantics, section 1).
package layout

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Input is all that a layout is made of. New keeps it; nobody may change it afterwards.
type Input struct {
	Tenant *config.Tenant
	// Projects of the tenant in load order: config projects, then untrusted ones, as Tenant lists
	// them.
	Projects []ProjectInput
	// GlobalSemaphores are those of the tenant file, by name; only the ones that the tenant may use
	// count.
	GlobalSemaphores map[string]int
	// Sealed tells of secrets that the keys at hand do not open, and why. It is no part of the identity.
	Sealed map[SecretID]string
}

// SecretID is the declaration of a secret in a project, given by its canonical name.
type SecretID struct {
	Project string
	Secret  *config.Secret
}

// ProjectInput is one project with what its forge says of it and its files.
type ProjectInput struct {
	Project change.Project
	// Options are the project's in the tenant; nil: the default ones of an untrusted project.
	Options *config.TenantProject
	// DefaultBranch and MergeMode are the forge's; empty: master, and merge (merge-resolve at Gerrit).
	DefaultBranch string
	MergeMode     string
	// MergeModes are those that the forge allows; empty: all.
	MergeModes []string
	// Driver is the driver of the project's connection.
	Driver string
	// ExcludeUnprotected: unprotected branches do not count (the option, or the tenant's).
	ExcludeUnprotected bool
	// Unreachable is why the forge shows nothing of the project; empty, where it does.
	Unreachable string
	// Branches are all that exist and are not excluded, in any order. Of a config project only the
	// load branch has files.
	Branches []BranchInput
}

// BranchInput is one branch with its files of configuration in load order (see config.Select).
type BranchInput struct {
	Name  string
	Files []*config.File
	// Ignored are further places of configuration, which a warning tells of.
	Ignored []string
}

// Layout is what a tenant runs.
type Layout struct {
	// ID is the hash of everything that the layout was made from.
	ID string
	// Name is the tenant's.
	Name string
	// Problems are all that was found wrong, in load order.
	Problems []config.Problem
	// remarks are those of the files.
	remarks []config.Problem
	// Pipelines in the order of their definition. A dynamic layout has those of the live one.
	Pipelines []pipeline.Settings

	in       Input
	tenant   *config.Tenant
	live     *Layout
	projects []*project
	// configured are those that some stanza configures, in the order of their first one.
	configured []*project
	// names finds projects by name and by canonical name; nil stands for an ambiguous name.
	names map[string]*project

	jobs       map[string]*definitions
	jobNames   []string
	nodesets   map[string]*declared[config.Nodeset]
	secrets    map[string]*declared[config.Secret]
	semaphores map[string]*declared[config.Semaphore]
	queues     map[string]*declared[config.Queue]
	templates  map[string]*templates
	providers  providerObjects
}

// project is a project of the tenant with what was found for it.
type project struct {
	in       *ProjectInput
	options  *config.TenantProject
	name     string
	canon    string
	branches []BranchInput
	// static counts the branches that take part statically.
	static int
	// stanzas that configure the project, in load order; none, where one of them is broken.
	stanzas []*stanza
	broken  bool
	// labels it was first given, in load order.
	queue, mergeMode, defaultBranch string
}

// stanza is a project stanza with the branches for which it holds (nil: all).
type stanza struct {
	*config.Project
	file      *config.File
	branches  []change.Pattern
	templates []*templates
	// uses are the variants of each of its pipelines, as Pipelines of the declaration.
	uses [][]*Variant
}

// templates are all definitions of one template name.
type templates struct {
	name     string
	origin   *project
	variants []*stanza
}

// definitions are all definitions of one job name, in load order.
type definitions struct {
	name     string
	origin   *project
	variants []*Variant
	// visit is where circular is with it.
	visit uint8
}

const (
	visiting = iota + 1
	visited
)

// Variant is one definition of a job, at the top level or in a project-pipeline, at its place.
type Variant struct {
	*config.Job
	File *config.File
	// Branches are those for which it holds, written or implied; nil: all.
	Branches []change.Pattern
	// Attached: it stands in a project-pipeline, so it adds no role of its own.
	Attached bool
	// Granted: it stands in a project-pipeline of a config project (a stanza's or a template's), which may run jobs
	// whatever their allowed-projects.
	Granted bool
	project *project
}

// declared is the definition of a name that may be defined once.
type declared[T any] struct {
	decl   *T
	file   *config.File
	origin *project
}

// Jobs are the names of all jobs, in load order, without the built-in one.
func (l *Layout) Jobs() []string { return slices.Clone(l.jobNames) }

// DefaultParent is the parent of jobs that name none.
func (l *Layout) DefaultParent() string { return l.tenant.DefaultParent }

// Variants are the top-level definitions of a job, in load order.
func (l *Layout) Variants(name string) []*Variant {
	if d := l.jobs[name]; d != nil {
		return slices.Clone(d.variants)
	}
	return nil
}

// Pipeline finds a pipeline; nil where there is none.
func (l *Layout) Pipeline(name string) *pipeline.Settings {
	for i := range l.Pipelines {
		if l.Pipelines[i].Name == name {
			return &l.Pipelines[i]
		}
	}
	return nil
}

// Project finds a project by name or canonical name.
func (l *Layout) Project(name string) (change.Project, bool) {
	if p := l.names[name]; p != nil {
		return p.in.Project, true
	}
	return change.Project{}, false
}

// Projects are all of the tenant, in load order.
func (l *Layout) Projects() []change.Project {
	out := make([]change.Project, len(l.projects))
	for i, p := range l.projects {
		out[i] = p.in.Project
	}
	return out
}

// Trusted tells whether a project of the tenant is a config project.
func (l *Layout) Trusted(p change.Project) bool {
	q := l.names[p.Canonical()]
	return q != nil && q.options.Trusted
}

// Has tells whether the tenant has the project.
func (l *Layout) Has(p change.Project) bool { return l.names[p.Canonical()] != nil }

// Knows tells whether the layout was made with a branch of a project, or would not be made otherwise with it: the branch
// takes no part.
func (l *Layout) Knows(p change.Project, branch string) bool {
	q := l.names[p.Canonical()]
	if q == nil || len(q.options.Classes) == 0 || !q.options.Includes(branch) || q.options.Trusted && branch != q.options.LoadBranch {
		return true
	}
	return q.hasBranch(branch)
}

// Reads tells whether what is proposed for a branch of a project may become configuration: of a config project only the
// load branch does; of others those that take part, and the always-dynamic ones. One that is unknown where unprotected
// branches are left out is unprotected.
func (l *Layout) Reads(p change.Project, branch string) bool {
	q := l.names[p.Canonical()]
	switch {
	case q == nil:
		return false
	case q.options.Trusted:
		return branch == q.options.LoadBranch
	case q.options.Dynamic(branch):
		return true
	}
	return q.options.Includes(branch) && (!q.in.ExcludeUnprotected || q.hasBranch(branch))
}

// HasErrors tells whether some problem is an error.
func (l *Layout) HasErrors() bool {
	return slices.ContainsFunc(l.Problems, func(p config.Problem) bool { return p.Severity == config.Error })
}

// Options are a project's in the tenant; nil, where the tenant does not have it.
func (l *Layout) Options(p change.Project) *config.TenantProject {
	if q := l.names[p.Canonical()]; q != nil {
		return q.options
	}
	return nil
}

// ByTopic tells whether changes of one topic need each other in the project (its queue says so).
func (l *Layout) ByTopic(p change.Project) bool {
	if q := l.names[p.Canonical()]; q != nil {
		if d := l.queues[q.queue]; d != nil {
			return d.decl.ByTopic
		}
	}
	return false
}

// ConfigPaths are the paths whose change alters the configuration of a project of the tenant (a slash
// at the end: all below); empty where no configuration is read from it.
func (l *Layout) ConfigPaths(p change.Project) []string {
	if q := l.names[p.Canonical()]; q != nil {
		return q.options.Paths()
	}
	return nil
}

// hasBranch tells whether the project has a branch that takes part statically.
func (p *project) hasBranch(name string) bool {
	return p.options.Includes(name) && slices.ContainsFunc(p.branches, func(b BranchInput) bool { return b.Name == name })
}

// builtin is the file of what needs no definition.
var builtin = config.ParseContent(nil, config.Options{}).At(config.Source{Path: "(built in)", Trusted: true})

func noop() *definitions {
	decl := &config.Job{Object: config.Object{Name: job.Noop}, Parent: config.Setting[string]{Set: true}}
	return &definitions{name: job.Noop, variants: []*Variant{{Job: decl, File: builtin}}}
}
