package history

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// ServeConfig is what Serve needs.
type ServeConfig struct {
	DB      *DB
	Store   *store.Store
	Session *kv.Session
	ID      string
	Log     *slog.Logger
}

// Serve writes what pipelines record and answers what they ask of the past, until ctx ends or the session
// is lost. While the database does not answer, the requests wait in the store: nothing is lost.
func Serve(ctx context.Context, c ServeConfig) error {
	g, ctx := errgroup.WithContext(ctx)
	serve := func(kind string, handle func(context.Context, *store.Task) error) {
		g.Go(func() error {
			return store.Serve(ctx, c.Store, store.ServeConfig{
				Kind: kind, Session: c.Session, Owner: c.ID, Log: c.Log,
				Slots: func(busy int) int { return 4 - busy },
			}, handle)
		})
	}
	serve(store.KindRecord, func(ctx context.Context, t *store.Task) error {
		var r pipeline.Record
		if err := t.Decode(ctx, &r); err != nil {
			return err
		}
		if err := c.DB.Record(ctx, &r); err != nil {
			return err
		}
		return t.Done(ctx)
	})
	serve(store.KindArtifacts, func(ctx context.Context, t *store.Task) error {
		var q pipeline.FindArtifacts
		if err := t.Decode(ctx, &q); err != nil {
			return err
		}
		if err := t.After(ctx, store.KindRecord); err != nil { // what ended before the question is part of the past
			return err
		}
		out, err := c.DB.Answer(ctx, t.Request.Tenant, t.Request.Pipeline, &q)
		if err != nil {
			return err
		}
		return t.Done(ctx, out)
	})
	serve(store.KindEstimates, func(ctx context.Context, t *store.Task) error {
		found, err := c.DB.Estimates(ctx, t.Request.Tenant, t.Request.Pipeline, "")
		if err != nil {
			return err
		}
		jobs := make(map[string]time.Duration, len(found))
		for name, e := range found {
			jobs[name] = e.Median.Round(time.Millisecond)
		}
		return t.Done(ctx, &pipeline.Estimated{Jobs: jobs})
	})
	return g.Wait()
}
