package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/knock"
)

// Pauses between looks at a node that does not answer yet, and between attempts to delete one: doubled
// each time.
const (
	firstLook   = 20 * time.Millisecond
	longestLook = 2 * time.Second
	firstDelete = time.Second
	longestWait = time.Minute
)

// lookTimeout bounds one attempt to connect.
const lookTimeout = 10 * time.Second

// op is what is under way for one node.
type op struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// outcome is how a request ended.
type outcome struct {
	provider string
	nodes    []string
	why      string // it was refused
}

// carryOut begins an effect.
func (l *Launcher) carryOut(ctx context.Context, e node.Effect) {
	switch e := e.(type) {
	case *node.Create:
		l.begun(ctx, e.Node, false, func(ctx context.Context) { l.create(ctx, e) })
	case *node.Check:
		l.begun(ctx, e.Node, false, func(ctx context.Context) { l.check(ctx, e) })
	case *node.Delete:
		l.begun(ctx, e.Node, true, func(ctx context.Context) { l.delete(ctx, e) })
	case *node.Fulfil:
		l.end(e.Request, outcome{provider: e.Provider, nodes: e.Nodes})
	case *node.Refuse:
		l.log.Warn("no nodes", "request", e.Request, "why", e.Why)
		l.end(e.Request, outcome{why: e.Why})
	}
}

// end tells the handler of a request how it ended. A request without one was withdrawn.
func (l *Launcher) end(request string, o outcome) {
	if ch := l.tasks[request]; ch != nil {
		ch <- o // has room for the one outcome
		delete(l.tasks, request)
	}
}

// begun runs f for a node, after what runs for it already; where stop, that is cut short.
func (l *Launcher) begun(ctx context.Context, id string, stop bool, f func(context.Context)) {
	octx, cancel := context.WithCancel(ctx)
	before := l.ops[id]
	o := &op{cancel: cancel, done: make(chan struct{})}
	l.ops[id] = o
	if before != nil && stop {
		before.cancel()
	}
	l.workers.Go(func() error {
		defer close(o.done)
		defer cancel()
		if before != nil {
			<-before.done
		}
		if octx.Err() == nil {
			f(octx)
		}
		l.do(ctx, func(context.Context) error {
			if l.ops[id] == o {
				delete(l.ops, id)
			}
			return nil
		})
		return nil
	})
}

// create has the instance made.
func (l *Launcher) create(ctx context.Context, e *node.Create) {
	start := time.Now()
	cctx, cancel := context.WithTimeout(ctx, l.bootTimeout(e.Provider))
	defer cancel()
	i, err := l.providers[e.Provider].Create(cctx, provider.Spec{ID: e.Node, Label: e.Label, Keys: []string{l.key.Public}})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.failed(ctx, e.Node, err)
	default:
		l.log.Debug("node is made", "node", e.Node, "provider", e.Provider, "label", e.Label, "took", time.Since(start))
		l.say(ctx, &node.Created{Node: e.Node, Access: i.Access})
	}
}

func (l *Launcher) failed(ctx context.Context, id string, err error) {
	why := node.Trouble
	switch {
	case errors.Is(err, provider.ErrQuota):
		why = node.NoRoom
	case errors.Is(err, provider.ErrImpossible):
		why = node.Impossible
	}
	l.log.Warn("node is not made", "node", id, "why", why, "err", err)
	l.say(ctx, &node.NotMade{Node: id, Why: why, Error: err.Error()})
}

// check waits until the node answers with its key, or the time to boot is over.
func (l *Launcher) check(ctx context.Context, e *node.Check) {
	patience := l.bootTimeout(e.Provider)
	bctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for pause := firstLook; ; pause = min(pause*2, longestLook) {
		var i *provider.Instance
		if i, err = l.look(bctx, e); err == nil {
			l.feature(ctx, e, i)
			return
		}
		if errors.Is(err, knock.ErrHostKey) || errors.Is(err, provider.ErrNotFound) {
			break
		}
		select {
		case <-bctx.Done():
		case <-time.After(pause):
		}
		if bctx.Err() != nil {
			err = fmt.Errorf("it does not answer after %v: %w", patience, err)
			break
		}
	}
	if ctx.Err() == nil {
		l.failed(ctx, e.Node, err)
	}
}

func (l *Launcher) bootTimeout(provider string) time.Duration {
	return cmp.Or(l.cfg.BootTimeouts[provider], l.cfg.BootTimeout)
}

// look looks once.
func (l *Launcher) look(ctx context.Context, e *node.Check) (*provider.Instance, error) {
	i, err := l.providers[e.Provider].Describe(ctx, e.Node)
	if err != nil {
		return nil, err
	}
	if !i.Up {
		return nil, errors.New(i.Why)
	}
	lctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return i, l.cfg.Reach(lctx, i.Access, l.signer)
}

// delete deletes the instance, however often it takes.
func (l *Launcher) delete(ctx context.Context, e *node.Delete) {
	for pause := firstDelete; ; pause = min(pause*2, longestWait) {
		err := l.providers[e.Provider].Delete(ctx, e.Node)
		if err == nil {
			l.say(ctx, &node.Deleted{Node: e.Node})
			return
		}
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("node is not deleted", "node", e.Node, "provider", e.Provider, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
