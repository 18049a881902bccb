package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// StoreSemaphores are the semaphores of the tenants, which playbooks share with jobs. What a playbook
// holds is let go when it ends or, where its executor is gone, with its build by the pipeline.
type StoreSemaphores struct {
	Store *store.Store
	// Poll is how often a semaphore that is taken is looked at again; 0 is a second.
	Poll time.Duration
}

var _ Semaphores = StoreSemaphores{}

// Acquire waits until all of the names can be had at once.
func (s StoreSemaphores) Acquire(ctx context.Context, h pipeline.Holder, defined map[string]pipeline.Semaphore, names []string) (func(), error) {
	poll := s.Poll
	if poll == 0 {
		poll = time.Second
	}
	for {
		got, err := s.change(ctx, h.Tenant, func(own, global *pipeline.Semaphores) ([]kv.Op, bool) {
			for _, n := range names {
				d, ok := defined[n]
				if !ok {
					d.Max = 1
				}
				if len(in(own, global, d).Holders[n]) >= d.Max {
					return nil, false
				}
			}
			for _, n := range names {
				h.Since = time.Now()
				r := in(own, global, defined[n])
				r.Holders[n] = append(r.Holders[n], h)
			}
			return nil, true
		})
		if err != nil {
			return nil, err
		}
		if got {
			return sync.OnceFunc(func() { s.release(context.WithoutCancel(ctx), h, names) }), nil
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func in(own, global *pipeline.Semaphores, d pipeline.Semaphore) *pipeline.Semaphores {
	if d.Global {
		return global
	}
	return own
}

// release lets go, and has the pipelines look again that may wait: the tenant's, and every tenant's where it
// was a global semaphore. Where the store cannot be reached for long, the pipeline lets go when the build has
// ended.
func (s StoreSemaphores) release(ctx context.Context, h pipeline.Holder, names []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	wakes := s.wakes(ctx, h.Tenant)
	everywhere := false
	_, err := s.change(ctx, h.Tenant, func(own, global *pipeline.Semaphores) ([]kv.Op, bool) {
		if !everywhere && slices.ContainsFunc(names, func(n string) bool { return len(global.Holders[n]) > 0 }) {
			everywhere, wakes = true, s.wakes(ctx, "")
		}
		for _, r := range []*pipeline.Semaphores{own, global} {
			for _, n := range names {
				r.Holders[n] = slices.DeleteFunc(r.Holders[n], func(x pipeline.Holder) bool {
					return x.Tenant == h.Tenant && x.Buildset == h.Buildset && x.Job == h.Job
				})
				if len(r.Holders[n]) == 0 {
					delete(r.Holders, n)
				}
			}
		}
		return wakes[:min(len(wakes), atOnce)], true
	})
	for more := range slices.Chunk(wakes[min(len(wakes), atOnce):], atOnce) {
		if err == nil {
			_, err = s.Store.Write(ctx, store.Fence{}, more...)
		}
	}
}

// atOnce bounds how many pipelines are woken in one transaction.
const atOnce = kv.MaxOps / 2

// wakes are the inputs that have the pipelines of a tenant, or of all tenants, look again. Where it is not known which
// they are, there are none: they look at their next input.
func (s StoreSemaphores) wakes(ctx context.Context, of string) (ops []kv.Op) {
	all, err := tenant.Pipelines(ctx, s.Store, of)
	if err != nil {
		return nil
	}
	for t, pipes := range all {
		for _, p := range pipes {
			if more, err := s.Store.InputOps(ctx, t, p, &pipeline.Wake{}); err == nil {
				ops = append(ops, more...)
			}
		}
	}
	return ops
}

// change does f to the records and writes those that it altered as one, with what f wants to be written beside them,
// again and again while others write to these; false from f writes nothing. What f decides by, it alters.
func (s StoreSemaphores) change(ctx context.Context, of string, f func(own, global *pipeline.Semaphores) (beside []kv.Op, do bool)) (bool, error) {
	for {
		own, rev, err := s.Store.Semaphores(ctx, of)
		if err != nil {
			return false, err
		}
		global, grev, err := s.Store.Semaphores(ctx, "")
		if err != nil {
			return false, err
		}
		was := []kv.Op{store.SemaphoreOp(of, own), store.SemaphoreOp("", global)}
		ops, do := f(own, global)
		if !do {
			return false, nil
		}
		var cmps []kv.Cmp
		for i, op := range []kv.Op{store.SemaphoreOp(of, own), store.SemaphoreOp("", global)} {
			if !bytes.Equal(op.Value, was[i].Value) {
				cmps, ops = append(cmps, kv.Unchanged(op.Key, []int64{rev, grev}[i])), append(ops[:len(ops):len(ops)], op)
			}
		}
		if len(cmps) == 0 {
			return true, nil
		}
		_, err = s.Store.WriteIf(ctx, store.Fence{}, cmps, ops...)
		if !errors.Is(err, store.ErrConflict) {
			if err != nil {
				err = fmt.Errorf("write the semaphores of %q: %w", of, err)
			}
			return err == nil, err
		}
	}
}
