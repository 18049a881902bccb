package scheduler

import (
	"context"
	"reflect"
	"slices"

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

func (r *runner) semaphores(ctx context.Context, defined map[string]pipeline.Semaphore) (*semaphores, revisions, error) {
	own, rev, err := r.s.Semaphores(ctx, r.tenant)
	if err != nil {
		return nil, revisions{}, err
	}
	shared, grev, err := r.s.Semaphores(ctx, "")
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
	return c
}

// diff gives the writes for what changed since before, and the compares that make them safe: a record
// that is written must be as it was read.
func (s *semaphores) diff(before *pipeline.Semaphores, revs revisions, tenant string) (ops []kv.Op, cmps []kv.Cmp) {
	own, shared := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}}, &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}}
	var ownChanged, sharedChanged bool
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
