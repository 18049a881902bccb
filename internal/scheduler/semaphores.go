package scheduler

import (
	"context"
	"reflect"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// semaphores is what a step sees of the tenant's and the global semaphores as one, and how to write them
// back as two.
type semaphores struct {
	all    *pipeline.Semaphores
	global map[string]bool
}

// revisions are those of the two records, for the compares.
type revisions struct{ tenant, global int64 }

func (r *Runner) semaphores(ctx context.Context, defined map[string]pipeline.Semaphore) (*semaphores, revisions, error) {
	own, rev, err := r.cache.read(ctx, r.Store, r.Tenant)
	if err != nil {
		return nil, revisions{}, err
	}
	shared, grev, err := r.cache.read(ctx, r.Store, "")
	if err != nil {
		return nil, revisions{}, err
	}
	s := &semaphores{all: own, global: map[string]bool{}}
	for name, d := range defined {
		s.global[name] = d.Global
	}
	for name, hs := range shared.Holders {
		s.global[name] = true
		own.Holders[name] = hs
	}
	return s, revisions{rev, grev}, nil
}

func (s *semaphores) clone() *pipeline.Semaphores {
	c := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}}
	for name, hs := range s.all.Holders {
		c.Holders[name] = slices.Clone(hs)
	}
	for name, l := range s.all.Locks {
		d := &pipeline.LockState{Waiting: slices.Clone(l.Waiting), Past: slices.Clone(l.Past)}
		if l.Holder != nil {
			h := *l.Holder
			d.Holder = &h
		}
		if c.Locks == nil {
			c.Locks = map[string]*pipeline.LockState{}
		}
		c.Locks[name] = d
	}
	return c
}

// diff gives the writes for what changed since before, and the compares that make them safe: a record
// that is written must be as it was read.
func (s *semaphores) diff(before *pipeline.Semaphores, revs revisions, tenant string) (ops []kv.Op, cmps []kv.Cmp) {
	own := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}, Locks: s.all.Locks}
	shared := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}}
	ownChanged, sharedChanged := !sameLocks(s.all.Locks, before.Locks), false
	names := map[string]bool{}
	for n := range before.Holders {
		names[n] = true
	}
	for n := range s.all.Holders {
		names[n] = true
	}
	for n := range names {
		hs := s.all.Holders[n]
		changed := len(hs) != len(before.Holders[n]) || (len(hs) > 0 && !reflect.DeepEqual(hs, before.Holders[n]))
		into := own
		if s.global[n] {
			into, sharedChanged = shared, sharedChanged || changed
		} else {
			ownChanged = ownChanged || changed
		}
		if len(hs) > 0 {
			into.Holders[n] = hs
		}
	}
	if ownChanged {
		ops = append(ops, store.SemaphoreOp(tenant, own))
		cmps = append(cmps, kv.Unchanged(store.SemaphoreKey(tenant), revs.tenant))
	}
	if sharedChanged {
		ops = append(ops, store.SemaphoreOp("", shared))
		cmps = append(cmps, kv.Unchanged(store.SemaphoreKey(""), revs.global))
	}
	return ops, cmps
}

func sameLocks(a, b map[string]*pipeline.LockState) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

// semaphoreCache keeps the two records as the store tells of them, so that a batch of inputs costs no read.
// It may be behind: what is written is compared, and after news that a semaphore became free, or a write of
// our own, the records are read. A nil cache knows nothing.
type semaphoreCache struct {
	mu    sync.Mutex
	known map[string]kv.KV // by key; Mod 0: there is no such record
}

func newSemaphoreCache() *semaphoreCache { return &semaphoreCache{known: map[string]kv.KV{}} }

// follow keeps what is known up to date.
func (c *semaphoreCache) follow(ctx context.Context, s *store.Store, tenant string) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, key := range []string{store.SemaphoreKey(tenant), store.SemaphoreKey("")} {
		g.Go(func() error {
			return kv.Follow(ctx, s.KV(), key, func(*kv.Result) error { return nil }, func(b kv.Batch) error {
				for _, ch := range b.Changes {
					c.note(ch.KV)
				}
				return nil
			})
		})
	}
	return g.Wait()
}

func (c *semaphoreCache) note(e kv.KV) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.known[e.Key]; ok && e.Mod > have.Mod {
		c.known[e.Key] = e
	}
}

// drop forgets everything, so that it is read.
func (c *semaphoreCache) drop() {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		clear(c.known)
	}
}

func (c *semaphoreCache) read(ctx context.Context, s *store.Store, tenant string) (*pipeline.Semaphores, int64, error) {
	key := store.SemaphoreKey(tenant)
	if c != nil {
		c.mu.Lock()
		e, ok := c.known[key]
		c.mu.Unlock()
		if ok {
			sem, err := store.DecodeSemaphores(e)
			return sem, e.Mod, err
		}
	}
	e, _, err := kv.Get(ctx, s.KV(), key)
	if err != nil {
		return nil, 0, err
	}
	if c != nil {
		e.Key = key // also of a record that is not there
		c.mu.Lock()
		c.known[key] = e
		c.mu.Unlock()
	}
	sem, err := store.DecodeSemaphores(e)
	return sem, e.Mod, err
}
