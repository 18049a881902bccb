package kv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
)

func put(t *testing.T, s kv.Store, key, value string) int64 {
	t.Helper()
	ok, rev, err := s.Commit(context.Background(), kv.Txn{Then: []kv.Op{kv.Put(key, []byte(value))}})
	if !ok || err != nil {
		t.Fatalf("put %s: %v, %v", key, ok, err)
	}
	return rev
}

func TestGet(t *testing.T) {
	s := memkv.New(memkv.Config{})
	rev := put(t, s, "a", "1")
	put(t, s, "ab", "2")
	want := kv.KV{Key: "a", Value: []byte("1"), Create: rev, Mod: rev}
	if got, ok, err := kv.Get(t.Context(), s, "a"); !ok || err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("Get = %+v, %v, %v", got, ok, err)
	}
	if _, ok, err := kv.Get(t.Context(), s, "b"); ok || err != nil {
		t.Errorf("Get of a missing key = %v, %v", ok, err)
	}
	if _, _, err := kv.Get(t.Context(), s, ""); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("Get of no key: %v", err)
	}
	s.Close()
	if _, _, err := kv.Get(t.Context(), s, "a"); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Get from a closed store: %v", err)
	}
}

// mirror is a reader kept up to date by Follow.
type mirror struct {
	state     map[string]string
	rev       int64
	snapshots int
	onBatch   func(kv.Batch) error
}

func (m *mirror) snapshot(r *kv.Result) error {
	m.state, m.rev = map[string]string{}, r.Rev
	m.snapshots++
	for _, p := range r.KVs {
		m.state[p.Key] = string(p.Value)
	}
	return nil
}

func (m *mirror) batch(b kv.Batch) error {
	for _, c := range b.Changes {
		if c.Mod <= m.rev {
			return fmt.Errorf("change of revision %d after %d", c.Mod, m.rev)
		}
		if c.Deleted {
			delete(m.state, c.Key)
		} else {
			m.state[c.Key] = string(c.Value)
		}
	}
	m.rev = b.Rev
	if m.onBatch != nil {
		return m.onBatch(b)
	}
	return nil
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New(memkv.Config{})
		for i := range 2500 { // three pages
			put(t, s, fmt.Sprintf("f/%04d", i), "old")
		}
		put(t, s, "g", "not ours")
		ctx, cancel := context.WithCancel(t.Context())
		m, ended := &mirror{}, make(chan error)
		go func() { ended <- kv.Follow(ctx, s, "f/", m.snapshot, m.batch) }()
		synctest.Wait()
		if len(m.state) != 2500 || m.snapshots != 1 {
			t.Errorf("%d keys in %d snapshots, want 2500 in one", len(m.state), m.snapshots)
		}
		last := put(t, s, "f/0007", "new")
		synctest.Wait()
		if m.state["f/0007"] != "new" || m.rev != last || m.snapshots != 1 {
			t.Errorf("after a change: %q at revision %d, %d snapshots", m.state["f/0007"], m.rev, m.snapshots)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow = %v", err)
		}
	})
}

// TestFollowCompacted: the reader was busy while the store moved on and forgot.
func TestFollowCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New(memkv.Config{})
		put(t, s, "f/gone", "1")
		ctx, cancel := context.WithCancel(t.Context())
		m, busy, ended := &mirror{}, make(chan bool), make(chan error)
		m.onBatch = func(kv.Batch) error { <-busy; return nil }
		go func() { ended <- kv.Follow(ctx, s, "f/", m.snapshot, m.batch) }()
		synctest.Wait()
		put(t, s, "f/a", "1")
		synctest.Wait() // it is busy now
		if _, _, err := s.Commit(ctx, kv.Txn{Then: []kv.Op{kv.Delete("f/gone")}}); err != nil {
			t.Fatal(err)
		}
		last := put(t, s, "f/a", "2")
		if err := s.Compact(ctx, last); err != nil {
			t.Fatal(err)
		}
		close(busy)
		synctest.Wait()
		if diff := cmp.Diff(map[string]string{"f/a": "2"}, m.state); diff != "" || m.snapshots != 2 {
			t.Errorf("after %d snapshots (-want +got):\n%s", m.snapshots, diff)
		}
		cancel()
		<-ended
	})
}

// compactedOnce is a store that is compacted between the pages of the first snapshot.
type compactedOnce struct {
	kv.Store
	done bool
}

func (c *compactedOnce) Range(ctx context.Context, q kv.Query) (*kv.Result, error) {
	if q.After != "" && !c.done {
		c.done = true
		return nil, fmt.Errorf("page: %w", kv.ErrCompacted)
	}
	return c.Store.Range(ctx, q)
}

func TestFollowCompactedBetweenPages(t *testing.T) {
	s := memkv.New(memkv.Config{})
	for i := range 1500 {
		put(t, s, fmt.Sprintf("%04d", i), "x")
	}
	stop := errors.New("stop")
	keys := 0
	err := kv.Follow(t.Context(), &compactedOnce{Store: s}, "", func(r *kv.Result) error {
		keys = len(r.KVs)
		return stop
	}, nil)
	if err != stop || keys != 1500 {
		t.Errorf("Follow = %v with %d keys; want 1500", err, keys)
	}
}

// TestFollowCallbackErrors: an error of the caller's ends Follow, whatever it looks like.
func TestFollowCallbackErrors(t *testing.T) {
	s := memkv.New(memkv.Config{})
	m := &mirror{}
	m.onBatch = func(kv.Batch) error { return kv.ErrCompacted }
	err := kv.Follow(t.Context(), s, "", func(r *kv.Result) error {
		put(t, s, "a", "1")
		return m.snapshot(r)
	}, m.batch)
	if err != kv.ErrCompacted || m.snapshots != 1 {
		t.Errorf("Follow = %v after %d snapshots, want the error of onBatch after one", err, m.snapshots)
	}
}
