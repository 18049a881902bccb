package tenant

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/store"
)

// ErrGone: the tenant file has no such tenant any more.
var ErrGone = errors.New("the tenant file does not have the tenant")

// ErrBehind: a forge tells of a branch what it was before the push that Load is to take in.
var ErrBehind = errors.New("the forge is behind its own events")

// Scope says what of a tenant is read again: all its projects, one, or one branch of it.
type Scope struct {
	Project change.Project
	Branch  string
	// Moved are the commits that an event took the branch from and to, where it is known: a forge that still has the
	// branch at the first is behind, and what it would give is a layout older than the event.
	Moved [2]string
	// File reads the tenant file again; without it, the text counts that was last read.
	File bool
	// Fresh reads files even of branches that did not move.
	Fresh bool
}

// covers tells whether a branch of a project is in the scope.
func (s Scope) covers(p change.Project) bool {
	return s.Project == (change.Project{}) || s.Project == p
}

// Loaded is a tenant as it is now: its layout, and the record to be written down.
type Loaded struct {
	Layout *layout.Layout
	Record Record
}

// Load reads the configuration of a tenant from its repositories, as far as the scope says; what is outside
// of it, and branches that did not move, are taken as they were recorded. A project whose repository
// cannot be read keeps what was recorded of it; where there is nothing, the error is returned. ErrBehind where a forge does
// not know yet what the scope says of it.
func (s *Service) Load(ctx context.Context, name string, prev Record, scope Scope) (*Loaded, error) {
	old := Sources{}
	if prev.Sources != "" {
		if err := s.store.JSON(ctx, prev.Sources, &old); err != nil {
			return nil, err
		}
	}
	text := old.File
	if scope.File || text == "" {
		var err error
		if text, err = s.readFile(); err != nil {
			return nil, err
		}
	}
	t, _, err := s.parse(text, name)
	if err != nil {
		return nil, err
	}
	src := Sources{File: text}
	for _, x := range t.Projects {
		p, err := s.project(x)
		if err != nil {
			return nil, fmt.Errorf("tenant %s: %w", name, err)
		}
		src.Projects = append(src.Projects, ProjectSources{Project: p, Trusted: x.Trusted})
	}
	if err := s.branches(ctx, &src, &old, scope); err != nil {
		return nil, err
	}
	if err := s.files(ctx, t, &src, &old, scope); err != nil {
		return nil, err
	}
	blob, err := s.store.PutJSON(ctx, src)
	if err != nil {
		return nil, err
	}
	l, err := s.build(ctx, name, &src)
	if err != nil {
		return nil, err
	}
	s.keep(l)
	rec := Record{Name: name, Layout: l.ID, Sources: blob, Pipelines: names(l), At: prev.At}
	for _, p := range l.Problems {
		if p.Severity == config.Error {
			rec.Errors++
		} else {
			rec.Warnings++
		}
	}
	if rec.Layout != prev.Layout {
		rec.At = time.Now().UTC()
	}
	if err := s.recordLayout(ctx, name, l.ID, LayoutRecord{Sources: blob}); err != nil {
		return nil, err
	}
	return &Loaded{l, rec}, nil
}

// Alters tells whether the tenant file says something else of the tenant now than when it was last loaded.
func (s *Service) Alters(ctx context.Context, name string, prev Record) (bool, error) {
	var old Sources
	if prev.Sources == "" {
		return true, nil
	}
	if err := s.store.JSON(ctx, prev.Sources, &old); err != nil {
		return false, err
	}
	text, err := s.readFile()
	if err != nil || text == old.File {
		return false, err
	}
	now := s.tenants(text)
	was := s.tenants(old.File)
	return !now.Tenant(name).Equal(was.Tenant(name)) || !slices.EqualFunc(now.GlobalSemaphores, was.GlobalSemaphores,
		func(a, b *config.Semaphore) bool { return a.Name == b.Name && a.Max == b.Max }) || !slices.EqualFunc(now.Rules, was.Rules,
		func(a, b *config.AuthorizationRule) bool {
			return a.Name == b.Name && reflect.DeepEqual(a.Conditions, b.Conditions)
		}), nil
}

