package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

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

// commit writes ops, however many they are, and shared atomically under the fence and further compares.
// redoKey is where the redo record of this piece of work goes: of a large commit, ops may become visible
// later than shared, which are few and which others write, too. ErrFenced where the fence does not hold,
// ErrConflict where a further compare does not.
func (s *Store) commit(ctx context.Context, f Fence, redoKey string, ops []kv.Op, cmps []kv.Cmp, shared []kv.Op) (rev int64, err error) {
	if all := slices.Concat(shared, ops); len(all) == 0 {
		return 0, nil
	} else if small(all) {
		return s.guarded(ctx, f, cmps, all)
	}
	name, err := s.PutJSON(ctx, ops)
	if err != nil {
		return 0, fmt.Errorf("write a large commit: %w", err)
	}
	if rev, err = s.guarded(ctx, f, append(cmps, kv.Missing(redoKey)), slices.Concat(shared, []kv.Op{kv.Put(redoKey, encode(redo{name}))})); err != nil {
		return 0, err
	}
	return rev, s.finish(ctx, f, redoKey)
}

func small(ops []kv.Op) bool {
	n := 0
	for _, o := range ops {
		n += len(o.Key) + len(o.Value)
	}
	return len(ops) <= redoOps && n <= redoBytes
}

func (s *Store) guarded(ctx context.Context, f Fence, cmps []kv.Cmp, ops []kv.Op) (rev int64, err error) {
	ok, rev, err := s.kv.Commit(ctx, kv.Txn{If: append(f.cmps(), cmps...), Then: ops})
	if err != nil || ok {
		return rev, err
	}
	if f.Key != "" {
		e, found, err := kv.Get(ctx, s.kv, f.Key)
		if err != nil {
			return 0, err
		}
		if !found || e.Create != f.Rev {
			return 0, ErrFenced
		}
	}
	return 0, ErrConflict
}

// WriteIf is Write under further compares: ErrConflict where one of them does not hold.
func (s *Store) WriteIf(ctx context.Context, f Fence, cmps []kv.Cmp, ops ...kv.Op) (rev int64, err error) {
	return s.guarded(ctx, f, cmps, ops)
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
		// Only while the record is there: a piece that is late must not undo what came after it.
		if _, err := s.guarded(ctx, f, []kv.Cmp{kv.Created(redoKey, e.Create)}, ops[:n]); err != nil {
			return fmt.Errorf("apply a large commit: %w", err)
		}
		ops = ops[n:]
	}
	_, err = s.guarded(ctx, f, []kv.Cmp{kv.Created(redoKey, e.Create)}, []kv.Op{kv.Delete(redoKey)})
	return err
}
