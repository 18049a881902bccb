// Package checkout reads the configuration of tenants from folders: working trees, bare repositories, single
// revisions, and folders of them. It needs no server. Where there is no tenant file it guesses what one would
// say, and where repositories are missing it puts a stand-in for what they would define, so that the rest can
// be checked, frozen and compared. It changes nothing, and decides nothing about the language: that is config's
// and layout's.
package checkout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
)

// Completeness says what is made of names that nothing in the given repositories defines.
type Completeness int

const (
	// Auto: the repositories are whole where a tenant file names all of them, or where the guessed tenant has
	// pipelines and the parent that every job has. Else a name that is near to a known one is an error, and any
	// other is taken to be elsewhere.
	Auto Completeness = iota
	// Whole: what is not found is an error.
	Whole
	// Partial: what is not found is elsewhere.
	Partial
)

// Options say what is read.
type Options struct {
	// Paths are working trees, bare repositories, plain folders with configuration, or folders of those. Each may
	// begin with NAME= (the project's name) and end with @REVISION (what git has there, not the files).
	Paths []string
	// TenantFile is the path of a tenant file; empty: one tenant is guessed. Tenant is one of its tenants; empty:
	// all.
	TenantFile string
	Tenant     string
	// Connections maps names of connections to drivers, and Hosts to canonical host names. What is not in them is
	// guessed, unless OnlyConnections says that there are no others.
	Connections     map[string]string
	Hosts           map[string]string
	OnlyConnections bool
	// Branch is the name of the branch that working trees and revisions stand for; empty: guessed for each.
	Branch string
	// AllBranches reads also the other branches of working trees (those of the remote origin, where there is one).
	// Of bare repositories all branches are read in any case.
	AllBranches  bool
	Completeness Completeness
	// Opens tries to decrypt the data of a secret; the error is why it cannot. Nil: secrets are not tried.
	Opens func(owner change.Project, data map[string]any) error
	// Progress is called while repositories are read; nil: nobody looks.
	Progress func(done, total int)
}

// Set is all that was read.
type Set struct {
	Tenants []*Tenant
	// Problems are those of the tenant file.
	Problems []config.Problem
	// TenantFile is its path, where there is one.
	TenantFile string
}

// Tenant is one tenant with the layout that its repositories give.
type Tenant struct {
	Name   string
	Layout *layout.Layout
	// Projects are those that were read, in load order.
	Projects []Project
	// Missing are projects of the tenant file that are not among the paths.
	Missing []string
	// Elsewhere tells of names that no given repository defines and that a stand-in was made for: warnings.
	Elsewhere []config.Problem
}

// Project is a project with the folder that it was read from.
type Project struct {
	change.Project
	Trusted bool
	Dir     string
	// Branches that were read, in load order, with how: "working tree", "branch", or the revision.
	Branches []Branch
	// Default is the default branch.
	Default string
}

// Branch is one branch that was read.
type Branch struct {
	Name string
	// From is empty for the working tree, else a revision.
	From  string
	Files int
}

// ErrNothing is returned (wrapped) where a path leads to no configuration.
var ErrNothing = errors.New("there is no Zuul configuration (zuul.yaml, zuul.d, .zuul.yaml or .zuul.d)")

// Load reads everything. What is wrong with the configuration is told by the problems of the layouts; an error
// means that something could not be read.
func Load(ctx context.Context, o Options) (*Set, error) {
	repos, err := find(ctx, o)
	if err != nil {
		return nil, err
	}
	l := &loader{o: o, repos: repos}
	if o.TenantFile != "" {
		return l.declared(ctx)
	}
	return l.guessed(ctx)
}

// loader holds the state of one Load.
type loader struct {
	o     Options
	repos []*repository
	opts  config.Options
	// parsed are the texts read so far, by content.
	parsed map[string]*config.Content
}

