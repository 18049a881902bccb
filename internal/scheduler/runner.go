package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// batch bounds how many inputs are stepped before their outcome is committed: enough that a busy
// pipeline pays one write for many inputs, few enough that a commit stays small.
const batch = 64

// runner owns one pipeline: it takes inputs from the inbox in order, steps, and commits state, effects
// and the consumption of the inputs in one fenced transaction.
type runner struct {
	s            *store.Store
	log          *slog.Logger
	tenant, name string
	fence        store.Fence
	// neighbours lists the other pipelines of the tenant, or of all tenants, for what goes to all of them.
	neighbours func(ctx context.Context, everywhere bool) ([]address, error)
	// stepped is called after each commit; nil is nothing.
	stepped func(tenant, pipe string, effects []pipeline.Effect)
}

// address is where the inputs of a pipeline go.
type address struct{ tenant, pipeline string }

// run works until ctx ends or the claim is lost. Where the outcome of a write is not known, it reads the
// state again: the inputs that were not consumed are still there.
func (r *runner) run(ctx context.Context) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := r.serve(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrFenced):
			return err
		case errors.Is(err, store.ErrConflict):
			pause = 50 * time.Millisecond
			continue
		}
		r.log.Warn("the pipeline is read again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (r *runner) serve(ctx context.Context) error {
	p, err := r.s.OpenPipeline(ctx, r.fence, r.tenant, r.name)
	if err != nil {
		return err
	}
	in := &inbox{seen: map[string]bool{}, kick: make(chan struct{}, 1)}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.follow(ctx, r.s.KV(), store.InboxPrefix(r.tenant, r.name)) })
	g.Go(func() error {
		for {
			todo := in.take(batch)
			if len(todo) == 0 {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-in.kick:
				}
				continue
			}
			if err := r.process(ctx, p, todo); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// process steps the inputs and commits what came of them.
func (r *runner) process(ctx context.Context, p *store.Pipeline, todo []kv.KV) error {
	sem, revs, err := r.semaphores(ctx, p.State.Tenant.Semaphores)
	if err != nil {
		return err
	}
	before := sem.clone()
	now := time.Now()
	var effects []pipeline.Effect
	var touched []pipeline.ItemID
	var ops []kv.Op
	for _, e := range todo {
		ops = append(ops, kv.Delete(e.Key))
		in, err := r.s.Input(ctx, e)
		if errors.Is(err, store.ErrNotFound) || err != nil && ctx.Err() != nil {
			return err
		}
		if err == nil {
			var eff []pipeline.Effect
			var ids []pipeline.ItemID
			eff, ids, err = r.step(p.State, sem.all, pipeline.Meta{Now: now, Seed: e.Key}, in)
			effects, touched = append(effects, eff...), append(touched, ids...)
			if _, ok := in.(*pipeline.Reconfigure); ok {
				p.Configured()
			}
		}
		if err != nil {
			return r.bury(ctx, e, err)
		}
	}
	handed, rest, err := r.s.EffectOps(ctx, r.tenant, r.name, now, effects)
	if err != nil {
		return err
	}
	ops = append(ops, handed...)
	more, err := r.spread(ctx, rest, sem.global)
	if err != nil {
		return err
	}
	ops = append(ops, more...)
	semOps, cmps := sem.diff(before, revs, r.tenant)
	ops = append(ops, semOps...)
	if err := p.Commit(ctx, touched, cmps, lastWins(ops)); err != nil {
		return err
	}
	if r.stepped != nil {
		r.stepped(r.tenant, r.name, effects)
	}
	return nil
}

// step runs the core; a panic there is a defect of this program, which one input must not turn into a
// pipeline that stands still: the input is put aside and the state read again.
func (r *runner) step(st *pipeline.State, sem *pipeline.Semaphores, m pipeline.Meta, in pipeline.Input) (eff []pipeline.Effect, ids []pipeline.ItemID, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("step %T: panic: %v\n%s", in, x, debug.Stack())
		}
	}()
	eff, ids = pipeline.Step(st, sem, m, in)
	return eff, ids, nil
}

// bury sets an input aside that cannot be processed, so that nothing is lost and the rest goes on.
func (r *runner) bury(ctx context.Context, e kv.KV, cause error) error {
	r.log.Error("an input is set aside, because it cannot be processed", "key", e.Key, "error", cause)
	if _, err := r.s.Write(ctx, r.fence, kv.Delete(e.Key), kv.Put("/dead"+e.Key, e.Value)); err != nil {
		return err
	}
	return fmt.Errorf("input %s was set aside: %w", e.Key, store.ErrConflict)
}

// spread turns effects that concern the tenant and its other pipelines into writes.
func (r *runner) spread(ctx context.Context, rest []pipeline.Effect, global map[string]bool) ([]kv.Op, error) {
	var ops []kv.Op
	wake, everywhere := false, false
	for _, e := range rest {
		var more []kv.Op
		var err error
		switch e := e.(type) {
		case *pipeline.Emit:
			more, err = r.s.EventOps(ctx, r.tenant, e.Event)
		case *pipeline.Supersede:
			for _, name := range e.Pipelines {
				o, ierr := r.s.InputOps(ctx, r.tenant, name, &pipeline.Dequeue{Key: e.Key, Superseded: true})
				more, err = append(more, o...), errors.Join(err, ierr)
			}
		case *pipeline.Released:
			wake = true
			everywhere = everywhere || slices.ContainsFunc(e.Semaphores, func(n string) bool { return global[n] })
		default:
			err = fmt.Errorf("nobody carries out %T", e)
		}
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	if !wake {
		return ops, nil
	}
	list, err := r.neighbours(ctx, everywhere)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		more, err := r.s.InputOps(ctx, a.tenant, a.pipeline, &pipeline.Wake{})
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	return ops, nil
}

// lastWins keeps the last write of each key, since a transaction may write a key once only.
func lastWins(ops []kv.Op) []kv.Op {
	last := map[string]int{}
	for i, o := range ops {
		last[o.Key] = i
	}
	if len(last) == len(ops) {
		return ops
	}
	out := ops[:0:0]
	for i, o := range ops {
		if last[o.Key] == i {
			out = append(out, o)
		}
	}
	return out
}

// inbox collects what waits below a prefix, in order of creation.
type inbox struct {
	mu      sync.Mutex
	waiting []kv.KV
	seen    map[string]bool // taken or waiting, until its deletion is seen
	kick    chan struct{}
}

func (b *inbox) follow(ctx context.Context, s kv.Store, prefix string) error {
	return kv.Follow(ctx, s, prefix, func(r *kv.Result) error {
		b.add(r.KVs...)
		return nil
	}, func(batch kv.Batch) error {
		for _, c := range batch.Changes {
			if c.Deleted {
				b.forget(c.Key)
			} else {
				b.add(c.KV)
			}
		}
		return nil
	})
}

func (b *inbox) add(es ...kv.KV) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range es {
		if !b.seen[e.Key] {
			b.seen[e.Key] = true
			b.waiting = append(b.waiting, e)
		}
	}
	// Keys of one transaction share the revision and are made to sort in order.
	slices.SortStableFunc(b.waiting, func(x, y kv.KV) int {
		return cmp.Or(cmp.Compare(x.Create, y.Create), cmp.Compare(x.Key, y.Key))
	})
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *inbox) forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.seen, key)
	b.waiting = slices.DeleteFunc(b.waiting, func(e kv.KV) bool { return e.Key == key })
}

// take gives up to n of what waits.
func (b *inbox) take(n int) []kv.KV {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.waiting))
	out := slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n)
	return out
}
