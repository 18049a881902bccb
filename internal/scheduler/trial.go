package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// Trial finds out with what a job would start for a change, although nothing starts: a pipeline of its own steps
// as the real one would, merges and layouts are made as for that, and all other jobs are taken to succeed.
type Trial struct {
	Store   *store.Store
	Forges  *forge.Set
	Tenants *tenant.Service
	// Merge and RepoState carry out what mergers do.
	Merge     func(ctx context.Context, req *pipeline.Merge, since time.Time) (*pipeline.Merged, error)
	RepoState func(ctx context.Context, req *pipeline.RepoState, since time.Time) (*pipeline.RepoStated, error)
}

// TrialOf says which job is wanted: for a change of the project (number, or number,patchset), and in which pipeline;
// without one, in the first that has it, those that test before those that merge.
type TrialOf struct{ Tenant, Project, Change, Job, Pipeline string }

// Recipe is the start of the job. An error that is store.ErrNotFound tells what of the wish is not there.
func (t *Trial) Recipe(ctx context.Context, of TrialOf) (*pipeline.Recipe, error) {
	l, err := t.Tenants.Current(ctx, of.Tenant)
	if err != nil {
		return nil, err
	}
	c, err := t.change(ctx, l, of)
	if err != nil {
		return nil, err
	}
	cl := newClosure(t.Forges, l.ByTopic)
	if err := cl.add(ctx, c); err != nil {
		return nil, err
	}
	all, err := cl.run(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := t.Tenants.Record(ctx, of.Tenant)
	if err != nil {
		return nil, err
	}
	var not []string
	for _, name := range byManager(l, rec.Pipelines) {
		if of.Pipeline != "" && name != of.Pipeline {
			continue
		}
		r := &rehearsal{Trial: t, tenant: of.Tenant, pipe: name, job: of.Job, semaphores: &pipeline.Semaphores{},
			state: &pipeline.State{Settings: *l.Pipeline(name), Tenant: t.Tenants.View(l, name)}}
		s, err := r.start(ctx, c, all)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", name, err)
		}
		if s != nil {
			return r.recipe(ctx, s)
		}
		not = append(not, name+" "+cmp.Or(r.why, "does not run it"))
	}
	if len(not) == 0 {
		return nil, fmt.Errorf("tenant %s has no pipeline %q; it has %s: %w", of.Tenant, of.Pipeline, strings.Join(rec.Pipelines, ", "), store.ErrNotFound)
	}
	return nil, fmt.Errorf("job %s does not start for change %s: %s: %w", of.Job, of.Change, strings.Join(not, "; "), store.ErrNotFound)
}

func (t *Trial) change(ctx context.Context, l *layout.Layout, of TrialOf) (*change.Change, error) {
	p, ok := l.Project(of.Project)
	if !ok {
		return nil, fmt.Errorf("tenant %s has no project %q: %w", of.Tenant, of.Project, store.ErrNotFound)
	}
	number, patchset, _ := strings.Cut(of.Change, ",")
	c, err := read(ctx, t.Forges, &event.Event{Project: p, Number: number, Patchset: patchset})
	if err != nil {
		return nil, err
	}
	if c == nil || patchset != "" && c.Patchset != patchset || c.Project != p {
		return nil, fmt.Errorf("project %s has no change %s: %w", p.Name, of.Change, store.ErrNotFound)
	}
	return c, nil
}

