// Package etcd is the kv.Store on etcd: on a member that runs inside this process (Start), or on
// a cluster elsewhere (Dial). The same Store serves both; only the way to the server differs. An
// embedded member that is alone opens no port.
//
// All keys live below a prefix, which is added and taken off on the way. Sentinels of package kv
// stand for the errors of etcd that have a known outcome; every other error is wrapped and means
// "unknown", as package kv says.
package etcd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gozer-ci/gozer/internal/kv"
)

// DefaultPrefix is what keys begin with in etcd, where nothing else is configured.
const DefaultPrefix = "/gozer/"

// Store is a kv.Store on etcd. All its methods may be called from many goroutines.
//
// Watch resumes after a lost connection at the next revision, by itself and without gaps, for as
// long as its context lives.
type Store struct {
	client *clientv3.Client
	prefix string
	// remote: there is a network in between.
	remote bool
	// watches counts the watches ever opened.
	watches atomic.Uint64
	gather  *gatherer

	// closing ends the calls in flight; Close waits for them, since a call inside this process
	// must not outlive the server's files.
	closing context.Context
	close   context.CancelFunc
	mu      sync.Mutex
	closed  bool
	calls   sync.WaitGroup
}

var _ kv.Store = (*Store)(nil)

func newStore(c *clientv3.Client, prefix string, remote bool) *Store {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	s := &Store{client: c, prefix: prefix, remote: remote}
	s.gather = &gatherer{store: s}
	s.closing, s.close = context.WithCancel(context.Background())
	return s
}

// Close ends all watches with kv.ErrClosed, interrupts and awaits all other calls, and
// disconnects. Later calls give kv.ErrClosed. A member goes on running.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	s.close()
	s.calls.Wait()
	if was {
		return nil
	}
	if err := s.client.Close(); err != nil && s.remote {
		return fmt.Errorf("disconnect from etcd: %w", err)
	}
	return nil // the client inside the process reports its own end
}

// begin opens a call: its context ends with the store, and end must be called after it.
func (s *Store) begin(ctx context.Context) (callCtx context.Context, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, kv.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.calls.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(s.closing, cancel)
	return ctx, func() { release(); cancel(); s.calls.Done() }, nil
}

// Commit carries out t; see kv.Store.
func (s *Store) Commit(ctx context.Context, t kv.Txn) (ok bool, rev int64, err error) {
	if err := t.Check(); err != nil {
		return false, 0, err
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return false, 0, fmt.Errorf("commit: %w", err)
	}
	defer end()
	return s.gather.commit(ctx, t)
}

// txn carries out one transaction by itself.
func (s *Store) txn(ctx context.Context, t kv.Txn) (ok bool, rev int64, err error) {
	resp, err := s.client.Txn(ctx).If(s.compares(t.If)...).Then(s.writes(t.Then)...).Commit()
	if err != nil {
		return false, 0, fmt.Errorf("commit %d writes: %w", len(t.Then), refusal(err))
	}
	return resp.Succeeded, resp.Header.Revision, nil
}

func (s *Store) compares(cmps []kv.Cmp) []clientv3.Cmp {
	out := make([]clientv3.Cmp, len(cmps))
	for i, c := range cmps {
		if c.Target == kv.CreateRev {
			out[i] = clientv3.Compare(clientv3.CreateRevision(s.prefix+c.Key), "=", c.Rev)
		} else {
			out[i] = clientv3.Compare(clientv3.ModRevision(s.prefix+c.Key), "=", c.Rev)
		}
	}
	return out
}

func (s *Store) writes(ops []kv.Op) []clientv3.Op {
	out := make([]clientv3.Op, len(ops))
	for i, o := range ops {
		switch key := s.prefix + o.Key; o.Kind {
		case kv.OpPut:
			out[i] = clientv3.OpPut(key, string(o.Value), clientv3.WithLease(clientv3.LeaseID(o.Lease)))
		case kv.OpDelete:
			out[i] = clientv3.OpDelete(key)
		case kv.OpDeletePrefix:
			out[i] = clientv3.OpDelete(key, clientv3.WithPrefix())
		}
	}
	return out
}

// Range reads; see kv.Store.
func (s *Store) Range(ctx context.Context, q kv.Query) (*kv.Result, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("range %q: %w", q.Key+q.Prefix, err)
	}
	defer end()
	key, opts := s.query(q)
	resp, err := s.read(ctx, key, opts)
	if err != nil {
		return nil, fmt.Errorf("range %q: %w", q.Key+q.Prefix, refusal(err))
	}
	r := &kv.Result{Rev: resp.Header.Revision, More: resp.More}
	if q.Rev != 0 {
		r.Rev = q.Rev // the header tells what time it is, not what was read
	}
	if len(resp.Kvs) > 0 {
		r.KVs = make([]kv.KV, len(resp.Kvs))
	}
	for i, p := range resp.Kvs {
		r.KVs[i] = s.pair(p)
		if q.KeysOnly {
			r.KVs[i].Value = nil
		}
	}
	return r, nil
}

