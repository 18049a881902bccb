package scheduler

import (
	"context"
	"time"

	"github.com/gozer-ci/gozer/internal/store"
)

const (
	// sweepEvery is how often the store is looked through for what nobody needs any more.
	sweepEvery = 10 * time.Minute
	// raiseEvery is how often it is looked whether everybody can read a newer format.
	raiseEvery = 15 * time.Second
)

// sweep keeps the store small, and takes it to the next format when everybody can read it. One scheduler does
// it for all, as long as it lives.
func (s *Scheduler) sweep(ctx context.Context) error {
	w, swept := &store.Sweeper{Store: s.Store}, time.Now()
	var mine store.Fence
	tick := time.NewTicker(raiseEvery)
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
		if time.Since(swept) < sweepEvery {
			continue
		}
		swept = time.Now()
		switch out, err := w.Sweep(ctx); {
		case err != nil && ctx.Err() == nil:
			s.Log.Warn("the store is not swept", "error", err)
		case out.Removed > 0:
			s.Log.Info("the store is swept", "removed", out.Removed, "blobs", out.Blobs, "bytes", out.Bytes)
		}
	}
}
