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

// Runner owns one pipeline: it takes inputs from the inbox in order, steps, and commits state, effects
// and the consumption of the inputs in one fenced transaction. It belongs to one goroutine.
type Runner struct {
	Store        *store.Store
	Log          *slog.Logger
	Tenant, Name string
	// Fence is the claim under which the pipeline is owned.
	Fence store.Fence
	// Others lists all pipelines that must look again when a semaphore becomes free: those of the tenant,
	// or, for a global semaphore, of all tenants.
	Others func(ctx context.Context, global bool) ([]Place, error)
	// Stepped is called after each commit; nil is nothing.
	Stepped func(tenant, pipe string, effects []pipeline.Effect)
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	p     *store.Pipeline
	cache *semaphoreCache // nil: always read
}

// Place names a pipeline.
type Place struct{ Tenant, Pipeline string }

// Run works until ctx ends or the claim is lost. Where the outcome of a write is not known, it reads the
// state again: the inputs that were not consumed are still there.
func (r *Runner) Run(ctx context.Context) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		began := time.Now()
		err := r.serve(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrFenced):
			return err
		case errors.Is(err, store.ErrConflict):
			pause = 25 * time.Millisecond
			continue
		case time.Since(began) > time.Minute:
			pause = 50 * time.Millisecond
		}
		r.Log.Warn("the pipeline is read again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (r *Runner) serve(ctx context.Context) error {
	if err := r.Open(ctx); err != nil {
		return err
	}
	in := &inbox{seen: map[string]bool{}, kick: make(chan struct{}, 1)}
	r.cache = newSemaphoreCache()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.follow(ctx, r.Store.KV(), store.InboxPrefix(r.Tenant, r.Name)) })
	g.Go(func() error { return r.cache.follow(ctx, r.Store, r.Tenant) })
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
			if err := r.Process(ctx, todo); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// Open reads the pipeline as it is written down.
func (r *Runner) Open(ctx context.Context) (err error) {
	r.p, err = r.Store.OpenPipeline(ctx, r.Fence, r.Tenant, r.Name)
	return err
}

// Remember has a runner that does not Run remember what it read of semaphores, as one that does; Heard tells it of a
// change to them, however late.
func (r *Runner) Remember() { r.cache = newSemaphoreCache() }

// Heard tells of a record of semaphores as it was at some time.
func (r *Runner) Heard(e kv.KV) {
	if r.cache != nil {
		r.cache.note(e)
	}
}

// Process steps the inputs, which are entries of the pipeline's inbox in their order, and commits what
// came of them. After an error the pipeline must be opened again.
func (r *Runner) Process(ctx context.Context, todo []kv.KV) error {
	inputs := make([]pipeline.Input, len(todo))
	var ops []kv.Op
	for i, e := range todo {
		in, err := r.Store.Input(ctx, e)
		if errors.Is(err, store.ErrUnreadable) {
			return r.bury(ctx, e, err)
		}
		if err != nil {
			return err
		}
		if _, ok := in.(*pipeline.Wake); ok {
			r.cache.drop()
		}
		inputs[i] = in
		ops = append(ops, kv.Delete(e.Key))
	}
	sem, revs, err := r.semaphores(ctx, r.p.State.Tenant.Semaphores)
	if err != nil {
		return err
	}
	before := sem.clone()
	now := time.Now()
	if r.Now != nil {
		now = r.Now()
	}
	var effects []pipeline.Effect
	var touched []pipeline.ItemID
	for i, in := range inputs {
		eff, ids, err := r.step(r.p.State, sem.all, pipeline.Meta{Now: now, Seed: todo[i].Key}, in)
		if err != nil {
			return r.bury(ctx, todo[i], err)
		}
		effects, touched = append(effects, eff...), append(touched, ids...)
		if _, ok := in.(*pipeline.Reconfigure); ok {
			r.p.Configured()
		}
	}
	handed, rest, err := r.Store.EffectOps(ctx, r.Tenant, r.Name, now, effects)
	if err != nil {
		return err
	}
	more, err := r.spread(ctx, rest, sem.global)
	if err != nil {
		return err
	}
	ops = append(append(ops, handed...), more...)
	shared, cmps := sem.diff(before, revs, r.Tenant)
	if len(shared) > 0 {
		r.cache.drop()
	}
	if err := r.p.Commit(ctx, touched, lastWins(ops), cmps, shared); err != nil {
		return err
	}
	if r.Stepped != nil {
		r.Stepped(r.Tenant, r.Name, effects)
	}
	return nil
}

// step runs the core; a panic there is a defect of this program, which one input must not turn into a
// pipeline that stands still: the input is put aside and the state read again.
func (r *Runner) step(st *pipeline.State, sem *pipeline.Semaphores, m pipeline.Meta, in pipeline.Input) (eff []pipeline.Effect, ids []pipeline.ItemID, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("step %T: panic: %v\n%s", in, x, debug.Stack())
		}
	}()
	eff, ids = pipeline.Step(st, sem, m, in)
	return eff, ids, nil
}

// bury sets an input aside that cannot be processed, so that nothing is lost and the rest goes on.
func (r *Runner) bury(ctx context.Context, e kv.KV, cause error) error {
	r.Log.Error("an input is set aside, because it cannot be processed", "key", e.Key, "error", cause)
	if _, err := r.Store.WriteIf(ctx, r.Fence, []kv.Cmp{kv.Created(e.Key, e.Create)}, kv.Delete(e.Key), kv.Put("/dead"+e.Key, e.Value)); err != nil {
		return err
	}
	return fmt.Errorf("input %s was set aside: %w", e.Key, store.ErrConflict)
}

// spread turns effects that concern the tenant and its other pipelines into writes.
func (r *Runner) spread(ctx context.Context, rest []pipeline.Effect, global map[string]bool) ([]kv.Op, error) {
	var ops []kv.Op
	var released []string
	for _, e := range rest {
		var more []kv.Op
		var err error
		switch e := e.(type) {
		case *pipeline.Emit:
			more, err = r.Store.EventOps(ctx, r.Tenant, e.Event)
		case *pipeline.Supersede:
			for _, name := range e.Pipelines {
				o, ierr := r.Store.InputOps(ctx, r.Tenant, name, &pipeline.Dequeue{Key: e.Key, Superseded: true})
				more, err = append(more, o...), errors.Join(err, ierr)
			}
		case *pipeline.Released:
			released = append(released, e.Semaphores...)
		default:
			err = fmt.Errorf("nobody carries out %T", e)
		}
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	more, err := r.wake(ctx, released, global)
	return append(ops, more...), err
}

// wake has all pipelines look again that may wait for semaphores that became free.
func (r *Runner) wake(ctx context.Context, released []string, global map[string]bool) ([]kv.Op, error) {
	if len(released) == 0 {
		return nil, nil
	}
	var ops []kv.Op
	anywhere := slices.ContainsFunc(released, func(n string) bool { return global[n] })
	all, err := r.Others(ctx, anywhere)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if o == (Place{r.Tenant, r.Name}) {
			continue
		}
		more, err := r.Store.InputOps(ctx, o.Tenant, o.Pipeline, &pipeline.Wake{})
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
