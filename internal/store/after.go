package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/gozer-ci/gozer/internal/kv"
)

var errServed = errors.New("all were served")

// After waits until every request of another kind that was made before this one, or with it, has been served:
// for a question whose answer depends on what they do.
func (t *Task) After(ctx context.Context, kind string) error {
	left := map[string]bool{}
	check := func() error {
		if len(left) == 0 {
			return errServed
		}
		return nil
	}
	err := kv.Follow(ctx, t.s.kv, RequestPrefix(kind), func(r *kv.Result) error {
		clear(left)
		for _, e := range r.KVs {
			if e.Create <= t.made {
				left[e.Key] = true
			}
		}
		return check()
	}, func(b kv.Batch) error {
		for _, c := range b.Changes {
			if c.Deleted {
				delete(left, c.Key)
			}
		}
		return check()
	})
	if errors.Is(err, errServed) {
		return nil
	}
	return fmt.Errorf("wait for %s requests: %w", kind, err)
}
