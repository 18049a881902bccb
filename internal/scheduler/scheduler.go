// Package scheduler is the worker that makes pipelines move. Any number of schedulers share the work: a
// piece of work (the event queue of a tenant, or one pipeline) belongs to the one that rendezvous hashing
// chooses among those alive, and is claimed with a key under its lease. The owner of a tenant turns events
// into inputs for pipelines; the owner of a pipeline steps the pure core with them, and commits state and
// effects together. What a scheduler decides is in internal/pipeline and internal/layout; here is only
// the carrying out.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// Config is what a Scheduler needs.
type Config struct {
	Store   *store.Store
	Session *kv.Session
	// ID names this scheduler among all; Version is shown to people.
	ID, Version string
	Forges      *forge.Set
	Tenants     *tenant.Service
	Log         *slog.Logger
	// AtOnce bounds the work of each kind that is done for pipelines at once (layouts, reading changes); 0 is a
	// bound of its own for each kind. With 1, it is done in the order in which it was asked for.
	AtOnce int
	// Stepped is told after each commit of a pipeline what came of it; nil is nothing. For measurements.
	Stepped func(tenant, pipe string, effects []pipeline.Effect)
}

// Scheduler is one of those that share the work.
type Scheduler struct {
	Config
	mu    sync.Mutex
	owned map[string]*unit
	kick  chan struct{}
}

// unit is one piece of work that this scheduler holds.
type unit struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// New makes a scheduler; Run makes it work.
func New(c Config) *Scheduler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{Config: c, owned: map[string]*unit{}, kick: make(chan struct{}, 1)}
}

// Run works until ctx ends or the session is lost. Work in progress is finished and given back.
func (s *Scheduler) Run(ctx context.Context) error {
	host, _ := os.Hostname()
	m := store.Member{ID: s.ID, Role: "scheduler", Host: host, Version: s.Version, Started: time.Now(), State: "running"}
	if err := s.Store.Join(ctx, s.Session, m); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Session.Done():
			return kv.ErrSessionLost
		}
	})
	g.Go(func() error { return s.own(ctx) })
	g.Go(func() error { return s.serveConfigure(ctx) })
	g.Go(func() error { return s.serveRefetch(ctx) })
	g.Go(func() error { return s.serveRequeue(ctx) })
	g.Go(func() error { return s.sweep(ctx) })
	return g.Wait()
}

// work names the pieces: "tenant T" and "pipeline T P", each part without spaces.
func work(kind string, parts ...string) string {
	return kind + " " + strings.Join(parts, " ")
}

// own keeps the set of owned work what it should be: it looks again whenever a scheduler comes or goes, a
// claim appears or vanishes, or a tenant gets another set of pipelines.
func (s *Scheduler) own(ctx context.Context) error {
	var mu sync.Mutex
	members, claims := map[string]bool{}, map[string]bool{}
	g, ctx := errgroup.WithContext(ctx)
	follow := func(prefix string, set map[string]bool) {
		g.Go(func() error {
			return kv.Follow(ctx, s.Store.KV(), prefix, func(r *kv.Result) error {
				mu.Lock()
				defer mu.Unlock()
				clear(set)
				for _, e := range r.KVs {
					set[strings.TrimPrefix(e.Key, prefix)] = true
				}
				s.Look()
				return nil
			}, func(b kv.Batch) error {
				mu.Lock()
				defer mu.Unlock()
				for _, c := range b.Changes {
					if name := strings.TrimPrefix(c.Key, prefix); c.Deleted {
						delete(set, name)
					} else {
						set[name] = true
					}
				}
				s.Look()
				return nil
			})
		})
	}
	follow(store.MemberPrefix("scheduler"), members)
	follow(store.OwnerPrefix, claims)
	g.Go(func() error {
		err := store.Records[tenant.Record](s.Store, tenant.RecordPrefix).Follow(ctx, nil,
			func(r store.Record[tenant.Record], gone bool) error { s.Look(); return nil })
		return err
	})
	g.Go(func() error {
		defer s.releaseAll()
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.kick:
			case <-tick.C:
			}
			mu.Lock()
			alive := make([]string, 0, len(members))
			for m := range members {
				alive = append(alive, m)
			}
			mu.Unlock()
			if err := s.balance(ctx, alive); err != nil && ctx.Err() == nil {
				s.Log.Warn("ownership cannot be settled now", "error", err)
			}
		}
	})
	return g.Wait()
}

