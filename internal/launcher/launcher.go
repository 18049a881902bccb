// Package launcher is the worker that serves requests for nodes. It decides nothing by itself: what
// happens is an input of node.Step, whose effects it carries out with the providers that it has. The
// records of nodes are written, fenced, before the effects are carried out; after a crash the records
// say what was under way, and everything can be done again.
//
// A provider belongs to one launcher at a time, by a claim under its lease. Any number of launchers may
// share the requests: each takes those that one of its providers can serve.
package launcher

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/knock"
	"github.com/gozer-ci/gozer/internal/store"
)

// Config is what a Launcher needs. Store, Session, ID and Providers are required.
type Config struct {
	Store *store.Store
	// Session is the lease under which it claims; whoever made it runs it.
	Session *kv.Session
	// ID names this launcher among others.
	ID        string
	Providers []provider.Provider
	// MaxNodes bounds the nodes of a provider, by its name.
	MaxNodes map[string]int
	Limits   node.Limits
	// BootTimeout is how long a node may take from its creation until it answers; 0 is five minutes.
	// BootTimeouts says otherwise for a provider, by its name.
	BootTimeout  time.Duration
	BootTimeouts map[string]time.Duration
	// Key is the private key (PEM) with which nodes are reached; nil: the one in the store, which the
	// first launcher makes. All launchers and executors of an installation use one.
	Key []byte
	// Features are those that nodes can be given and looked at for, by name; nil is BuiltinFeatures.
	Features map[string]Feature
	// ListEvery is how often a provider is asked what it has; 0 is half a minute. Nodes that builds left
	// in use are looked for as often.
	ListEvery time.Duration
	// OrphanAfter is how old a request gets that no launcher can serve, before it is refused; 0 is ten
	// seconds.
	OrphanAfter time.Duration
	// Reach connects to a node; nil is knock.SSH. Command runs something on one; nil is knock.Run.
	Reach   func(ctx context.Context, a node.Access, signer gossh.Signer) error
	Command func(ctx context.Context, a node.Access, signer gossh.Signer, command string) (string, error)
	// Host and Version are for the member record.
	Host, Version string
	Log           *slog.Logger
}

// Launcher serves requests for nodes.
type Launcher struct {
	cfg       Config
	log       *slog.Logger
	st        *store.Store
	providers map[string]provider.Provider
	key       node.SSHKey
	signer    gossh.Signer
	offers    *offers
	inputs    chan func(context.Context) error // run by loop, which owns what follows
	fences    map[string]store.Fence           // by provider
	fleet     *node.Fleet
	mods      map[string]int64 // the revision at which we know each node's record
	steps     int
	ops       map[string]*op
	tasks     map[string]chan outcome
	workers   *errgroup.Group
}

