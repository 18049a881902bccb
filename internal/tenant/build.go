package tenant

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/store"
)

// included tells whether the configuration of a branch counts: of a config project only the load branch
// does, of others every branch that takes part and is not excluded by protection.
func included(t *config.Tenant, x *config.TenantProject, b *BranchSources) bool {
	if x.Trusted {
		return b.Name == x.LoadBranch
	}
	return x.Includes(b.Name) && visible(t, x, b)
}

// visible tells whether a branch is not hidden by its protection or lock (semantics 6.1).
func visible(t *config.Tenant, x *config.TenantProject, b *BranchSources) bool {
	if x.ExcludeUnprotected.Or(t.ExcludeUnprotected) && !b.Protected {
		return false
	}
	return !x.ExcludeLocked.Or(t.ExcludeLocked) || !b.Locked
}

// names lists a layout's pipelines in order.
func names(l *layout.Layout) []string {
	out := make([]string, len(l.Pipelines))
	for i := range l.Pipelines {
		out[i] = l.Pipelines[i].Name
	}
	return out
}

// build makes the merged layout of sources.
func (s *Service) build(ctx context.Context, name string, src *Sources) (*layout.Layout, error) {
	in, err := s.input(ctx, name, src)
	if err != nil {
		return nil, err
	}
	return layout.New(in), nil
}

func (s *Service) input(ctx context.Context, name string, src *Sources) (layout.Input, error) {
	t, tf, err := s.parse(src.File, name)
	if err != nil {
		return layout.Input{}, err
	}
	in := layout.Input{Tenant: t, GlobalSemaphores: map[string]int{}, Sealed: map[layout.SecretID]string{}}
	for _, g := range tf.GlobalSemaphores {
		in.GlobalSemaphores[g.Name] = g.Max
	}
	s.mu.Lock()
	r := &reading{s: s, tenant: t, before: s.parts[name], now: map[branchKey]layout.BranchInput{}, sealed: in.Sealed}
	s.mu.Unlock()
	in.Projects = make([]layout.ProjectInput, len(t.Projects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	for i, x := range t.Projects {
		g.Go(func() error {
			p, err := s.project(x)
			if err != nil {
				return err
			}
			ps := src.at(i, p)
			if ps == nil {
				return fmt.Errorf("the sources of tenant %s lack project %s", name, p)
			}
			in.Projects[i], err = r.project(ctx, x, ps)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return in, err
	}
	s.mu.Lock()
	s.parts[name] = r.now
	s.mu.Unlock()
	return in, nil
}

// branchKey says what a branch's part of a layout depends on: files is the blob with their text, extra the further
// paths.
type branchKey struct {
	project, branch, files, extra string
	trusted                       bool
}

// reading is the making of one input. Branches that did not move are taken from the one before, so that the store is
// asked only for what is new.
type reading struct {
	s      *Service
	tenant *config.Tenant
	before map[branchKey]layout.BranchInput

	mu     sync.Mutex
	now    map[branchKey]layout.BranchInput
	sealed map[layout.SecretID]string
}

func (r *reading) project(ctx context.Context, x *config.TenantProject, ps *ProjectSources) (layout.ProjectInput, error) {
	pi := layout.ProjectInput{Project: ps.Project, Options: x, DefaultBranch: ps.DefaultBranch, Driver: r.s.opts.Connections[ps.Project.Connection],
		Unreachable: ps.Unreachable, ExcludeUnprotected: x.ExcludeUnprotected.Or(r.tenant.ExcludeUnprotected)}
	for i := range ps.Branches {
		b := &ps.Branches[i]
		if !visible(r.tenant, x, b) {
			continue
		}
		bi := layout.BranchInput{Name: b.Name}
		if b.Files != "" {
			var err error
			if bi, err = r.branch(ctx, x, ps.Project, b); err != nil {
				return pi, err
			}
		}
		pi.Branches = append(pi.Branches, bi)
	}
	return pi, nil
}

func (r *reading) branch(ctx context.Context, x *config.TenantProject, p change.Project, b *BranchSources) (layout.BranchInput, error) {
	key := branchKey{p.Canonical(), b.Name, b.Files, strings.Join(x.ExtraConfigPaths, "\x00"), x.Trusted}
	bi, known := r.before[key]
	if !known {
		var text map[string]string
		if err := r.s.store.JSON(ctx, b.Files, &text); err != nil {
			return bi, err
		}
		bi = r.s.branch(x, p, b.Name, text)
	}
	sealed := map[layout.SecretID]string{}
	if err := r.s.sealed(ctx, p, bi.Files, sealed); err != nil {
		return bi, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now[key] = bi
	maps.Copy(r.sealed, sealed)
	return bi, nil
}

// branch parses the files of a branch that count, in load order.
func (s *Service) branch(x *config.TenantProject, p change.Project, name string, text map[string]string) layout.BranchInput {
	paths, ignored := config.SelectFiles(text, x.ExtraConfigPaths)
	b := layout.BranchInput{Name: name, Ignored: ignored}
	for _, path := range paths {
		b.Files = append(b.Files, s.content(text[path]).At(job.Source{Project: p, Branch: name, Path: path, Trusted: x.Trusted}))
	}
	return b
}

// Layout finds a layout by its identity: in memory, or made again from what is recorded.
func (s *Service) Layout(ctx context.Context, tenant, id string) (*layout.Layout, error) {
	if l := s.kept(id); l != nil {
		return l, nil
	}
	rec, err := store.Records[LayoutRecord](s.store, layoutKey(tenant, "")).Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("layout %s of tenant %s: %w", id, tenant, err)
	}
	l, err := s.remake(ctx, tenant, rec.Value)
	if err != nil {
		return nil, fmt.Errorf("make layout %s of tenant %s again: %w", id, tenant, err)
	}
	if l.ID != id {
		return nil, fmt.Errorf("layout %s of tenant %s came out as %s: this program makes layouts otherwise than the one that recorded it", id, tenant, l.ID)
	}
	s.keep(l)
	return l, nil
}

func (s *Service) remake(ctx context.Context, tenant string, rec LayoutRecord) (*layout.Layout, error) {
	if rec.Base != "" {
		base, err := s.Layout(ctx, tenant, rec.Base)
		if err != nil {
			return nil, err
		}
		d, err := s.dynamic(ctx, base, rec.Proposed)
		if err != nil {
			return nil, err
		}
		return d.Layout, nil
	}
	var src Sources
	if err := s.store.JSON(ctx, rec.Sources, &src); err != nil {
		return nil, err
	}
	return s.build(ctx, tenant, &src)
}