// declared reads the tenants of a tenant file.
func (l *loader) declared(ctx context.Context) (*Set, error) {
	text, err := os.ReadFile(l.o.TenantFile)
	if err != nil {
		return nil, fmt.Errorf("read the tenant file: %w", err)
	}
	var known config.Options
	if l.o.OnlyConnections {
		known.Connections = l.o.Connections
	}
	tf := config.ParseTenants(l.o.TenantFile, text, known)
	s := &Set{Problems: tf.Problems, TenantFile: l.o.TenantFile}
	var chosen []*config.Tenant
	for _, t := range tf.Tenants {
		if l.o.Tenant == "" || t.Name == l.o.Tenant {
			chosen = append(chosen, t)
		}
	}
	if l.o.Tenant != "" && len(chosen) == 0 {
		names := make([]string, len(tf.Tenants))
		for i, t := range tf.Tenants {
			names[i] = t.Name
		}
		return nil, fmt.Errorf("%s has no tenant %q; it has: %s", l.o.TenantFile, l.o.Tenant, strings.Join(names, ", "))
	}
	matched := map[*config.Tenant][]*repository{}
	want := wanted{}
	for _, t := range chosen {
		matched[t] = make([]*repository, len(t.Projects))
		for i, p := range t.Projects {
			if matched[t][i], err = match(l.repos, p.Name); err != nil {
				return nil, err
			}
		}
		branch := loadBranch(t)
		for i, r := range matched[t] {
			if r != nil {
				want.add(r, t.Projects[i], branch)
			}
		}
	}
	if err := l.read(ctx, want); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, t := range chosen {
		for _, p := range t.Projects {
			names[p.Connection] = true
		}
	}
	l.opts.Connections = l.connections(names)
	for _, t := range chosen {
		globals := map[string]int{}
		for _, g := range tf.GlobalSemaphores {
			globals[g.Name] = g.Max
		}
		s.Tenants = append(s.Tenants, l.tenant(t, matched[t], globals))
	}
	return s, nil
}

// guessed makes one tenant of all repositories.
func (l *loader) guessed(ctx context.Context) (*Set, error) {
	want := wanted{}
	for _, r := range l.repos {
		want.add(r, nil, "")
	}
	if err := l.read(ctx, want); err != nil {
		return nil, err
	}
	for _, r := range l.repos {
		if r.files() == 0 && len(l.repos) == 1 {
			return nil, fmt.Errorf("%s: %w", r.dir, ErrNothing)
		}
	}
	l.opts.Connections = l.connections(nil)
	t, repos := l.guessTenant()
	return &Set{Tenants: []*Tenant{l.tenant(t, repos, nil)}}, nil
}

// tenant makes the layout of a tenant; repos are those of its projects, nil where one is missing.
func (l *loader) tenant(t *config.Tenant, repos []*repository, globals map[string]int) *Tenant {
	out := &Tenant{Name: t.Name}
	in := layout.Input{Tenant: t, GlobalSemaphores: globals, Sealed: map[layout.SecretID]string{}}
	load := loadBranch(t)
	for i, x := range t.Projects {
		r := repos[i]
		p := change.Project{Connection: x.Connection, Name: x.Name, Host: l.host(x.Connection, r)}
		pi := layout.ProjectInput{Project: p, Options: x, Driver: l.opts.Connections[x.Connection]}
		if r == nil {
			out.Missing = append(out.Missing, x.Name)
			in.Projects = append(in.Projects, pi)
			continue
		}
		branches, def := r.as(x, load)
		pi.DefaultBranch = def
		shown := Project{Project: p, Trusted: x.Trusted, Dir: r.dir, Default: def}
		for _, b := range branches {
			bi := layout.BranchInput{Name: b.name}
			if counts(x, b.name) {
				bi = l.parse(b.branch, b.name, p, x)
				l.try(p, bi.Files, in.Sealed)
				shown.Branches = append(shown.Branches, Branch{Name: b.name, From: b.rev, Files: len(bi.Files)})
			}
			pi.Branches = append(pi.Branches, bi)
		}
		out.Projects = append(out.Projects, shown)
		in.Projects = append(in.Projects, pi)
	}
	whole := l.o.Completeness == Whole || l.o.Completeness == Auto && len(out.Missing) == 0 && (l.o.TenantFile != "" || standsAlone(&in))
	if !whole {
		out.Elsewhere = standIn(&in, l.o.Completeness == Partial || len(out.Missing) > 0)
	}
	out.Layout = layout.New(in)
	return out
}