// byManager orders pipelines: those that only test come first.
func byManager(l *layout.Layout, names []string) []string {
	out := slices.Clone(names)
	slices.SortStableFunc(out, func(a, b string) int {
		rank := func(n string) int {
			if l.Pipeline(n).Manager == pipeline.Independent {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(a), rank(b))
	})
	return out
}

// rehearsal is a pipeline of which nobody hears.
type rehearsal struct {
	*Trial
	tenant, pipe, job string
	state             *pipeline.State
	semaphores        *pipeline.Semaphores
	steps             int
	found             *pipeline.Start
	// why the job does not start, where that is known.
	why string
}

// mostSteps bounds a rehearsal: no item has so many jobs.
const mostSteps = 20_000

// start plays the pipeline until the job starts; nil where it never does.
func (r *rehearsal) start(ctx context.Context, c *change.Change, all []*change.Change) (*pipeline.Start, error) {
	todo := []pipeline.Input{&pipeline.Enqueue{Key: c.Key(), Changes: all, Force: true, Event: event.Ref{ID: "trial", At: time.Now(), Key: c.Key(), Stable: c.Stable()}}}
	for len(todo) > 0 && r.found == nil {
		if r.steps++; r.steps > mostSteps {
			return nil, fmt.Errorf("after %d steps the job has not started", mostSteps)
		}
		effects, _ := pipeline.Step(r.state, r.semaphores, pipeline.Meta{Now: time.Now(), Seed: fmt.Sprint("trial-", r.steps)}, todo[0])
		todo = todo[1:]
		for _, e := range effects {
			in, err := r.carryOut(ctx, e)
			if err != nil {
				return nil, err
			}
			todo = append(todo, in...)
		}
	}
	return r.found, nil
}

// carryOut does what an effect asks for, as far as it changes nothing for others, and gives its outcome.
func (r *rehearsal) carryOut(ctx context.Context, e pipeline.Effect) ([]pipeline.Input, error) {
	one := func(in pipeline.Input, err error) ([]pipeline.Input, error) { return []pipeline.Input{in}, err }
	switch e := e.(type) {
	case *pipeline.Merge:
		m, err := r.Merge(ctx, e, time.Now())
		if err == nil && m.Conflict != "" {
			r.why = "cannot merge it: " + m.Conflict
		}
		return one(m, err)
	case *pipeline.Configure:
		c, err := r.Tenants.Configure(ctx, r.tenant, r.pipe, e)
		if err == nil {
			r.look(c)
		}
		return one(c, err)
	case *pipeline.RepoState:
		return one(r.RepoState(ctx, e, time.Now()))
	case *pipeline.RequestNodes:
		nodes := make([]string, len(e.Nodeset.Nodes))
		for i := range nodes {
			nodes[i] = fmt.Sprint("node", i+1)
		}
		return one(&pipeline.NodesReady{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Request: e.Request, Nodes: nodes, Provider: "run"}, nil)
	case *pipeline.FindArtifacts:
		return one(&pipeline.Provided{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Token: e.Token}, nil)
	case *pipeline.FindEstimates:
		return one(&pipeline.Estimated{}, nil)
	case *pipeline.Start:
		if e.Job.Name == r.job {
			r.found = e
			return nil, nil
		}
		return one(&pipeline.BuildEnded{Build: e.Build, Result: pipeline.Success, At: time.Now(), Started: time.Now()}, nil)
	}
	return nil, nil
}

// look notes why the job is not among those that run.
func (r *rehearsal) look(c *pipeline.Configured) {
	switch {
	case len(c.Problems) > 0:
		r.why = "cannot configure it: " + c.Problems[0].Text
	case c.Graph != nil && !slices.ContainsFunc(c.Graph.Jobs, func(j *job.Job) bool { return j.Name == r.job }):
		var names []string
		for _, j := range c.Graph.Jobs {
			names = append(names, j.Name)
		}
		r.why = "does not run it, but " + cmp.Or(strings.Join(names, ", "), "nothing")
	}
}

func (r *rehearsal) recipe(ctx context.Context, s *pipeline.Start) (*pipeline.Recipe, error) {
	repos := map[string]map[string]string{}
	if s.Merge != nil && s.Merge.RepoState != "" {
		if err := r.Store.JSON(ctx, s.Merge.RepoState, &repos); err != nil {
			return nil, fmt.Errorf("read the repository state: %w", err)
		}
	}
	return pipeline.NewRecipe(s, r.tenant, r.pipe, repos), nil
}
