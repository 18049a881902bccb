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
		got, err := s.change(ctx, h.Tenant, func(own, global *pipeline.Semaphores) bool {
			for _, n := range names {
				d, ok := defined[n]
				if !ok {
					d.Max = 1
				}
				if len(in(own, global, d).Holders[n]) >= d.Max {
					return false
				}
			}
			for _, n := range names {
				h.Since = time.Now()
				r := in(own, global, defined[n])
				r.Holders[n] = append(r.Holders[n], h)
			}
			return true
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
	everywhere := false
	_, err := s.change(ctx, h.Tenant, func(own, global *pipeline.Semaphores) bool {
		everywhere = slices.ContainsFunc(names, func(n string) bool { return len(global.Holders[n]) > 0 })
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
		return true
	})
	if err != nil {
		return
	}
	tenant := h.Tenant
	if everywhere {
		tenant = ""
	}
	all, err := s.Store.PipelinesOf(ctx, tenant)
	if err != nil {
		return // they look again at their next input
	}
	for t, pipes := range all {
		for _, p := range pipes {
			if ops, err := s.Store.InputOps(ctx, t, p, &pipeline.Wake{}); err == nil {
				_, _ = s.Store.Write(ctx, store.Fence{}, ops...)
			}
		}
	}
}

// change does f to the records and writes those that it altered as one, again and again while others write to
// these; false from f writes nothing. What f decides by, it alters.
func (s StoreSemaphores) change(ctx context.Context, tenant string, f func(own, global *pipeline.Semaphores) bool) (bool, error) {
	for {
		own, rev, err := s.Store.Semaphores(ctx, tenant)
		if err != nil {
			return false, err
		}
		global, grev, err := s.Store.Semaphores(ctx, "")
		if err != nil {
			return false, err
		}
		was := []kv.Op{store.SemaphoreOp(tenant, own), store.SemaphoreOp("", global)}
		if !f(own, global) {
			return false, nil
		}
		var cmps []kv.Cmp
		var ops []kv.Op
		for i, op := range []kv.Op{store.SemaphoreOp(tenant, own), store.SemaphoreOp("", global)} {
			if !bytes.Equal(op.Value, was[i].Value) {
				cmps, ops = append(cmps, kv.Unchanged(op.Key, []int64{rev, grev}[i])), append(ops, op)
			}
		}
		if len(ops) == 0 {
			return true, nil
		}
		_, err = s.Store.WriteIf(ctx, store.Fence{}, cmps, ops...)
		if !errors.Is(err, store.ErrConflict) {
			if err != nil {
				err = fmt.Errorf("write the semaphores of %q: %w", tenant, err)
			}
			return err == nil, err
		}
	}
}
