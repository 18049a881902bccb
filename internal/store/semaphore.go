package store

import (
	"context"
	"encoding/json"
	"errors"
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
	value := e.Value
	if len(value) == 0 {
		return sem, nil
	}
	if value[0] == packed {
		var err error
		if value, err = coders().dec.DecodeAll(value[1:], nil); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", e.Key, err)
		}
	}
	if err := json.Unmarshal(value, sem); err != nil {
		return nil, fmt.Errorf("decode %s: %w", e.Key, err)
	}
	return sem, nil
}

// changeSemaphores lets fn alter a tenant's semaphores, again while others interfere.
func (s *Store) changeSemaphores(ctx context.Context, tenant string, fn func(*pipeline.Semaphores)) error {
	for try := 0; ; try++ {
		sem, rev, err := s.Semaphores(ctx, tenant)
		if err != nil {
			return err
		}
		fn(sem)
		_, err = s.WriteIf(ctx, Fence{}, []kv.Cmp{kv.Unchanged(SemaphoreKey(tenant), rev)}, SemaphoreOp(tenant, sem))
		if !errors.Is(err, ErrConflict) || try == 50 {
			return err
		}
	}
}

// packed begins a record that is compressed, as it begins a blob.
const packed = 'z'

// SemaphoreOp is the write of a tenant's semaphores, as part of a transaction. Those that would be too large for a
// value, of some thousand holders, are compressed.
func SemaphoreOp(tenant string, sem *pipeline.Semaphores) kv.Op {
	b := encode(sem)
	if len(b) > kv.MaxValue {
		b = coders().enc.EncodeAll(b, []byte{packed})
	}
	return kv.Put(SemaphoreKey(tenant), b)
}
