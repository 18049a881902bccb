// Package executor is the worker that runs builds. It takes a build request from the store, prepares a
// workspace with the speculative sources of its buildset, makes inventory and variables, runs the job's
// playbooks in their phases, each in a sandbox with no more than it may have, keeps the log, and tells
// the pipeline what came of it. Whatever the end of a build, nothing of it stays: no process, mount,
// folder or key; what a killed executor leaves is removed by the next start. What a job is and when it
// runs is decided elsewhere. See semantics, section 4.
package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/sandbox"
	"github.com/gozer-ci/gozer/internal/store"
)

// Sources are bare repositories of the projects on this machine.
type Sources interface {
	// Path is where a project's repository is, or will be.
	Path(p change.Project) string
	// Fresh brings a project's branches, tags and the further refs up to date.
	Fresh(ctx context.Context, p change.Project, refs ...string) (*git.Repo, error)
}

// Nodes are the machines that were allocated to builds.
type Nodes interface {
	// Use marks the nodes as in use by the build and gives them. ErrNodeLost where they are not there for it any
	// more; after any other error they may be.
	Use(ctx context.Context, ids []string, build pipeline.BuildID) ([]node.Node, error)
	// Release gives them back: used, or unused and as good as new, or held for people.
	Release(ctx context.Context, ids []string, build pipeline.BuildID, how Release) error
}

// Release says in which state nodes are given back. Hold, where it is set, keeps them.
type Release struct {
	Used bool
	Hold *Hold
}

// Hold keeps the nodes of a build for people.
type Hold struct {
	// ID is the hold request's.
	ID     string
	Reason string
	Until  time.Time
}

// Secrets opens what is encrypted.
type Secrets interface {
	// Open gives the plain value of a secret, with every encrypted leaf in it decrypted.
	Open(ctx context.Context, s job.Secret) (any, error)
	// Unseal opens a blob of returned secret data; Seal makes one and gives its name.
	Unseal(ctx context.Context, tenant, name string) (map[string]any, error)
	Seal(ctx context.Context, tenant string, data map[string]any) (string, error)
	// SSHKey is the private key (PEM) that a project's post-review jobs may use; nil where it has none.
	SSHKey(ctx context.Context, p change.Project) ([]byte, error)
}

// Semaphores are held by playbooks while they run.
type Semaphores interface {
	// Acquire waits until h holds all of the names; release gives them back. defined are those that have
	// a definition; others have room for one.
	Acquire(ctx context.Context, h pipeline.Holder, defined map[string]pipeline.Semaphore, names []string) (release func(), err error)
}

// Config of an Executor.
type Config struct {
	Store   *store.Store
	Session *kv.Session
	// Blob reads a JSON blob (the repository state) into v; nil is Store's.
	Blob func(ctx context.Context, name string, v any) error
	// ID names this executor among all; Host is what jobs and people see.
	ID   string
	Host string
	// Component names this executor whichever process it is: under it the store keeps that it is paused. Empty:
	// that is forgotten when Run ends.
	Component string
	// Zone: only builds on nodes of this zone are taken; AllowUnzoned: those of no zone, too.
	Zone         string
	AllowUnzoned bool
	// Address is where Logs are served for others ("http://10.0.0.1:7901"), who bring LogToken; empty: only
	// in process.
	Address, LogToken string
	// Dir holds builds and source views; nothing else may be in it.
	Dir     string
	Ansible Ansible
	Sandbox *sandbox.Sandbox
	Logs    *joblog.Logs
	Sources Sources
	// Remerge repeats one merge on objects of a repository, with the same commit id as the merger's.
	Remerge func(ctx context.Context, g *git.Repo, op *pipeline.MergeOp, base string, when time.Time) (string, error)
	Nodes   Nodes
	Secrets Secrets
	// Semaphores of playbooks; nil: those of Store or, without one, of this process alone.
	Semaphores Semaphores
	// Hold decides whether the nodes of a build that ended are kept; nil: never.
	Hold func(ctx context.Context, s *pipeline.Start, tenant, pipe string, end *pipeline.BuildEnded) *Hold
	// Keys are private SSH keys (PEM) that nodes let in.
	Keys [][]byte
	// WinRM says how nodes with that connection are reached.
	WinRM WinRM
	// Callbacks are further callback plugins of Ansible, by name with their options; CallbackDir is a folder with
	// such plugins.
	Callbacks   map[string]map[string]string
	CallbackDir string
	// SiteVariables beat all others, in every playbook.
	SiteVariables map[string]any
	// Trusted and Untrusted are further paths that playbooks of that context have.
	Trusted, Untrusted Paths
	// Builds at once; 0 is four for each core. Starting bounds those that prepare; 0 is two a core.
	Builds   int
	Starting int
	Limits   Limits
	Sensors  Sensors
	// KeepJobDir leaves the folders of builds, for people, as the command keep does.
	KeepJobDir bool
	Log        *slog.Logger
}