// Look has the scheduler see at once whether there is other work to own, as when the tenant file was read again.
func (s *Scheduler) Look() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// balance claims what this scheduler should have and has not, and gives back what it should not have.
func (s *Scheduler) balance(ctx context.Context, alive []string) error {
	if !slices.Contains(alive, s.ID) {
		return nil // not yet visible to the others
	}
	want, err := s.wanted(ctx)
	if err != nil {
		return err
	}
	for w, start := range want {
		mine := store.Chosen(w, alive) == s.ID
		s.mu.Lock()
		u := s.owned[w]
		s.mu.Unlock()
		switch {
		case mine && u == nil:
			if err := s.claim(ctx, w, start); err != nil {
				return err
			}
		case !mine && u != nil:
			u.cancel()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w, u := range s.owned {
		if want[w] == nil {
			u.cancel()
		}
	}
	return nil
}

// wanted lists all work that there is, with what it takes to do it.
func (s *Scheduler) wanted(ctx context.Context) (map[string]func(context.Context, store.Fence) error, error) {
	out := map[string]func(context.Context, store.Fence) error{}
	desk := func(t string) {
		out[work("tenant", t)] = func(ctx context.Context, f store.Fence) error { return s.runTenant(ctx, f, t) }
	}
	for _, t := range s.Tenants.Names() {
		desk(t)
	}
	recs, err := store.Records[tenant.Record](s.Store, tenant.RecordPrefix).List(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range recs {
		t := r.Value.Name
		if !r.Value.Gone {
			desk(t) // even where the tenant file has it no more: somebody must end it
		}
		for _, p := range slices.Concat(r.Value.Pipelines, r.Value.Retired) {
			out[work("pipeline", t, p)] = func(ctx context.Context, f store.Fence) error {
				rn := &Runner{Store: s.Store, Log: s.Log.With("tenant", t, "pipeline", p), Tenant: t, Name: p, Fence: f,
					Others: func(ctx context.Context, global bool) ([]Place, error) { return s.others(ctx, t, global) }, Stepped: s.Stepped}
				return rn.Run(ctx)
			}
		}
	}
	return out, nil
}

// others are the pipelines of a tenant, or of all tenants.
func (s *Scheduler) others(ctx context.Context, only string, all bool) ([]Place, error) {
	if all {
		only = ""
	}
	names, err := tenant.Pipelines(ctx, s.Store, only)
	if err != nil {
		return nil, err
	}
	var out []Place
	for _, t := range slices.Sorted(maps.Keys(names)) {
		for _, p := range names[t] {
			out = append(out, Place{t, p})
		}
	}
	return out, nil
}

func (s *Scheduler) claim(ctx context.Context, w string, start func(context.Context, store.Fence) error) error {
	f, ok, err := s.Store.Own(ctx, s.Session, w, s.ID)
	if err != nil || !ok {
		return err
	}
	s.Log.Debug("work claimed", "work", w)
	uctx, cancel := context.WithCancel(ctx)
	u := &unit{cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	s.owned[w] = u
	s.mu.Unlock()
	go func() { // owned by releaseAll, which waits for it
		defer close(u.done)
		err := start(uctx, f)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrFenced) {
			s.Log.Error("work stopped", "work", w, "error", err)
		}
		if err := s.Store.Disown(ctx, f); err != nil {
			s.Log.Warn("a claim cannot be given back", "work", w, "error", err)
		}
		s.mu.Lock()
		delete(s.owned, w)
		s.mu.Unlock()
		s.Look()
	}()
	return nil
}

func (s *Scheduler) releaseAll() {
	s.mu.Lock()
	units := make([]*unit, 0, len(s.owned))
	for _, u := range s.owned {
		u.cancel()
		units = append(units, u)
	}
	s.mu.Unlock()
	for _, u := range units {
		<-u.done
	}
}

var errUnknownForge = fmt.Errorf("no such connection")
