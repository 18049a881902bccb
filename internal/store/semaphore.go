package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// SemaphoreKey is the record of who holds which of a tenant's semaphores; with an empty tenant, of the
// global ones.
func SemaphoreKey(tenant string) string { return "/semaphore/" + seg(tenant) + "/holders" }

// Semaphores reads who holds what in a tenant (empty: the global ones), with the revision to compare.
func (s *Store) Semaphores(ctx context.Context, tenant string) (*pipeline.Semaphores, int64, error) {
	e, _, err := kv.Get(ctx, s.kv, SemaphoreKey(tenant))
	if err != nil {
		return nil, 0, err
	}
	sem, err := DecodeSemaphores(e)
	return sem, e.Mod, err
}

// DecodeSemaphores reads the value of a SemaphoreKey; of one that is not there, that nobody holds anything.
func DecodeSemaphores(e kv.KV) (*pipeline.Semaphores, error) {
	sem := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}}
	if len(e.Value) == 0 {
		return sem, nil
	}
	if err := json.Unmarshal(e.Value, sem); err != nil {
		return nil, fmt.Errorf("decode %s: %w", e.Key, err)
	}
	return sem, nil
}

// SemaphoreOp is the write of a tenant's semaphores, as part of a transaction.
func SemaphoreOp(tenant string, sem *pipeline.Semaphores) kv.Op {
	return kv.Put(SemaphoreKey(tenant), encode(sem))
}