// Paths of this machine that sandboxes have.
type Paths struct{ ReadOnly, Writable []string }

// WinRM has the client's certificate and its key (PEM files, which sandboxes see), and how many seconds an
// operation and a read may take; 0 is Ansible's own.
type WinRM struct {
	Cert, Key       string
	Operation, Read int
}

// Ansible says where Ansible is.
type Ansible struct {
	// Dir holds the environments that ansible.Install made; Default is the version of jobs that name
	// none.
	Dir     string
	Default string
	// Cold starts each playbook with a new interpreter in place of a fork of a warm one.
	Cold bool
}

// Limits of one build.
type Limits struct {
	// Disk in bytes, of what the build writes into its folder; 0 is 250 MB.
	Disk int64
	// Memory in bytes of the processes on the executor, 0 is 4 GiB; Processes, 0 is 2048.
	Memory    int64
	Processes int
	// Output of one command in bytes; 0 is 1 GiB.
	Output int64
	// Setup bounds the gathering of facts; 0 is 60 s.
	Setup time.Duration
}

// Executor runs builds.
type Executor struct {
	Config
	plugins  string
	config   string
	warm     *ansible.Warm // nil: every playbook starts cold
	run      string        // short path for sockets
	views    *views
	laying   singles // one connection at a time lays a buildset's view on a host
	starting chan struct{}

	changed chan struct{} // the state may be another one
	setting sync.Mutex    // one pause or unpause at a time, so that what is written down last is what holds

	mu       sync.Mutex
	paused   *store.Pause
	draining bool
	verbose  bool
	keep     bool
	end      func() // of Run
	refused  string
	running  map[pipeline.BuildID]Build

	writes written
}

// New makes an executor and removes what an earlier one left in its folder.
func New(c Config) (*Executor, error) {
	c.defaults()
	if _, err := ansible.ReleaseOf(c.Ansible.Default); err != nil {
		return nil, fmt.Errorf("the default of this executor: %w", err)
	}
	x := &Executor{Config: c, starting: make(chan struct{}, c.Starting), changed: make(chan struct{}, 1), keep: c.KeepJobDir,
		end: func() {}, running: map[pipeline.BuildID]Build{}}
	for _, d := range []string{"builds", "views"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	if err := x.sweep(); err != nil {
		return nil, fmt.Errorf("clean up %s: %w", c.Dir, err)
	}
	var err error
	if x.plugins, err = ansible.Plugins(filepath.Join(c.Dir, "ansible")); err != nil {
		return nil, err
	}
	if x.run, err = socketDir(c.Dir); err != nil {
		return nil, err
	}
	x.config = filepath.Join(c.Dir, "ansible", "ansible.cfg")
	if err := os.WriteFile(x.config, ansible.Config{Plugins: x.plugins, ControlDir: controlDir, Callbacks: c.Callbacks, CallbackDir: c.CallbackDir}.Write(), 0o644); err != nil {
		return nil, err
	}
	if !c.Ansible.Cold {
		x.warm = ansible.NewWarm(ansible.WarmConfig{Dir: x.run, Plugins: x.plugins, Config: x.config, Spawn: c.Sandbox.Spawn, Log: c.Log})
	}
	x.views = newViews(filepath.Join(c.Dir, "views"), c.Sources, c.Remerge, c.Log)
	return x, nil
}

// socketDir makes an empty folder with a short path, always the same for an executor's folder, so that
// what a killed executor left there goes.
func socketDir(dir string) (string, error) {
	sum := sha256.Sum256([]byte(dir))
	path := filepath.Join(os.TempDir(), "gzx-"+hex.EncodeToString(sum[:6]))
	if err := os.RemoveAll(path); err != nil {
		return "", err
	}
	return path, os.Mkdir(path, 0o700)
}

func (c *Config) defaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Blob == nil && c.Store != nil {
		c.Blob = c.Store.JSON
	}
	if c.Host == "" {
		c.Host, _ = os.Hostname()
	}
	if c.Semaphores == nil {
		c.Semaphores = &localSemaphores{}
		if c.Store != nil {
			c.Semaphores = StoreSemaphores{Store: c.Store}
		}
	}
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.Builds, 4*runtime.NumCPU())
	def(&c.Starting, 2*runtime.NumCPU())
	def(&c.Limits.Processes, 2048)
	if c.Limits.Disk == 0 {
		c.Limits.Disk = 250 << 20
	}
	if c.Limits.Memory == 0 {
		c.Limits.Memory = 4 << 30
	}
	if c.Limits.Output == 0 {
		c.Limits.Output = 1 << 30
	}
	if c.Limits.Setup == 0 {
		c.Limits.Setup = time.Minute
	}
}

