package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// serveNodes takes requests for nodes. All that can be served are taken at once: which of them gets
// nodes first is decided by the rules.
func (l *Launcher) serveNodes(ctx context.Context) error {
	return store.Serve(ctx, l.st, store.ServeConfig{
		Kind: store.KindNodes, Session: l.cfg.Session, Owner: l.cfg.ID, Accept: l.accepts, Log: l.log,
	}, l.request)
}

// request waits for the nodes of one request.
func (l *Launcher) request(ctx context.Context, t *store.Task) error {
	var body pipeline.RequestNodes
	if err := t.Decode(ctx, &body); err != nil {
		return err
	}
	ended := make(chan outcome, 1)
	l.do(ctx, func(lctx context.Context) error {
		l.tasks[body.Request] = ended
		return l.step(lctx, &node.Wanted{Request: node.Request{
			ID: body.Request, Tenant: t.Request.Tenant, Project: body.Project, Job: body.JobName, Nodeset: body.Nodeset,
			Priority: body.Priority, Relative: body.Relative, Provider: body.Provider, Made: t.Request.Made,
		}})
	})
	for {
		select {
		case o := <-ended:
			return l.answer(ctx, t, &body, o)
		case s := <-t.Signals():
			if n, err := strconv.Atoi(s.Value); err == nil && s.Name == store.SignalRelative {
				l.say(ctx, &node.Reprioritized{Request: body.Request, Relative: n})
			}
		case <-ctx.Done():
			return l.withdrawn(ctx, t, body.Request)
		}
	}
}

// answer tells the pipeline. Where that is not wanted any more, the nodes are free again.
func (l *Launcher) answer(ctx context.Context, t *store.Task, body *pipeline.RequestNodes, o outcome) error {
	if ctx.Err() != nil {
		return l.withdrawn(ctx, t, body.Request)
	}
	err := t.Done(ctx, &pipeline.NodesReady{
		Item: body.Item, Buildset: body.Buildset, Job: body.Job, Request: body.Request,
		Nodes: o.nodes, Provider: o.provider, Failed: o.why != "", Why: o.why,
	})
	if err != nil {
		l.say(ctx, &node.Returned{Request: body.Request})
	}
	return err
}

// withdrawn gives a request up. When it is the launcher that stops, nothing is said: the next one finds
// the request, and the nodes that it has.
func (l *Launcher) withdrawn(ctx context.Context, t *store.Task, request string) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, store.ErrCancelled) {
		return cause
	}
	lctx := context.WithoutCancel(ctx) // the loop outlives this request
	lctx, cancel := context.WithTimeout(lctx, time.Minute)
	defer cancel()
	l.do(lctx, func(ctx context.Context) error {
		delete(l.tasks, request)
		if err := l.step(ctx, &node.Withdrawn{Request: request}); err != nil {
			return err
		}
		return l.step(ctx, &node.Returned{Request: request})
	})
	if err := t.Done(ctx); err != nil && !errors.Is(err, store.ErrFenced) {
		return err
	}
	return cause
}

// serveReturns takes back what was requested. It works on records only, so that any launcher can do it
// for the nodes of all.
func (l *Launcher) serveReturns(ctx context.Context) error {
	return store.Serve(ctx, l.st, store.ServeConfig{
		Kind: store.KindReturn, Session: l.cfg.Session, Owner: l.cfg.ID, Log: l.log,
	}, func(ctx context.Context, t *store.Task) error {
		var body pipeline.ReturnNodes
		if err := t.Decode(ctx, &body); err != nil {
			return err
		}
		if err := l.cancelRequest(ctx, body.Request); err != nil {
			return err
		}
		if err := freeNodes(ctx, l.st, body.Request); err != nil {
			return err
		}
		return t.Done(ctx)
	})
}

// cancelRequest ends the request, if it is outstanding, and waits until it has ended: then no node is
// allocated to it any more that freeNodes would not see.
func (l *Launcher) cancelRequest(ctx context.Context, id string) error {
	key := store.RequestPrefix(store.KindNodes) + url.PathEscape(id)
	for pause := 5 * time.Millisecond; pause < 10*time.Second; pause *= 2 {
		e, found, err := kv.Get(ctx, l.st.KV(), key)
		if err != nil || !found {
			return err
		}
		_, _, err = l.st.KV().Commit(ctx, kv.Txn{
			If:   []kv.Cmp{kv.Created(key, e.Create)},
			Then: []kv.Op{store.SignalOp(store.KindNodes, id, store.SignalCancel, "")},
		})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return fmt.Errorf("node request %s does not end", id)
}

// freeNodes takes nodes that nobody uses yet from a request.
func freeNodes(ctx context.Context, st *store.Store, request string) error {
	nodes := store.Records[node.Node](st, node.Records)
	all, err := nodes.List(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Value.Request != request {
			continue
		}
		err := nodes.Change(ctx, r.Name, func(n *node.Node, exists bool) (bool, error) {
			if !exists || n.Request != request || (n.State != node.Building && n.State != node.Testing && n.State != node.Ready) {
				return exists, errUnchanged
			}
			n.Request, n.Tenant = "", ""
			return true, nil
		})
		if err != nil && !errors.Is(err, errUnchanged) {
			return err
		}
	}
	return nil
}

var errUnchanged = errors.New("nothing to change")

// accepts tells whether a request is for this launcher: one of its providers can serve it, or nobody's
// can, and somebody must say so.
func (l *Launcher) accepts(r *store.Request) func() bool {
	if r.Blob != "" {
		return nil // too large to tell; no request of people is
	}
	var body pipeline.RequestNodes
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return nil // and say so
	}
	for _, p := range l.cfg.Providers {
		if can(p.Name(), p.Labels(), &body) {
			return nil
		}
	}
	return func() bool { return time.Since(r.Made) > l.cfg.OrphanAfter && !l.offers.any(&body) }
}

func can(name string, labels []node.Label, body *pipeline.RequestNodes) bool {
	if body.Provider != "" && body.Provider != name {
		return false
	}
	return !slices.ContainsFunc(body.Nodeset.Nodes, func(n job.Node) bool {
		return !slices.ContainsFunc(labels, func(l node.Label) bool { return l.Name == n.Label })
	})
}
