package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// What follows is work that any scheduler can do for any pipeline, whoever owns it: it only reads, and its
// outcome is an input.

func (s *Scheduler) serve(ctx context.Context, kind string, atOnce int, handle func(context.Context, *store.Task) error) error {
	if s.AtOnce > 0 {
		atOnce = s.AtOnce
	}
	return store.Serve(ctx, s.Store, store.ServeConfig{
		Kind: kind, Session: s.Session, Owner: s.ID, Log: s.Log,
		Slots: func(busy int) int { return atOnce - busy },
	}, handle)
}

// serveConfigure makes layouts and freezes job graphs: work for the processor, so as many at once as there
// are cores to spare would be too many.
func (s *Scheduler) serveConfigure(ctx context.Context) error {
	return s.serve(ctx, store.KindConfigure, 2, func(ctx context.Context, t *store.Task) error {
		var req pipeline.Configure
		if err := t.Decode(ctx, &req); err != nil {
			return err
		}
		out, err := s.Tenants.Configure(ctx, t.Request.Tenant, t.Request.Pipeline, &req)
		if err != nil {
			return fmt.Errorf("configure item %s: %w", req.Item, err)
		}
		return t.Done(ctx, out)
	})
}

// serveRefetch asks the forges again about changes.
func (s *Scheduler) serveRefetch(ctx context.Context) error {
	return s.serve(ctx, store.KindRefetch, 8, func(ctx context.Context, t *store.Task) error {
		var req pipeline.Refetch
		if err := t.Decode(ctx, &req); err != nil {
			return err
		}
		all, err := s.read(ctx, t.Request.Tenant, req.Keys)
		if err != nil {
			return err
		}
		return t.Done(ctx, &pipeline.Refresh{Changes: all, Token: req.Token})
	})
}

// serveRequeue enqueues changes anew, each as the forge tells it now.
func (s *Scheduler) serveRequeue(ctx context.Context) error {
	return s.serve(ctx, store.KindRequeue, 8, func(ctx context.Context, t *store.Task) error {
		var req pipeline.Requeue
		if err := t.Decode(ctx, &req); err != nil {
			return err
		}
		all, err := s.read(ctx, t.Request.Tenant, req.Keys)
		if err != nil {
			return err
		}
		in := make([]pipeline.Input, len(req.Keys))
		for i, k := range req.Keys {
			in[i] = &pipeline.Enqueue{Key: k, Event: req.Event, Force: req.Force}
		}
		if len(in) > 0 {
			in[0].(*pipeline.Enqueue).Changes = all
		}
		return t.Done(ctx, in...)
	})
}

// read reads changes with everything that they depend on; what is gone from its forge is left out.
func (s *Scheduler) read(ctx context.Context, tenant string, keys []change.Key) ([]*change.Change, error) {
	l, err := s.Tenants.Current(ctx, tenant)
	if err != nil {
		return nil, err
	}
	cl := newClosure(s.Forges, l.ByTopic)
	for _, k := range keys {
		c, err := s.Forges.Read(ctx, k)
		if errors.Is(err, forge.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := cl.add(ctx, c); err != nil {
			return nil, err
		}
	}
	return cl.run(ctx)
}
