package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file:// blobs
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/event"
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

// allRoles are what one process can be; without --roles it is all of them.
var allRoles = []string{"scheduler", "merger", "reporter", "launcher", "executor", "history", "web"}

// process is one running gozer: the store, the connections, and the roles on them.
type process struct {
	set   *settings.Settings
	roles []string
	id    string
	log   *slog.Logger

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
	closers  []func() error
}

// has tells whether the process has a role.
func (p *process) has(role string) bool { return slices.Contains(p.roles, role) }

// open makes everything that the roles stand on, in an order in which the first thing that is wrong is the
// one that is told. What it opened is closed again where it fails.
func open(ctx context.Context, set *settings.Settings, roles []string, log *slog.Logger) (_ *process, err error) {
	p := &process{set: set, roles: roles, log: log, id: newProcessID(), providers: map[string]provider.Provider{}}
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
	if p.has("web") {
		if p.listener, err = net.Listen("tcp", set.Listen); err != nil {
			return nil, fmt.Errorf("%w; stop what has the port, or choose another (--listen, or listen: in the configuration)", err)
		}
		p.onClose(p.listener.Close)
	}
	steps := []func(context.Context) error{p.openStore, p.openForges, p.openTenants, p.openHistory, p.openLogs}
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

func (p *process) openStore(ctx context.Context) error {
	if e := p.set.Store.Etcd; e != nil {
		c := etcd.DialConfig{Endpoints: e.Endpoints, Username: e.User, Password: e.Password}
		if e.CA != "" {
			var err error
			if c.TLS, err = clientTLS(e.CA, e.Cert, e.Key); err != nil {
				return err
			}
		}
		s, err := etcd.Dial(ctx, c)
		if err != nil {
			return err
		}
		p.onClose(s.Close)
		p.kv = s
	} else {
		m, err := etcd.Start(ctx, etcd.EmbedConfig{Dir: filepath.Join(p.set.Data, "etcd"), Log: p.log})
		if err != nil {
			return err
		}
		p.onClose(m.Close)
		p.member, p.kv = m, m.Store()
	}
	var err error
	if p.store, err = store.Open(ctx, store.Config{KV: p.kv, Log: p.log}); err != nil {
		return err
	}
	p.session, err = kv.NewSession(ctx, kv.SessionConfig{Store: p.kv, TTL: 10 * time.Second, Log: p.log})
	return err
}

// clientTLS reads the files by which an etcd cluster knows us and we know it.
func clientTLS(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read the authority of etcd: %w", err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read our certificate for etcd: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
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
	if dir, ok := strings.CutPrefix(p.set.Blobs.URL, "file://"); ok {
		dir, _, _ = strings.Cut(dir, "?")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the folder of blobs: %w", err)
		}
	}
	bucket, err := blob.OpenBucket(ctx, blobURL(p.set.Blobs.URL))
	if err != nil {
		return fmt.Errorf("open the blob store %s: %w", p.set.Blobs.URL, err)
	}
	p.onClose(bucket.Close)
	p.logs, err = joblog.New(joblog.Config{Dir: filepath.Join(p.set.Data, "logs"), Bucket: bucket, Elsewhere: p.elsewhere, Log: p.log})
	return err
}

// blobURL keeps temporary files of a folder beside its files, so that they can be renamed into place.
func blobURL(u string) string {
	if strings.HasPrefix(u, "file://") && !strings.Contains(u, "?") {
		return u + "?no_tmp_dir=true&metadata=skip"
	}
	return u
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

// run runs the roles until ctx ends or one of them cannot go on. started, where not nil, is called when all
// of them are at work.
func (p *process) run(ctx context.Context, started func()) error {
	g, ctx := errgroup.WithContext(ctx)
	// The session outlives the workers, who give back their claims on their way out.
	sctx, endSession := context.WithCancel(context.WithoutCancel(ctx))
	defer endSession()
	sessionDone := make(chan error, 1)
	go func() { sessionDone <- p.session.Run(sctx) }()
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-sessionDone:
			sessionDone <- err
			return fmt.Errorf("the store did not answer for longer than the lease of this process: %w", err)
		}
	})
	for _, role := range p.roles {
		start := map[string]func(context.Context) error{
			"scheduler": p.runScheduler, "merger": p.runMerger, "reporter": p.runReporter, "history": p.runHistory,
			"launcher": p.runLauncher, "executor": p.runExecutor, "web": p.runWeb,
		}[role]
		g.Go(func() error {
			if err := start(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", role, err)
			}
			return ctx.Err()
		})
	}
	g.Go(func() error { return p.serveForges(ctx) })
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
	endSession()
	<-sessionDone
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ready waits until every tenant has a layout, whoever makes it.
func (p *process) ready(ctx context.Context) error {
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
	return reporter.New(reporter.Config{Store: p.store, Session: p.session, ID: p.id, Forges: p.forges, Objects: p.repos, Log: p.log}).Run(ctx)
}

func (p *process) runHistory(ctx context.Context) error {
	return together(func() error {
		return history.Serve(ctx, history.ServeConfig{DB: p.history, Store: p.store, Session: p.session, ID: p.id, Log: p.log})
	}, func() error { return p.expireLogs(ctx) })
}

// serveHTTP serves until ctx ends, and then lets requests in progress finish for a moment; streams end with
// their context.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(sctx); err != nil {
		_ = srv.Close()
	}
	<-done
	return ctx.Err()
}