// New makes a launcher.
func New(c Config) *Launcher {
	c.BootTimeout = cmp.Or(c.BootTimeout, 5*time.Minute)
	c.ListEvery = cmp.Or(c.ListEvery, 30*time.Second)
	c.OrphanAfter = cmp.Or(c.OrphanAfter, 10*time.Second)
	if c.Reach == nil {
		c.Reach = knock.SSH
	}
	if c.Command == nil {
		c.Command = knock.Run
	}
	if c.Features == nil {
		c.Features = BuiltinFeatures()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l := &Launcher{
		cfg: c, log: c.Log.With("launcher", c.ID), st: c.Store, providers: map[string]provider.Provider{},
		offers: newOffers(), inputs: make(chan func(context.Context) error), fences: map[string]store.Fence{},
		fleet: node.NewFleet(c.Limits), mods: map[string]int64{}, ops: map[string]*op{}, tasks: map[string]chan outcome{},
	}
	for _, p := range c.Providers {
		l.providers[p.Name()] = p
	}
	return l
}

// Run serves until ctx ends or the session is lost. Nodes stay as they are: the next launcher goes on
// with them.
func (l *Launcher) Run(ctx context.Context) error {
	var err error
	if l.key, l.signer, err = ensureKey(ctx, l.st, l.cfg.Key); err != nil {
		return err
	}
	if err := l.claimProviders(ctx); err != nil {
		return err
	}
	defer l.disown(ctx)
	g, gctx := errgroup.WithContext(ctx)
	l.workers = g
	if err := l.begin(gctx); err != nil {
		g.Go(func() error { return err }) // ends what was begun
		return g.Wait()
	}
	nodes := store.Records[node.Node](l.st, node.Records)
	g.Go(func() error { return l.loop(gctx) })
	g.Go(func() error { return nodes.Follow(gctx, nil, l.recordChanged(gctx)) })
	g.Go(func() error { return l.offers.follow(gctx, l.st) })
	g.Go(func() error { return l.sweep(gctx) })
	for _, p := range l.cfg.Providers {
		g.Go(func() error { return l.watch(gctx, p) })
	}
	g.Go(func() error { return l.serveNodes(gctx) })
	g.Go(func() error { return l.serveReturns(gctx) })
	member := store.Member{ID: l.cfg.ID, Role: "launcher", Host: l.cfg.Host, Version: l.cfg.Version, Started: time.Now(), State: "running"}
	if err := l.st.Join(gctx, l.cfg.Session, member); err != nil {
		g.Go(func() error { return err })
	}
	err = g.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// claimProviders waits until each provider is ours, and tells what they offer.
func (l *Launcher) claimProviders(ctx context.Context) error {
	for _, p := range l.cfg.Providers {
		for told := false; ; told = true {
			f, ok, err := l.st.Own(ctx, l.cfg.Session, "provider/"+p.Name(), l.cfg.ID)
			if err != nil {
				return err
			}
			if ok {
				l.fences[p.Name()] = f
				break
			}
			if !told {
				l.log.Info("wait for a provider that another launcher has", "provider", p.Name())
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-l.cfg.Session.Done():
				return kv.ErrSessionLost
			case <-time.After(time.Second):
			}
		}
		if err := l.offer(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// disown gives the providers back.
func (l *Launcher) disown(ctx context.Context) {
	for name, f := range l.fences {
		if err := l.st.Disown(ctx, f); err != nil {
			l.log.Warn("provider is not given back", "provider", name, "err", err)
		}
	}
}

// begin reads the nodes, compares them with what the providers have, and begins again what was under
// way. Nothing is handed out before that: what an earlier process made may be gone with it.
func (l *Launcher) begin(ctx context.Context) error {
	for _, p := range l.cfg.Providers {
		l.fleet.Providers[p.Name()] = &node.Supply{
			Name: p.Name(), Labels: p.Labels(), Max: l.cfg.MaxNodes[p.Name()], Pauses: map[string]node.Pause{},
		}
	}
	all, err := store.Records[node.Node](l.st, node.Records).List(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if l.providers[r.Value.Provider] != nil {
			n := r.Value
			l.fleet.Nodes[n.ID] = &n
			l.mods[n.ID] = r.Mod
		}
	}
	for _, p := range l.cfg.Providers {
		in, err := list(ctx, p)
		if err != nil {
			return fmt.Errorf("ask provider %s what it has: %w", p.Name(), err)
		}
		if err := l.step(ctx, in); err != nil {
			return err
		}
	}
	return l.step(ctx, &node.Resumed{})
}

// loop takes one step after the other. It alone touches the state.
func (l *Launcher) loop(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-l.cfg.Session.Done():
			return kv.ErrSessionLost
		case f := <-l.inputs:
			err = f(ctx)
		case <-tick.C:
			err = l.step(ctx, &node.Tick{})
		}
		if err != nil {
			return err
		}
	}
}

// do has the loop run f; it waits until the loop has taken it.
func (l *Launcher) do(ctx context.Context, f func(context.Context) error) {
	select {
	case l.inputs <- f:
	case <-ctx.Done():
	}
}

// say has the loop take a step with in.
func (l *Launcher) say(ctx context.Context, in node.Input) {
	l.do(ctx, func(ctx context.Context) error { return l.step(ctx, in) })
}