// parallel bounds questions to forges in flight.
const parallel = 8

// branches asks the forges which branches there are, and where they stand.
func (s *Service) branches(ctx context.Context, src, old *Sources, scope Scope) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range src.Projects {
		p := &src.Projects[i]
		was := old.project(p.Project)
		if was != nil && was.Trusted == p.Trusted && !scope.covers(p.Project) {
			*p = *was
			continue
		}
		g.Go(func() error {
			f := s.forges.For(p.Project.Connection)
			if f == nil {
				return fmt.Errorf("project %s: there is no connection %q", p.Project.Name, p.Project.Connection)
			}
			list, err := f.Branches(ctx, p.Project)
			switch {
			case errors.Is(err, forge.ErrNotFound):
				s.log.Warn("a project of the tenant is not at its forge", "project", p.Project.Canonical())
				p.Unreachable = err.Error()
				return nil
			case err != nil && was != nil:
				s.log.Warn("a forge does not tell its branches; those known are used", "project", p.Project.Canonical(), "error", err)
				*p = *was
				return nil
			case err != nil:
				return fmt.Errorf("list the branches of %s: %w", p.Project, err)
			}
			for i, b := range list {
				if from, to := scope.Moved[0], scope.Moved[1]; b.Name == scope.Branch && b.Commit == from && from != to {
					return fmt.Errorf("branch %s of %s is at %s, and was pushed to %s: %w", b.Name, p.Project, from, to, ErrBehind)
				}
				if i == 0 {
					p.DefaultBranch = b.Name
				}
				p.Branches = append(p.Branches, BranchSources{Name: b.Name, Commit: b.Commit, Protected: b.Protected, Locked: b.Locked})
			}
			return nil
		})
	}
	return g.Wait()
}

// files reads the configuration files of every branch that counts and moved, through a merger.
func (s *Service) files(ctx context.Context, t *config.Tenant, src, old *Sources, scope Scope) error {
	var req store.FilesRequest
	var into []*BranchSources
	for i := range src.Projects {
		p, x := &src.Projects[i], t.Projects[i]
		paths := x.Paths()
		for j := range p.Branches {
			b := &p.Branches[j]
			if len(paths) == 0 || !included(t, x, b) {
				continue
			}
			if was := old.branch(p.Project, b.Name); was != nil && was.Commit == b.Commit && was.Files != "" &&
				slices.Equal(was.Paths, paths) && !scope.Fresh {
				*b = *was
				continue
			}
			b.Paths = paths
			req.Branches = append(req.Branches, store.FilesBranch{Project: p.Project, Branch: b.Name, Commit: b.Commit, Paths: paths})
			into = append(into, b)
		}
	}
	if len(into) == 0 {
		return nil
	}
	var ans store.FilesAnswer
	if err := s.store.Call(ctx, store.KindFiles, 100, req, &ans); err != nil {
		return fmt.Errorf("read the configuration files of %d branches: %w", len(into), err)
	}
	if len(ans.Branches) != len(into) {
		return fmt.Errorf("a merger answered for %d branches, %d were asked for", len(ans.Branches), len(into))
	}
	for i, f := range ans.Branches {
		b := into[i]
		if f.Error != "" {
			if was := old.branch(f.Project, f.Branch); was != nil {
				*b = *was
			}
			s.log.Error("the configuration of a branch cannot be read", "project", f.Project.Canonical(), "branch", f.Branch, "error", f.Error)
			continue
		}
		name, err := s.store.PutJSON(ctx, f.Files)
		if err != nil {
			return err
		}
		b.Commit, b.Files = f.Commit, name
	}
	return nil
}
