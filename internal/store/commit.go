package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Limits above which a commit is written as a redo record first. They leave room for the compares and
// the record itself below the limits of kv.
const (
	redoOps   = kv.MaxOps - 16
	redoBytes = kv.MaxTxn - 256<<10
)

// redo is a commit too large for one transaction: decided as a whole when this record is written, then
// applied in pieces. Whoever owns the work applies it before anything else.
type redo struct {
	Blob string `json:"blob"`
}

// commit writes ops atomically under the fence and further compares, however many they are. redoKey is
// where the redo record of this piece of work goes. ErrFenced where the fence does not hold, ErrConflict
// where a further compare does not.
func (s *Store) commit(ctx context.Context, f Fence, redoKey string, cmps []kv.Cmp, ops []kv.Op) error {
	if len(ops) == 0 {
		return nil
	}
	if small(ops) {
		return s.guarded(ctx, f, cmps, ops)
	}
	name, err := s.PutJSON(ctx, ops)
	if err != nil {
		return fmt.Errorf("write a large commit: %w", err)
	}
	if err := s.guarded(ctx, f, append(cmps, kv.Missing(redoKey)), []kv.Op{kv.Put(redoKey, encode(redo{name}))}); err != nil {
		return err
	}
	return s.finish(ctx, f, redoKey)
}

func small(ops []kv.Op) bool {
	n := 0
	for _, o := range ops {
		n += len(o.Key) + len(o.Value)
	}
	return len(ops) <= redoOps && n <= redoBytes
}

func (s *Store) guarded(ctx context.Context, f Fence, cmps []kv.Cmp, ops []kv.Op) error {
	ok, _, err := s.kv.Commit(ctx, kv.Txn{If: append(f.cmps(), cmps...), Then: ops})
	if err != nil || ok {
		return err
	}
	if f.Key != "" {
		e, found, err := kv.Get(ctx, s.kv, f.Key)
		if err != nil {
			return err
		}
		if !found || e.Create != f.Rev {
			return ErrFenced
		}
	}
	return ErrConflict
}

// finish applies a large commit that was decided, if there is one.
func (s *Store) finish(ctx context.Context, f Fence, redoKey string) error {
	e, ok, err := kv.Get(ctx, s.kv, redoKey)
	if err != nil || !ok {
		return err
	}
	var r redo
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return fmt.Errorf("read %s: %w", redoKey, err)
	}
	var ops []kv.Op
	if err := s.JSON(ctx, r.Blob, &ops); err != nil {
		return fmt.Errorf("read %s: %w", redoKey, err)
	}
	for len(ops) > 0 {
		n := len(ops)
		for n > 1 && !small(ops[:n]) {
			n /= 2
		}
		if err := s.guarded(ctx, f, nil, ops[:n]); err != nil {
			return fmt.Errorf("apply a large commit: %w", err)
		}
		ops = ops[n:]
	}
	if err := s.guarded(ctx, f, nil, []kv.Op{kv.Delete(redoKey)}); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}
