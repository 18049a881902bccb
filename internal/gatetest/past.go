package gatetest

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// past keeps what pipelines record. A database is made of it only when somebody asks: most stories never
// do, and making one takes longer than they do.
type past struct {
	dir string

	mu      sync.Mutex
	records []pipeline.Record
	db      *history.DB
}

func (p *past) serve(ctx context.Context, s *store.Store, ses *kv.Session, log *slog.Logger) error {
	g, ctx := errgroup.WithContext(ctx)
	for kind, handle := range map[string]func(context.Context, *store.Task) error{store.KindRecord: p.record, store.KindArtifacts: p.artifacts} {
		g.Go(func() error {
			return store.Serve(ctx, s, store.ServeConfig{Kind: kind, Session: ses, Owner: "history", Log: log,
				Slots: func(busy int) int { return 1 - busy }}, handle)
		})
	}
	return g.Wait()
}

func (p *past) record(ctx context.Context, t *store.Task) error {
	var r pipeline.Record
	if err := t.Decode(ctx, &r); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, r)
	return t.Done(ctx)
}

func (p *past) artifacts(ctx context.Context, t *store.Task) error {
	var q pipeline.FindArtifacts
	if err := t.Decode(ctx, &q); err != nil {
		return err
	}
	if err := t.After(ctx, store.KindRecord); err != nil { // what ended before the question is part of the past
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.write(ctx); err != nil {
		return err
	}
	out, err := p.db.Answer(ctx, t.Request.Tenant, t.Request.Pipeline, &q)
	if err != nil {
		return err
	}
	return t.Done(ctx, out)
}

// write brings the database up to date.
func (p *past) write(ctx context.Context) error {
	if p.db == nil {
		db, err := history.Open(ctx, history.Config{URL: filepath.Join(p.dir, "history.db")})
		if err != nil {
			return err
		}
		p.db = db
	}
	for len(p.records) > 0 {
		if err := p.db.Record(ctx, &p.records[0]); err != nil {
			return err
		}
		p.records = p.records[1:]
	}
	return nil
}

func (p *past) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db == nil {
		return nil
	}
	return p.db.Close()
}