// Close ends what the executor keeps open. No build may be running.
func (x *Executor) Close() error {
	var err error
	if x.warm != nil {
		err = x.warm.Close()
	}
	return errors.Join(err, x.views.close(), os.RemoveAll(x.run))
}

// Run serves build requests until ctx ends or the session is lost; running builds are aborted then. It ends with
// ErrStopped after the commands stop and graceful.
func (x *Executor) Run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if err := x.recallPause(ctx); err != nil {
		return err
	}
	m := store.Member{ID: x.ID, Role: "executor", Host: x.Host, Component: x.Component, Started: time.Now(), Address: x.Address, Zone: x.Zone}
	x.mu.Lock()
	x.end = func() { end(ErrStopped) }
	m.State, m.Paused = x.state(), x.paused
	x.mu.Unlock()
	if err := x.Store.Join(ctx, x.Session, m); err != nil {
		return err
	}
	if err := x.Logs.Recover(ctx); err != nil {
		x.Log.Warn("logs of an earlier run could not be kept", "error", err)
	}
	z := newZones()
	look := x.zoneOf(ctx)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return x.announce(gctx, m) })
	g.Go(func() error { return z.follow(gctx, x.Store) })
	g.Go(func() error {
		select {
		case <-z.known:
		case <-gctx.Done():
			return nil
		}
		return store.Serve(gctx, x.Store, store.ServeConfig{
			Kind: store.KindBuild, Session: x.Session, Owner: x.ID, Once: true, Log: x.Log, Slots: x.slots,
			Accept: func(r *store.Request) func() bool {
				return func() bool { return z.accepts(r, x.Zone, x.AllowUnzoned, look) }
			},
		}, x.serve)
	})
	g.Go(func() error {
		return store.Serve(gctx, x.Store, store.ServeConfig{Kind: store.KindView, Session: x.Session, Owner: x.ID, Log: x.Log}, x.dropView)
	})
	g.Go(func() error {
		return store.Serve(gctx, x.Store, store.ServeConfig{Kind: store.KindHazards, Session: x.Session, Owner: x.ID, Log: x.Log}, x.hazards)
	})
	err := g.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, ErrStopped) {
		return ErrStopped
	}
	return err
}

// Handler serves the logs of this executor's builds to other members of the installation.
func (x *Executor) Handler() http.Handler { return joblog.Handler(x.Logs, x.LogToken) }

func (x *Executor) slots(busy int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.draining && busy == 0 {
		x.end()
	}
	if x.paused != nil || x.draining {
		return 0
	}
	why := x.Sensors.refuses(x.Dir)
	if (why == "") != (x.refused == "") {
		if x.refused = why; why != "" {
			x.Log.Warn("no further builds are taken", "why", why)
		} else {
			x.Log.Info("builds are taken again")
		}
	}
	if why != "" {
		return 0
	}
	return x.Builds - busy
}

// serve runs one request to its end.
func (x *Executor) serve(ctx context.Context, t *store.Task) error {
	var s pipeline.Start
	if err := t.Decode(ctx, &s); err != nil {
		return err
	}
	if t.Lost {
		if err := x.Nodes.Release(context.WithoutCancel(ctx), s.Nodes, s.Build, Release{Used: true}); err != nil {
			x.Log.Warn("nodes of a lost build could not be given back", "build", s.Build, "error", err)
		}
		return t.Done(ctx, &pipeline.BuildEnded{Build: s.Build, Result: pipeline.Aborted, At: time.Now(),
			Detail: "The executor that ran this build is gone"})
	}
	defer x.begun(&s, t.Request.Tenant)()
	resume := make(chan struct{})
	bctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for {
			select {
			case sig := <-t.Signals():
				if sig.Name == store.SignalResume {
					close(resume)
					return
				}
			case <-bctx.Done():
				return
			}
		}
	}()
	end := x.runBuild(bctx, &s, Context{Tenant: t.Request.Tenant, Pipeline: t.Request.Pipeline, Resume: resume, Tell: t.Tell})
	if errors.Is(context.Cause(ctx), kv.ErrSessionLost) {
		// Somebody else tells that this build is lost.
		return context.Cause(ctx)
	}
	return t.Done(ctx, end)
}

// Context is what a build hears from and says to the outside while it runs.
type Context struct {
	Tenant, Pipeline string
	// Resume is closed when a paused build shall go on.
	Resume <-chan struct{}
	Tell   func(ctx context.Context, in ...pipeline.Input) error
}