// patience is how long one member may take to answer before another one is asked. A member that is paused
// keeps its connection for some seconds, and takes its share of the requests.
const patience = 2 * time.Second

// read asks, and where there is a network in between, asks another member if one does not answer in time.
func (s *Store) read(ctx context.Context, key string, opts []clientv3.OpOption) (resp *clientv3.GetResponse, err error) {
	for try := 0; s.remote && try < 2 && ctx.Err() == nil; try++ {
		each, cancel := context.WithTimeout(ctx, patience)
		resp, err = s.client.Get(each, key, opts...)
		late := each.Err() != nil
		cancel()
		if err == nil || !late {
			return resp, err
		}
	}
	return s.client.Get(ctx, key, opts...)
}

func (s *Store) query(q kv.Query) (key string, opts []clientv3.OpOption) {
	if q.Key != "" {
		key = s.prefix + q.Key
	} else {
		key = s.prefix + q.Prefix
		opts = append(opts, clientv3.WithRange(clientv3.GetPrefixRangeEnd(key)),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
		if after := s.prefix + q.After; q.After != "" && after >= key {
			key = after + "\x00" // the very next key
		}
	}
	opts = append(opts, clientv3.WithLimit(int64(q.Limit)), clientv3.WithRev(q.Rev))
	if q.KeysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	return key, opts
}

// pair translates what etcd stores. An empty value is not nil: nil means "not asked for".
func (s *Store) pair(p *mvccpb.KeyValue) kv.KV {
	v := p.Value
	if v == nil {
		v = []byte{}
	}
	return kv.KV{
		Key: string(p.Key[len(s.prefix):]), Value: v,
		Create: p.CreateRevision, Mod: p.ModRevision, Lease: kv.LeaseID(p.Lease),
	}
}

// Grant makes a lease; see kv.Store. The shortest lease that a server makes is one and a half
// times its election timeout, in whole seconds.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	secs, err := kv.Seconds(ttl)
	if err != nil {
		return 0, err
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("grant a lease of %v: %w", ttl, err)
	}
	defer end()
	resp, err := s.client.Grant(ctx, secs)
	if err != nil {
		return 0, fmt.Errorf("grant a lease of %v: %w", ttl, refusal(err))
	}
	return kv.LeaseID(resp.ID), nil
}

// KeepAlive renews a lease; see kv.Store.
func (s *Store) KeepAlive(ctx context.Context, l kv.LeaseID) (time.Duration, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("keep lease %d alive: %w", l, err)
	}
	defer end()
	resp, err := s.client.KeepAliveOnce(ctx, clientv3.LeaseID(l))
	if err != nil {
		return 0, fmt.Errorf("keep lease %d alive: %w", l, refusal(err))
	}
	return time.Duration(resp.TTL) * time.Second, nil
}

// Revoke ends a lease; see kv.Store.
func (s *Store) Revoke(ctx context.Context, l kv.LeaseID) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("revoke lease %d: %w", l, err)
	}
	defer end()
	if _, err := s.client.Revoke(ctx, clientv3.LeaseID(l)); err != nil && !isLeaseNotFound(err) {
		return fmt.Errorf("revoke lease %d: %w", l, refusal(err))
	}
	return nil
}

// Compact forgets what was before revision rev, in all of etcd, not only below this store's
// prefix. To compact again, or less, is no error. Embedded members do it by themselves.
func (s *Store) Compact(ctx context.Context, rev int64) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("compact at revision %d: %w", rev, err)
	}
	defer end()
	if _, err := s.client.Compact(ctx, rev, clientv3.WithCompactPhysical()); err != nil && !isCompacted(err) {
		return fmt.Errorf("compact at revision %d: %w", rev, refusal(err))
	}
	return nil
}

// changes translates the events of one answer to a watch, from revision rev on.
func (s *Store) changes(events []*clientv3.Event, rev int64) []kv.Change {
	first, _ := slices.BinarySearchFunc(events, rev, func(e *clientv3.Event, rev int64) int {
		return int(min(max(e.Kv.ModRevision-rev, -1), 1))
	})
	out := make([]kv.Change, 0, len(events)-first)
	for _, e := range events[first:] {
		if e.Type == clientv3.EventTypeDelete {
			out = append(out, kv.Change{KV: kv.KV{Key: string(e.Kv.Key[len(s.prefix):]), Mod: e.Kv.ModRevision}, Deleted: true})
		} else {
			out = append(out, kv.Change{KV: s.pair(e.Kv)})
		}
	}
	return out
}
