package scheduler

import (
	"context"
	"time"

	"github.com/gozer-ci/gozer/internal/store"
)

// sweepEvery is how often the store is looked through for what nobody needs any more.
const sweepEvery = 10 * time.Minute

// sweep keeps the store small, and takes it to the next format when everybody can read it. One scheduler does
// it for all, as long as it lives.
func (s *Scheduler) sweep(ctx context.Context) error {
	w := &store.Sweeper{Store: s.Store}
	var mine store.Fence
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if mine.Key == "" {
				return nil
			}
			return s.Store.Disown(ctx, mine)
		case <-tick.C:
		}
		if mine.Key == "" {
			f, ok, err := s.Store.Own(ctx, s.Session, "sweep", s.ID)
			if err != nil || !ok {
				continue
			}
			mine = f
		}
		if raised, err := s.Store.Raise(ctx); err == nil && raised {
			s.Log.Info("the store has a newer format now: every process can read it", "format", store.Format)
		}
		switch out, err := w.Sweep(ctx); {
		case err != nil && ctx.Err() == nil:
			s.Log.Warn("the store is not swept", "error", err)
		case out.Removed > 0:
			s.Log.Info("the store is swept", "removed", out.Removed, "blobs", out.Blobs, "bytes", out.Bytes)
		}
	}
}
