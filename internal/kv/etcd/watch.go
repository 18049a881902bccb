package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Pauses between two attempts to resume a watch.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// Watch delivers changes; see kv.Store. It waits out an etcd that cannot be reached.
func (s *Store) Watch(ctx context.Context, prefix string, rev int64, fn func(kv.Batch) error) error {
	if s.isClosed() {
		return fmt.Errorf("watch %q: %w", prefix, kv.ErrClosed)
	}
	if rev == 0 {
		now, err := s.Range(ctx, kv.Query{Prefix: prefix, Limit: 1, KeysOnly: true})
		if err != nil {
			return err
		}
		rev = now.Rev + 1
	}
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	w := &watch{store: s, prefix: prefix, next: rev, fn: fn}
	err := w.run(wctx)
	if ctx.Err() == nil && s.isClosed() && errors.Is(err, context.Canceled) {
		return fmt.Errorf("watch %q: %w", prefix, kv.ErrClosed)
	}
	return err
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// watch is one Watch across the connections that it needs.
type watch struct {
	store  *Store
	prefix string
	next   int64 // the first revision that fn has not seen
	fn     func(kv.Batch) error
}

// run resumes the watch until ctx ends, fn is done or etcd says that it cannot go on.
func (w *watch) run(ctx context.Context) error {
	pause := firstPause
	for {
		before := w.next
		err := w.stream(ctx)
		if err != nil {
			return err
		}
		if w.next > before {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// stream serves one watch of etcd's client. No error means that it broke and can be resumed.
func (w *watch) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // lets the client drop the watch, too
	defer cancel()
	for resp := range w.store.client.Watch(w.open(ctx), w.store.prefix+w.prefix, w.options()...) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if resp.CompactRevision != 0 {
			return fmt.Errorf("watch %q from revision %d, kept are those from %d: %w",
				w.prefix, w.next, resp.CompactRevision, kv.ErrCompacted)
		}
		if err := resp.Err(); err != nil {
			if ctx.Err() == nil && !isPassing(err) {
				return fmt.Errorf("watch %q from revision %d: %w", w.prefix, w.next, err)
			}
			return ctx.Err()
		}
		if err := w.deliver(resp); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// open prepares the context of a watch. Each gets a stream of its own, which etcd's client makes for each
// different set of metadata: on a shared one, with no buffer between this process and an embedded server,
// a client that ends one watch and a server that has news for another wait for each other forever. Over a
// network the watch is also to break when the server that it goes to has lost its cluster, for otherwise
// it would silently stand still.
func (w *watch) open(ctx context.Context) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, "gozer-watch", strconv.FormatUint(w.store.watches.Add(1), 10))
	if w.store.remote {
		return clientv3.WithRequireLeader(ctx)
	}
	return ctx
}

func (w *watch) options() []clientv3.OpOption {
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(w.next), clientv3.WithProgressNotify()}
	if w.store.remote {
		// Large answers come in parts, which the client joins before we see them.
		opts = append(opts, clientv3.WithFragment())
	}
	return opts
}

// deliver hands over what an answer brings. A message of mere progress moves the revision that
// the watch resumes at, so that a quiet prefix does not fall behind a compaction.
func (w *watch) deliver(resp clientv3.WatchResponse) error {
	if resp.IsProgressNotify() {
		w.next = max(w.next, resp.Header.Revision+1)
		return nil
	}
	changes := w.store.changes(resp.Events, w.next)
	if len(changes) == 0 {
		return nil
	}
	b := kv.Batch{Changes: changes, Rev: changes[len(changes)-1].Mod}
	w.next = b.Rev + 1
	return w.fn(b)
}
