package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Most of what a small transaction costs etcd is the entry in its log. So transactions that are asked for while
// others are under way are gathered into one entry: a transaction of transactions, each with its own compares and
// its own outcome.
const (
	// lanes is how many entries are under way before the next waits for company.
	lanes = 2
	// hurry is for how long it does, whatever happens to those: a server may have been paused.
	hurry = 10 * time.Millisecond
	// Limits of an entry, below etcd's own ones, so that a cluster that was not told of ours takes it, and of
	// what shares one: larger transactions go alone.
	gatherTxns  = 64
	gatherBytes = 512 << 10
	shareOps    = 32
	shareBytes  = 64 << 10
)

// gatherer has the transactions that wait.
type gatherer struct {
	store *Store

	mu     sync.Mutex
	flying int
	queue  []*request
	timer  *time.Timer // goes off hurry after the queue began
}

// request is one transaction that waits for its outcome.
type request struct {
	txn    kv.Txn
	size   int
	flight *flight // once it is under way

	done chan struct{}
	ok   bool
	rev  int64
	err  error
}

// flight is one entry: it is given up when nobody waits for it any more.
type flight struct {
	requests []*request
	waiting  int
	cancel   context.CancelFunc
}

// commit carries out t, alone or in company.
func (g *gatherer) commit(ctx context.Context, t kv.Txn) (ok bool, rev int64, err error) {
	g.mu.Lock()
	if g.flying < lanes && len(g.queue) == 0 {
		g.flying++
		g.mu.Unlock()
		defer g.landed()
		return g.store.txn(ctx, t)
	}
	r := &request{txn: t, size: size(t), done: make(chan struct{})}
	if g.queue = append(g.queue, r); len(g.queue) == 1 {
		g.timer = time.AfterFunc(hurry, g.late)
	}
	g.mu.Unlock()
	select {
	case <-r.done:
		return r.ok, r.rev, r.err
	case <-ctx.Done():
		g.leave(r)
		return false, 0, ctx.Err()
	}
}

// leave forgets a request that nobody waits for any more.
func (g *gatherer) leave(r *request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := r.flight; f != nil {
		if f.waiting--; f.waiting == 0 {
			f.cancel()
		}
		return
	}
	g.queue = slices.DeleteFunc(g.queue, func(q *request) bool { return q == r })
}

func (g *gatherer) landed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.flying--; g.flying < lanes && len(g.queue) > 0; {
		g.takeOff()
	}
}

// late sends off what has waited for too long.
func (g *gatherer) late() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.takeOff()
}

// takeOff sends off the first of the queue and who can go with it. The lock is held.
func (g *gatherer) takeOff() {
	if g.timer != nil {
		g.timer.Stop()
	}
	if len(g.queue) == 0 {
		return
	}
	// Whoever waits in the queue is a call of the store, so the store is not closed yet.
	g.store.calls.Add(1)
	ctx, cancel := context.WithCancel(g.store.closing)
	f := &flight{requests: g.board(), cancel: cancel}
	f.waiting = len(f.requests)
	for _, r := range f.requests {
		r.flight = f
	}
	g.flying++
	if len(g.queue) > 0 {
		g.timer = time.AfterFunc(hurry, g.late)
	}
	go func() {
		defer g.store.calls.Done()
		defer g.landed()
		defer cancel()
		g.store.fly(ctx, f.requests)
	}()
}

// board takes the first of the queue out of it, and those that neither write what another one reads or writes nor
// read what another one writes: in which order they happen makes no difference.
func (g *gatherer) board() []*request {
	first := g.queue[0]
	group := []*request{first}
	if !first.shares() {
		g.queue = g.queue[1:]
		return group
	}
	var left []*request
	bytes, seen := first.size, newFootprint()
	seen.add(first.txn)
	for i, r := range g.queue[1:] {
		if len(group) == gatherTxns || bytes > gatherBytes {
			left = append(left, g.queue[1+i:]...)
			break
		}
		if !r.shares() || !seen.apart(r.txn) {
			left = append(left, r)
			continue
		}
		seen.add(r.txn)
		bytes += r.size
		group = append(group, r)
	}
	g.queue = left
	return group
}

func (r *request) shares() bool {
	return len(r.txn.If) <= shareOps && len(r.txn.Then) <= shareOps && r.size <= shareBytes
}

func size(t kv.Txn) (n int) {
	for _, o := range t.Then {
		n += len(o.Key) + len(o.Value)
	}
	return n
}

// fly carries out a group. Where etcd refuses it because of one of them, those that may be the one go alone. Where it
// has no room, what only deletes goes alone, and is not believed to have failed: it may have gone through before.
func (s *Store) fly(ctx context.Context, group []*request) {
	var full error
	if len(group) > 1 {
		err := s.together(ctx, group)
		if err == nil {
			return
		}
		if errors.Is(err, kv.ErrLeaseNotFound) {
			with := slices.DeleteFunc(slices.Clone(group), func(r *request) bool { return !r.leases() })
			without := slices.DeleteFunc(group, (*request).leases)
			group = with
			if err = s.together(ctx, without); err != nil {
				group = append(group, without...)
			}
		}
		if errors.Is(err, kv.ErrNoSpace) {
			full = err
			for _, r := range group {
				if r.puts() {
					r.err = err
					close(r.done)
				}
			}
			group = slices.DeleteFunc(group, (*request).puts)
		}
	}
	for _, r := range group {
		if r.ok, r.rev, r.err = s.txn(ctx, r.txn); r.err == nil && !r.ok {
			r.err = full
		}
		close(r.done)
	}
}

func (r *request) puts() bool {
	return slices.ContainsFunc(r.txn.Then, func(o kv.Op) bool { return o.Kind == kv.OpPut })
}

func (r *request) leases() bool {
	return slices.ContainsFunc(r.txn.Then, func(o kv.Op) bool { return o.Lease != 0 })
}

// together carries out a group as one entry and tells each its outcome. Where one of them is to blame that there
// is none, it tells nobody, and gives the error.
func (s *Store) together(ctx context.Context, group []*request) error {
	if len(group) == 0 {
		return nil
	}
	ops := make([]clientv3.Op, len(group))
	for i, r := range group {
		ops[i] = clientv3.OpTxn(s.compares(r.txn.If), s.writes(r.txn.Then), nil)
	}
	resp, err := s.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		err = fmt.Errorf("commit %d transactions at once: %w", len(group), refusal(err))
		if errors.Is(err, kv.ErrLeaseNotFound) || errors.Is(err, kv.ErrNoSpace) || errors.Is(err, kv.ErrTooLarge) || errors.Is(err, kv.ErrInvalid) {
			return err
		}
	}
	for i, r := range group {
		if r.err = err; err == nil {
			r.ok, r.rev = resp.Responses[i].GetResponseTxn().Succeeded, resp.Header.Revision
		}
		close(r.done)
	}
	return nil
}
