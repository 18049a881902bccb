package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/merger"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/reporter"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// allRoles are what one process can be; without --roles it is all of them. A process that is nothing but
// store runs a member of the embedded etcd for others.
var allRoles = []string{"store", "scheduler", "merger", "reporter", "launcher", "executor", "history", "web"}

// process is one running gozer: the store, the connections, and the roles on them.
type process struct {
	set   *settings.Settings
	roles []string
	// executor is the one of this process, where it has one.
	executor atomic.Pointer[executor.Executor]
	draining atomic.Bool
	id       string
	// component names what has this data folder, whichever process it is.
	component string
	log       *slog.Logger

	member      *etcd.Member
	kv          kv.Store
	store       *store.Store
	session     *kv.Session
	forges      *forge.Set
	connections []*connection
	tenants     *tenant.Service
	repos       *merger.Repos
	logs        *joblog.Logs
	history     *history.DB
	keys        *keyring
	// providers by name, for whoever has to set their hosts up.
	providers map[string]provider.Provider

	listener net.Listener
	probe    net.Listener
	health   health
	began    time.Time
	// interrupted: work was interrupted before, so its end is no mistake in the configuration.
	interrupted bool
	closers     []func() error
}

// only tells whether the process has no other role.
func (p *process) only(role string) bool { return len(p.roles) == 1 && p.roles[0] == role }

// has tells whether the process has a role.
func (p *process) has(role string) bool { return slices.Contains(p.roles, role) }

// open makes everything that the roles stand on, in an order in which the first thing that is wrong is the
// one that is told. What it opened is closed again where it fails.
func open(ctx context.Context, set *settings.Settings, roles []string, log *slog.Logger) (_ *process, err error) {
	p := &process{set: set, roles: roles, log: log, id: newProcessID(), providers: map[string]provider.Provider{}, began: time.Now()}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if _, err := git.Version(ctx, ""); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(set.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	if p.component, err = componentName(set.Data); err != nil {
		return nil, err
	}
	if p.has("web") {
		if p.listener, err = listen(set.Listen, "--listen, or listen: in the configuration"); err != nil {
			return nil, err
		}
		p.onClose(p.listener.Close)
	} else if set.Probe != "" {
		if p.probe, err = listen(set.Probe, "probe: in the configuration"); err != nil {
			return nil, err
		}
		p.onClose(p.probe.Close)
	}
	steps := []func(context.Context) error{p.openStore, p.openSession}
	if !p.only("store") {
		steps = append(steps, p.openForges, p.openTenants, p.openHistory, p.openLogs)
	}
	if p.has("launcher") {
		steps = append(steps, p.openProviders)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func newProcessID() string {
	host, _ := os.Hostname()
	var b [3]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// componentName is the name of what has a data folder, as it was made with the first start.
func componentName(data string) (string, error) {
	path := filepath.Join(data, "component")
	if b, err := os.ReadFile(path); err == nil && len(bytes.TrimSpace(b)) > 0 {
		return string(bytes.TrimSpace(b)), nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var b [4]byte
	_, _ = rand.Read(b[:])
	name := hostname() + "-" + hex.EncodeToString(b[:])
	if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("name this component: %w", err)
	}
	return name, nil
}

func (p *process) onClose(fn func() error) { p.closers = append(p.closers, fn) }

// close undoes open, last first.
func (p *process) close() {
	for _, fn := range slices.Backward(p.closers) {
		if err := fn(); err != nil && !errors.Is(err, net.ErrClosed) {
			p.log.Warn("closing", "error", err)
		}
	}
	p.closers = nil
}

func (p *process) openTenants(context.Context) error {
	p.repos = merger.NewRepos(filepath.Join(p.set.Data, "repos"), p.forges)
	p.onClose(func() error { p.repos.Close(); return nil })
	password, err := p.set.Keys.Secret()
	if err != nil {
		return err
	}
	p.keys = &keyring{store: p.store, password: password}
	p.tenants, err = tenant.New(tenant.Config{Store: p.store, Forges: p.forges, File: p.set.Tenants, WebRoot: p.set.Root, Opens: p.keys.opens, Log: p.log})
	return err
}

func (p *process) openHistory(ctx context.Context) error {
	var err error
	if p.history, err = history.Open(ctx, history.Config{URL: strings.TrimPrefix(p.set.History.URL, "sqlite://"), Log: p.log}); err != nil {
		return err
	}
	p.onClose(p.history.Close)
	return nil
}

func (p *process) openLogs(ctx context.Context) error {
	bucket, err := p.openBlobs(ctx)
	if err != nil {
		return err
	}
	client, err := p.logClient()
	if err != nil {
		return err
	}
	p.logs, err = joblog.New(joblog.Config{Dir: filepath.Join(p.set.Data, "logs"), Bucket: bucket, Elsewhere: p.elsewhere, Client: client, Log: p.log})
	return err
}

// sink takes events in: each goes to every tenant that has its project.
func (p *process) sink(ctx context.Context, e event.Event) error {
	if e.ID == "" {
		e.ID = store.NewID()
	}
	if e.Received.IsZero() {
		e.Received = time.Now()
	}
	return p.store.AppendEvent(ctx, p.tenants.Interested(e.Project), e)
}

// ready waits until every tenant has a layout, whoever makes it.
func (p *process) ready(ctx context.Context) error {
	if p.tenants == nil {
		return nil
	}
	for _, name := range p.tenants.Names() {
		for {
			if _, err := p.tenants.Record(ctx, name); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

func (p *process) runScheduler(ctx context.Context) error {
	return scheduler.New(scheduler.Config{
		Store: p.store, Session: p.session, ID: p.id, Version: version, Forges: p.forges, Tenants: p.tenants, Log: p.log,
	}).Run(ctx)
}

func (p *process) runMerger(ctx context.Context) error {
	return merger.New(merger.Config{Store: p.store, Session: p.session, ID: p.id, Repos: p.repos, Log: p.log}).Run(ctx)
}

func (p *process) runReporter(ctx context.Context) error {
	return reporter.New(reporter.Config{Remark: p.remark, Store: p.store, Session: p.session, ID: p.id, Forges: p.forges, Objects: p.repos, Log: p.log}).Run(ctx)
}

func (p *process) runHistory(ctx context.Context) error {
	return together(ctx, func(ctx context.Context) error {
		return history.Serve(ctx, history.ServeConfig{DB: p.history, Store: p.store, Session: p.session, ID: p.id, Log: p.log})
	}, p.expireLogs, p.forgetHistory)
}
