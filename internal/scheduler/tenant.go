package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// desk is a scheduler's work for one tenant that it owns: events come in, in order; inputs for pipelines,
// and now and then a new layout, go out. An event is gone from the queue in the same transaction that
// writes what came of it.
type desk struct {
	*Scheduler
	log    *slog.Logger
	tenant string
	fence  store.Fence
	record tenant.Record
	recMod int64
	// asked are the layouts for which the forge was asked for unknown branches.
	asked map[branchOf]string

	mu     sync.Mutex
	layout *layout.Layout // read by the timers too
}

func (d *desk) present() *layout.Layout {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.layout
}

func (s *Scheduler) runTenant(ctx context.Context, f store.Fence, name string) error {
	d := &desk{Scheduler: s, log: s.Log.With("tenant", name), tenant: name, fence: f}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := d.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, store.ErrFenced) {
			return err
		}
		if errors.Is(err, errGone) {
			return nil
		}
		d.log.Warn("the tenant's events are read again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (d *desk) run(ctx context.Context) error {
	if err := d.open(ctx); err != nil {
		return err
	}
	in := &inbox{seen: map[string]bool{}, kick: make(chan struct{}, 1)}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.follow(ctx, d.Store.KV(), store.EventPrefix(d.tenant)) })
	g.Go(func() error { return d.ticks(ctx) })
	g.Go(func() error {
		for {
			todo := in.take(1)
			if len(todo) == 0 {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-in.kick:
				}
				continue
			}
			if err := d.process(ctx, todo[0]); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// open reads what is recorded of the tenant and brings it up to the present state of its repositories:
// what was pushed while nobody looked is seen here.
func (d *desk) open(ctx context.Context) error {
	rec, mod, err := d.Tenants.Stored(ctx, d.tenant)
	if err != nil {
		return err
	}
	d.record, d.recMod = rec, mod
	err = d.reload(ctx, tenant.Scope{File: true}, false, nil)
	if errors.Is(err, tenant.ErrFile) && rec.Sources != "" {
		d.log.Error("the tenant file cannot be used; what was last read of it counts", "error", err)
		err = d.reload(ctx, tenant.Scope{}, false, nil)
	}
	return err
}

// process turns one event into what comes of it. An event that cannot be read is set aside; a forge that
// does not answer is asked again.
func (d *desk) process(ctx context.Context, kvs kv.KV) error {
	e, err := d.Store.Event(ctx, kvs)
	if err != nil && !errors.Is(err, store.ErrUnreadable) {
		return err
	}
	if err != nil {
		d.log.Error("an event is set aside, because it cannot be read", "key", kvs.Key, "error", err)
		return d.consume(ctx, kvs, kv.Put("/dead"+kvs.Key, kvs.Value))
	}
	if e.Driver == "operator" {
		return d.operate(ctx, e, kvs)
	}
	if scope, ok := d.affects(e); ok {
		if err := d.catchUp(ctx, scope); err != nil {
			return err
		}
	}
	ops, err := d.handle(ctx, e)
	if err != nil {
		return fmt.Errorf("event %s (%s): %w", e.ID, e.Type, err)
	}
	return d.consume(ctx, kvs, ops...)
}

// behind is for how long an event waits for a forge that does not know of it yet.
const behind = 10 * time.Second

// catchUp reads again what an event altered. A forge that is behind its own events is asked again for a while: the
// layout that an event is processed with is not older than the event.
func (d *desk) catchUp(ctx context.Context, scope tenant.Scope) error {
	for began, pause := time.Now(), 50*time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := d.reload(ctx, scope, false, nil)
		if !errors.Is(err, tenant.ErrBehind) {
			return err
		}
		if time.Since(began) > behind {
			// Or the branch was pushed back since.
			d.log.Warn("a forge is taken at its word", "error", err)
			scope.Moved = [2]string{}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// consume writes what came of an event and removes it, if it is still there: the same may have been written
// before, with an unknown outcome. It is written only while the layout with which the event was processed is
// the tenant's.
func (d *desk) consume(ctx context.Context, e kv.KV, ops ...kv.Op) error {
	cmps := []kv.Cmp{kv.Created(e.Key, e.Create), kv.Unchanged(tenant.RecordPrefix+d.tenant, d.recMod)}
	_, err := d.Store.WriteIf(ctx, d.fence, cmps, append(ops, kv.Delete(e.Key))...)
	return err
}

// affects tells which part of the configuration an event may have altered. Reading it again costs little
// where nothing did.
func (d *desk) affects(e *event.Event) (tenant.Scope, bool) {
	if !d.layout.Has(e.Project) {
		return tenant.Scope{}, false
	}
	switch {
	case e.BranchCreated, e.BranchDeleted, e.DefaultBranchChanged, e.ProtectionChanged:
		return tenant.Scope{Project: e.Project}, true
	case e.Merged():
		return tenant.Scope{Project: e.Project, Branch: e.Branch}, true
	case e.Number == "" && e.Ref != "":
		if c := refChange(e); c.Kind == change.KindBranch {
			return tenant.Scope{Project: e.Project, Branch: c.Branch, Moved: [2]string{e.OldRev, e.NewRev}}, true
		}
	case e.Branch != "" && !d.layout.Knows(e.Project, e.Branch):
		return tenant.Scope{Project: e.Project}, d.news(branchOf{e.Project, e.Branch})
	}
	return tenant.Scope{}, false
}

// branchOf is a branch of a project.
type branchOf struct {
	project change.Project
	branch  string
}

// news tells whether the forge was not yet asked, since there is the present layout, for a branch that the layout does
// not know: one that the forge does not show would be asked for with each event.
func (d *desk) news(b branchOf) bool {
	if d.asked[b] == d.layout.ID {
		return false
	}
	if d.asked == nil || len(d.asked) > 1000 {
		d.asked = map[branchOf]string{}
	}
	d.asked[b] = d.layout.ID
	return true
}

// handle finds the pipelines that an event concerns, and gives each what it must know.
func (d *desk) handle(ctx context.Context, e *event.Event) ([]kv.Op, error) {
	if !d.layout.Has(e.Project) && e.Driver != "zuul" {
		return nil, nil
	}
	if e.Type == event.ProjectChangeMerged && e.Change != nil {
		return d.merged(ctx, e)
	}
	c, err := read(ctx, d.Forges, e)
	if err != nil {
		return nil, err
	}
	targets, matched, err := d.targets(ctx, e, c)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, nil
	}
	d.log.Info("event", "event", e.ID, "type", e.Type, "project", e.Project.Name, "change", id(c), "pipelines", targets)
	var ops []kv.Op
	in := &pipeline.Trigger{Event: *e}
	if c != nil {
		in.Key = c.Key()
		cl := d.closure()
		if err := cl.add(ctx, c); err != nil {
			return nil, err
		}
		if in.Changes, err = cl.run(ctx); err != nil {
			return nil, err
		}
		if cl.tooMany(c) {
			d.log.Warn("an event is left alone: its change stands on more others than the connection looks at",
				"event", e.ID, "project", e.Project.Name, "change", c.ID())
			return nil, nil
		}
	}
	for _, name := range targets {
		one := *in
		one.Match = matched[name]
		more, err := d.Store.InputOps(ctx, d.tenant, name, &one)
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	return ops, nil
}

// targets are the pipelines that must know of an event: those of which a trigger matched, and those that
// have something to do with its change. What the forge says of that may be otherwise now (a vote was taken
// back), and an older patch set of it must go.
func (d *desk) targets(ctx context.Context, e *event.Event, c *change.Change) (targets []string, matched map[string]bool, err error) {
	matched = map[string]bool{}
	for _, name := range d.layout.Match(e, c, time.Now()) {
		matched[name] = true
	}
	tells := e.PatchsetCreated() || e.Abandoned() || e.MessageChanged
	for _, name := range d.record.Pipelines {
		ok := matched[name] || tells
		if !ok && c != nil && c.IsChange() {
			if ok, err = d.Store.Concerns(ctx, d.tenant, name, c.Key()); err != nil {
				return nil, nil, err
			}
		}
		if ok {
			targets = append(targets, name)
		}
	}
	return targets, matched, nil
}

func (d *desk) closure() *closure {
	return newClosure(d.Forges, d.layout.ByTopic)
}

// merged makes, of the news that a pipeline merged a change, the project-change-merged events for the open
// changes of the project: each must be looked at on the new head.
func (d *desk) merged(ctx context.Context, e *event.Event) ([]kv.Op, error) {
	f, ok := d.Forges.For(e.Project.Connection).(forge.Opener)
	if !ok {
		return nil, nil
	}
	open, err := f.OpenChanges(ctx, e.Project)
	if err != nil {
		return nil, fmt.Errorf("list the open changes of %s: %w", e.Project, err)
	}
	var out []event.Event
	for _, c := range open {
		out = append(out, event.Event{
			ID: e.ID, Connection: "zuul", Driver: "zuul", Type: e.Type, Project: c.Project,
			Number: c.Number, Patchset: c.Patchset, Branch: c.Branch, Ref: c.Ref, At: e.At, Received: e.Received,
		})
	}
	return d.Store.EventOps(ctx, d.tenant, out...)
}

func id(c *change.Change) string {
	if c == nil {
		return ""
	}
	return c.ID()
}
