// Package gatetest is the whole system in one process, for tests that tell its story from the outside: a
// store in memory, a real scheduler, real layouts, real merges in real git repositories, a real reporter;
// forges that the test gives, and executors and node suppliers that do what the test says. Those serve the
// same requests by the same records as real workers, so that nothing but their work is replaced.
//
// A story acts (an event, a release of builds), settles, and looks.
package gatetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/merger"
	"github.com/gozer-ci/gozer/internal/reporter"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// Config of a System. Dir, Forges and TenantFile are required.
type Config struct {
	// Dir is an empty folder for the merger's repositories and the history; the caller removes it.
	Dir        string
	TenantFile string
	Forges     []forge.Forge
	// Drivers are the connections that are no forges, by name; Mailers those that send mail.
	Drivers map[string]string
	Mailers map[string]reporter.Mailer
	WebRoot string
	// Prepare, where set, is called before the first worker begins: to hold builds, say.
	Prepare func(*System)
	Log     *slog.Logger
}

// System is a running system. Its methods may be called from one goroutine at a time.
type System struct {
	Store   *store.Store
	Tenants *tenant.Service
	Repos   *merger.Repos
	// Builds and Nodes are the scripted executor and node supplier.
	Builds *Builds
	Nodes  *Nodes

	kv   *memkv.Store
	past *past

	scheduler *scheduler.Scheduler
	group     *errgroup.Group
	cancel    context.CancelFunc
	change    chan struct{} // something happened that may let the system settle
	mu        sync.Mutex
	failed    error
}

// Start starts the system; it is not settled yet.
func Start(ctx context.Context, c Config) (*System, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	forges, err := forge.NewSet(c.Forges...)
	if err != nil {
		return nil, err
	}
	s := &System{kv: memkv.New(memkv.Config{Retain: 10000}), change: make(chan struct{}, 1)}
	if s.Store, err = store.Open(ctx, store.Config{KV: s.kv}); err != nil {
		return nil, errors.Join(err, s.kv.Close())
	}
	s.Tenants, err = tenant.New(tenant.Config{Store: s.Store, Forges: forges, File: c.TenantFile, Drivers: c.Drivers, WebRoot: c.WebRoot, Log: c.Log})
	if err != nil {
		return nil, errors.Join(err, s.kv.Close())
	}
	s.Repos = merger.NewRepos(filepath.Join(c.Dir, "merger"), forges)
	s.Builds = newBuilds(s, c.Log)
	s.Nodes = newNodes(s, c.Log)
	s.past = &past{dir: c.Dir}
	if c.Prepare != nil {
		c.Prepare(s)
	}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.group, ctx = errgroup.WithContext(ctx)
	// One merge and one layout at a time: then builds begin in the order in which their items came.
	session, err := kv.NewSession(ctx, kv.SessionConfig{Store: s.kv, TTL: time.Minute, Log: c.Log})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.run(ctx, "session", session.Run)
	s.run(ctx, "watch", s.watch)
	// One of each kind of work at a time: of what arrives in order, the first is ready first, as stories expect.
	s.scheduler = scheduler.New(scheduler.Config{Store: s.Store, Session: session, ID: "scheduler", Forges: forges, Tenants: s.Tenants, Log: c.Log, AtOnce: 1})
	s.run(ctx, "scheduler", s.scheduler.Run)
	s.run(ctx, "merger", merger.New(merger.Config{Store: s.Store, Session: session, ID: "merger", Repos: s.Repos, Log: c.Log, AtOnce: 1}).Run)
	s.run(ctx, "reporter", reporter.New(reporter.Config{Store: s.Store, Session: session, ID: "reporter", Forges: forges, Objects: s.Repos, Mailers: c.Mailers, Log: c.Log, AtOnce: 1}).Run)
	s.run(ctx, "executor", func(ctx context.Context) error { return s.Builds.serve(ctx, session) })
	s.run(ctx, "launcher", func(ctx context.Context) error { return s.Nodes.serve(ctx, session) })
	s.run(ctx, "history", func(ctx context.Context) error { return s.past.serve(ctx, s.Store, session, c.Log) })
	return s, nil
}

// run runs a worker; one that ends by itself ends the story.
func (s *System) run(ctx context.Context, name string, fn func(context.Context) error) {
	s.group.Go(func() (err error) {
		defer func() {
			if x := recover(); x != nil {
				err = fmt.Errorf("panic: %v", x)
			}
			if ctx.Err() == nil {
				s.mu.Lock()
				s.failed = errors.Join(s.failed, fmt.Errorf("%s ended: %w", name, err))
				s.mu.Unlock()
				s.kick()
			}
		}()
		return fn(ctx)
	})
}

// Close stops everything and leaves nothing running.
func (s *System) Close() error {
	s.cancel()
	err := s.group.Wait()
	s.Repos.Close()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, s.past.close(), s.kv.Close())
}

// Deliver takes a forge's event in, as a server does.
func (s *System) Deliver(ctx context.Context, e event.Event) error {
	return s.Store.AppendEvent(ctx, s.Tenants.Interested(e.Project), e)
}

// Operate takes an operator's wish for one tenant in; see the event.Operator types.
func (s *System) Operate(ctx context.Context, tenant string, e event.Event) error {
	e.Driver, e.Connection, e.Tenant, e.ID, e.At = "operator", "operator", tenant, store.NewID(), time.Now()
	return s.Store.AppendEvent(ctx, []string{tenant}, e)
}

// Reconfigure has configuration read again, of all tenants or of those that are named; how is full, smart
// or tenant.
func (s *System) Reconfigure(ctx context.Context, how string, tenants ...string) error {
	if len(tenants) == 0 {
		tenants = s.Tenants.Names()
		if err := s.Tenants.Refresh(); err != nil {
			return err
		}
		tenants = append(tenants, s.Tenants.Names()...)
		s.scheduler.Look()
	}
	for _, t := range slices.Compact(slices.Sorted(slices.Values(tenants))) {
		if err := s.Operate(ctx, t, event.Event{Type: event.OperatorReconfigure, Action: how}); err != nil {
			return err
		}
	}
	return nil
}

func (s *System) kick() {
	for _, c := range []chan struct{}{s.change, s.Builds.idle} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// watch wakes whoever waits for the system to settle.
func (s *System) watch(ctx context.Context) error {
	return kv.Follow(ctx, s.kv, "/", func(*kv.Result) error { s.kick(); return nil }, func(kv.Batch) error { s.kick(); return nil })
}
