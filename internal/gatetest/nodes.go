package gatetest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Nodes is the scripted node supplier: any label is there, unless requests are held or shall fail.
type Nodes struct {
	sys *System
	log *slog.Logger

	mu      sync.Mutex
	hold    bool
	begun   []*NodeRequest // claimed, and not read yet
	pending []*NodeRequest
	made    int
	moves   int
	work    chan struct{}
}

// NodeRequest is a request that was not answered yet.
type NodeRequest struct {
	pipeline.RequestNodes
	seq  int
	fail bool
	task *store.Task
	done chan struct{}
}

func newNodes(sys *System, log *slog.Logger) *Nodes {
	return &Nodes{sys: sys, log: log, work: make(chan struct{}, 1)}
}

func (n *Nodes) serve(ctx context.Context, ses *kv.Session) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return store.Serve(ctx, n.sys.Store, store.ServeConfig{Kind: store.KindNodes, Session: ses, Owner: "launcher", Log: n.log, Claimed: n.claimed}, n.request)
	})
	g.Go(func() error {
		return store.Serve(ctx, n.sys.Store, store.ServeConfig{Kind: store.KindReturn, Session: ses, Owner: "launcher", Log: n.log}, n.returned)
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-n.work:
			}
			if err := n.answer(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	})
	return g.Wait()
}

func (n *Nodes) wake() {
	n.moves++
	select {
	case n.work <- struct{}{}:
	default:
	}
	n.sys.kick()
}

// claimed keeps the order of the claims.
func (n *Nodes) claimed(t *store.Task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made++
	n.begun = append(n.begun, &NodeRequest{task: t, seq: n.made, done: make(chan struct{})})
}

// request keeps the claim until answer, or the pipeline, ends it.
func (n *Nodes) request(ctx context.Context, t *store.Task) error {
	var body pipeline.RequestNodes
	if err := t.Decode(ctx, &body); err != nil {
		return err
	}
	n.mu.Lock()
	i := slices.IndexFunc(n.begun, func(r *NodeRequest) bool { return r.task == t })
	r := n.begun[i]
	n.begun = slices.Delete(n.begun, i, i+1)
	r.RequestNodes = body
	n.pending = append(n.pending, r)
	n.wake()
	n.mu.Unlock()
	for {
		select {
		case <-r.done:
			return nil
		case sig := <-t.Signals():
			if v, err := strconv.Atoi(sig.Value); err == nil && sig.Name == store.SignalRelative {
				n.mu.Lock()
				r.Relative = v
				n.wake()
				n.mu.Unlock()
			}
		case <-ctx.Done():
			if !n.take(r.Request) {
				<-r.done
				return nil
			}
			return t.Done(ctx)
		}
	}
}

// take removes a request from those that wait; false where it is answered already.
func (n *Nodes) take(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.pending, func(r *NodeRequest) bool { return r.Request == id })
	if i < 0 {
		return false
	}
	n.pending = slices.Delete(n.pending, i, i+1)
	n.wake()
	return true
}

// answer answers all that waits, unless requests are held.
func (n *Nodes) answer(ctx context.Context) error {
	for {
		n.mu.Lock()
		if n.hold || len(n.pending) == 0 || len(n.begun) > 0 { // the order is known only when all were read
			n.mu.Unlock()
			return nil
		}
		r := n.sorted()[0]
		n.mu.Unlock()
		if !n.take(r.Request) {
			continue
		}
		in := &pipeline.NodesReady{Item: r.Item, Buildset: r.Buildset, Job: r.Job, Request: r.Request, Failed: r.fail, Provider: "fake"}
		for i := range r.Nodeset.Nodes {
			if !r.fail {
				in.Nodes = append(in.Nodes, fmt.Sprintf("%s-%d", r.Request, i))
			}
		}
		err := r.task.Done(ctx, in)
		close(r.done)
		if err != nil {
			return err
		}
	}
}

// returned takes nodes back; a request that waits is withdrawn.
func (n *Nodes) returned(ctx context.Context, t *store.Task) error {
	var body pipeline.ReturnNodes
	if err := t.Decode(ctx, &body); err != nil {
		return err
	}
	n.mu.Lock()
	i := slices.IndexFunc(n.pending, func(r *NodeRequest) bool { return r.Request == body.Request })
	var r *NodeRequest
	if i >= 0 {
		r = n.pending[i]
	}
	n.mu.Unlock()
	if r != nil && n.take(r.Request) {
		err := r.task.Done(ctx)
		close(r.done)
		if err != nil {
			return err
		}
	}
	return t.Done(ctx)
}

// sorted are the requests that wait, by priority.
func (n *Nodes) sorted() []*NodeRequest {
	out := slices.Clone(n.pending)
	slices.SortStableFunc(out, func(a, b *NodeRequest) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Relative, b.Relative), cmp.Compare(a.seq, b.seq))
	})
	return out
}

// Hold keeps requests from being answered, or lets all be answered.
func (n *Nodes) Hold(hold bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hold = hold
	n.wake()
}

// Fail has the i-th of the waiting requests, by priority, answered with a failure.
func (n *Nodes) Fail(i int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i < 0 || i >= len(n.pending) {
		return fmt.Errorf("there is no node request %d, %d wait", i, len(n.pending))
	}
	n.sorted()[i].fail = true
	n.wake()
	return nil
}

// Pending are the requests that wait, by priority, and how many were ever made.
func (n *Nodes) Pending() (waiting []pipeline.RequestNodes, made int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.sorted() {
		waiting = append(waiting, r.RequestNodes)
	}
	return waiting, n.made
}

func (n *Nodes) parked(into map[string]bool) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hold {
		for _, r := range n.pending {
			into[requestKey(store.KindNodes, r.Request)] = true
		}
	}
	return n.moves
}