// try tells of the secrets of files that cannot be opened.
func (l *loader) try(p change.Project, files []*config.File, sealed map[layout.SecretID]string) {
	if l.o.Opens == nil {
		return
	}
	for _, f := range files {
		for _, s := range f.Secrets {
			if err := l.o.Opens(p, s.Data); err != nil {
				sealed[layout.SecretID{Project: p.Canonical(), Secret: s}] = err.Error()
			}
		}
	}
}

// loadBranch is the branch that all config projects of a tenant are read from; empty, where they differ.
func loadBranch(t *config.Tenant) string {
	out := ""
	for _, x := range t.Projects {
		switch {
		case !x.Trusted:
		case out == "":
			out = x.LoadBranch
		case out != x.LoadBranch:
			return ""
		}
	}
	return out
}

// named is a branch under the name that it has for one tenant.
type named struct {
	*branch
	name string
}

// as are the branches of a repository, and its default branch, as a project of a tenant: what is in a folder stands
// for the one branch that a config project is read from, and for the same in folders that git knows nothing of.
func (r *repository) as(x *config.TenantProject, load string) ([]named, string) {
	def := r.defaultBranch
	out := make([]named, len(r.branches))
	for i, b := range r.branches {
		out[i] = named{b, b.name}
		if b.rev != "" {
			continue
		}
		switch {
		case x.Trusted:
			out[i].name = x.LoadBranch
		case r.git == "" && load != "":
			out[i].name = load
		}
		if def == b.name {
			def = out[i].name
		}
	}
	return out, def
}

// counts tells whether the configuration of a branch is loaded.
func counts(x *config.TenantProject, branch string) bool {
	if len(x.Classes) == 0 {
		return false
	}
	if x.Trusted {
		return branch == x.LoadBranch
	}
	return x.Includes(branch)
}

// host is the canonical host name of a project.
func (l *loader) host(connection string, r *repository) string {
	switch {
	case l.o.Hosts[connection] != "":
		return l.o.Hosts[connection]
	case r != nil && r.host != "":
		return r.host
	}
	return connection
}

// Path is where the file of a problem or definition is, for people: relative to the present folder, where that is
// shorter.
func (s *Set) Path(src config.Source) string {
	if src.Project.Name == "" {
		return src.Path
	}
	for _, t := range s.Tenants {
		for _, p := range t.Projects {
			if p.Project == src.Project {
				return shorten(filepath.Join(p.Dir, filepath.FromSlash(src.Path)))
			}
		}
	}
	return strings.TrimPrefix(src.Project.Name+"/"+src.Path, "/")
}

// shorten is a path from where we are, unless that is the longer one.
func shorten(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || len(rel) > len(path) {
		return path
	}
	return filepath.ToSlash(rel)
}

// Reads tells in how many repositories something was read.
func (t *Tenant) Reads() (repositories, files int) {
	for _, p := range t.Projects {
		for _, b := range p.Branches {
			files += b.Files
		}
	}
	return len(t.Projects), files
}

// Find is the project of a name: the whole one, one with its host, or its last part where that is unambiguous.
func (t *Tenant) Find(name string) (Project, bool) {
	var near []Project
	for _, p := range t.Projects {
		if p.Name == name || p.Canonical() == name {
			return p, true
		}
		if p.Short() == name {
			near = append(near, p)
		}
	}
	if len(near) == 1 {
		return near[0], true
	}
	return Project{}, false
}

// Names lists the projects that were read.
func (t *Tenant) Names() []string {
	out := make([]string, len(t.Projects))
	for i, p := range t.Projects {
		out[i] = p.Name
	}
	slices.Sort(out)
	return out
}
