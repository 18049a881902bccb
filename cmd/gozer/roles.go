package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/kv"
)

// run runs the roles until ctx ends or one of them cannot begin. started, where not nil, is called when all of
// them are at work. What stops them later (a store that does not answer for longer than the lease, say) is
// told, makes the process not ready, and is tried again until it is over: nobody has to start it anew.
func (p *process) run(ctx context.Context, started func()) error {
	g, ctx := errgroup.WithContext(ctx)
	if p.has("web") {
		g.Go(func() error { return p.named(ctx, "web", p.runWeb) })
	} else if p.probe != nil {
		g.Go(func() error { return serveHTTP(ctx, p.probe, p.probes(), p.log) })
	}
	g.Go(func() error { return p.keepWorking(ctx) })
	g.Go(func() error { return p.serveForges(ctx) })
	g.Go(func() error { return p.serveDebug(ctx) })
	if p.member != nil {
		g.Go(func() error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-p.member.Done():
				return errors.New("the etcd of this process ended (removed from its cluster, or the log says why)")
			}
		})
	}
	if started != nil {
		g.Go(func() error {
			if err := p.ready(ctx); err != nil {
				return err
			}
			started()
			return nil
		})
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (p *process) named(ctx context.Context, role string, run func(context.Context) error) error {
	if err := run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	return ctx.Err()
}

// settled is how long roles must have worked before their end counts as an interruption and not as a
// mistake in the configuration.
const settled = 3 * time.Second

// keepWorking runs the roles that work under the session, with a new one after each interruption.
func (p *process) keepWorking(ctx context.Context) error {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		began := time.Now()
		p.health.set(nil)
		err := p.work(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, executor.ErrStopped):
			p.log.Info("the executor has stopped, as it was told to")
			return context.Canceled
		case time.Since(began) > time.Minute:
			pause = 250 * time.Millisecond
		case time.Since(began) < settled && !errors.Is(err, kv.ErrSessionLost) && !errors.Is(err, kv.ErrNoSpace) && !p.interrupted:
			return err
		}
		p.interrupted = true
		p.health.set(err)
		p.log.Error("work is interrupted; it goes on as soon as that is possible", "error", err)
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			sctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			ses, err := kv.NewSession(sctx, kv.SessionConfig{Store: p.kv, TTL: p.set.Store.Lease, Log: p.log})
			cancel()
			if err == nil {
				p.session = ses
				break
			}
			p.health.set(err)
			pause = min(2*pause, 5*time.Second)
		}
		p.log.Info("work goes on")
	}
}

// work runs the roles until one of them ends. The session outlives them: they give back their claims on
// their way out.
func (p *process) work(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	sctx, endSession := context.WithCancel(context.WithoutCancel(ctx))
	defer endSession()
	session := p.session
	ended := make(chan struct{})
	var lost error
	go func() { lost = session.Run(sctx); close(ended) }()
	g.Go(func() error {
		select {
		case <-gctx.Done():
			return gctx.Err()
		case <-ended:
			return fmt.Errorf("the store did not answer for longer than the lease of this process (%v): %w", p.set.Store.Lease, lost)
		}
	})
	for role, run := range map[string]func(context.Context) error{
		"scheduler": p.runScheduler, "merger": p.runMerger, "reporter": p.runReporter, "history": p.runHistory,
		"launcher": p.runLauncher, "executor": p.runExecutor,
	} {
		if p.has(role) {
			g.Go(func() error { return p.named(gctx, role, run) })
		}
	}
	g.Go(func() error { return p.register(gctx) })
	err := g.Wait()
	endSession()
	<-ended
	return err
}

// health is what keeps the process from working now.
type health struct {
	mu  sync.Mutex
	why error
}

func (h *health) set(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why = err
}

func (h *health) error() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

// probes tells how a process without a page is.
func (p *process) probes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, r *http.Request) {
		if err := p.whyNotReady(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /health/status", func(w http.ResponseWriter, r *http.Request) {
		if err := p.whyNotReady(r.Context()); err != nil {
			fmt.Fprintln(w, "interrupted:", err)
			return
		}
		fmt.Fprintln(w, "running")
	})
	return mux
}

// whyNotReady tells what keeps the process from working; nil where nothing does.
func (p *process) whyNotReady(ctx context.Context) error {
	if err := p.health.error(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	switch err := p.store.Takes(ctx); {
	case errors.Is(err, kv.ErrNoSpace) && p.member != nil && p.member.Full() != nil:
		return fmt.Errorf("%w: %w", kv.ErrNoSpace, p.member.Full())
	case errors.Is(err, kv.ErrNoSpace):
		return err
	case err != nil:
		return fmt.Errorf("the store does not answer: %w", err)
	}
	return p.room()
}

// leastRoom is what must be free on the disk of the data folder, where git keeps its objects and the history its
// rows. What is written when it is not is tried again until it is.
const leastRoom = 16 << 20

func (p *process) room() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(p.set.Data, &fs); err != nil {
		return fmt.Errorf("the data folder %s: %w", p.set.Data, err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < leastRoom {
		return fmt.Errorf("the disk of %s is full (%d MiB are free): make room", p.set.Data, free>>20)
	}
	return nil
}

func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; stop what has the port, or choose another (%s)", err, flag)
	}
	return l, nil
}
