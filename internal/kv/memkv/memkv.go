// Package memkv is the kv.Store in memory: the deterministic twin of etcd for tests and for the
// simulator. It keeps every promise of package kv, history and compaction included, enforces the
// same limits, and numbers revisions (from 1, by one) and leases (1, 2, ...) the same way each
// time.
//
// It has no goroutines: a watch runs in its caller's, and leases end by timers of package time
// and by a look at the clock in each call. Inside a testing/synctest bubble all of it follows the
// bubble's clock; the store must be made inside that bubble, too.
//
// What it lacks: a disk, and a quota (ErrNoSpace comes from a Fault only).
package memkv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/btree"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Config of a Store. The zero value is a store that keeps all history and never fails.
type Config struct {
	// Retain is how many of the latest revisions are kept at least; older ones are compacted away
	// as new ones come. 0 keeps all until Compact.
	Retain int
	// Fault, where set, is asked before each Commit what is to go wrong with it. No lock is held:
	// it may use the store itself, for example to let somebody else's write come first.
	Fault func(kv.Txn) Fault
}

// Fault is what goes wrong with one Commit.
type Fault struct {
	// Before is returned in place of carrying the transaction out.
	Before error
	// After is returned after the transaction was carried out: the "unknown outcome" of a real
	// network, whose truth is that it took effect.
	After error
}

// Store is a kv.Store in memory. All its methods may be called from many goroutines.
type Store struct {
	fault  func(kv.Txn) Fault
	retain int

	mu sync.Mutex
	// past holds the state at each revision that is kept, by one: past[0] is the compacted one,
	// the last is now. Each tree is a copy-on-write clone of the one before and is not written
	// again once it has a successor.
	past    []moment
	leases  map[kv.LeaseID]*lease
	granted kv.LeaseID
	// news is closed, and replaced, when a watcher has something to see.
	news   chan struct{}
	closed bool
}

// moment is the state at one revision, and what changed to make it.
type moment struct {
	rev     int64
	keys    *btree.BTreeG[kv.KV]
	changes []kv.Change
}

var _ kv.Store = (*Store)(nil)

// New makes an empty store.
func New(c Config) *Store {
	keys := btree.NewG(32, func(a, b kv.KV) bool { return a.Key < b.Key })
	return &Store{
		fault:  c.Fault,
		retain: c.Retain,
		past:   []moment{{rev: 1, keys: keys}},
		leases: map[kv.LeaseID]*lease{},
		news:   make(chan struct{}),
	}
}

// Close ends all watches with kv.ErrClosed and stops the timers of the leases. Every later call
// gives kv.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, l := range s.leases {
		l.timer.Stop()
	}
	s.announce()
	return nil
}

// Clone copies the store with its history and leases (which have as long to live as those of the
// original), but without its watches and faults. The two then go their own ways. The clone of a
// closed store is open: what a process finds that starts after another one ended.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireDue()
	c := New(Config{Retain: s.retain})
	c.past = slices.Clone(s.past)
	// Only the newest tree is ever cloned again, which writes to its bookkeeping: each store
	// needs its own.
	now := &c.past[len(c.past)-1]
	now.keys = now.keys.Clone()
	c.granted = s.granted
	for id, l := range s.leases {
		c.leases[id] = l.clone(c)
	}
	return c
}

// Rev is the current revision.
func (s *Store) Rev() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireDue()
	return s.now().rev
}

// Compact forgets what was before revision rev: ranges of earlier revisions, and watches that
// have not got so far, give kv.ErrCompacted. To compact again, or less, is no error.
func (s *Store) Compact(_ context.Context, rev int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return err
	}
	if now := s.now().rev; rev > now {
		return fmt.Errorf("compact at revision %d, now is %d: %w", rev, now, kv.ErrFutureRevision)
	}
	s.forget(rev)
	s.announce() // a watcher that waits has seen everything, one that is behind must learn of it
	return nil
}

// forget drops the moments before rev.
func (s *Store) forget(rev int64) {
	if n := rev - s.past[0].rev; n > 0 {
		s.past = slices.Clone(s.past[n:])
	}
}

// Commit carries out t; see kv.Store.
func (s *Store) Commit(ctx context.Context, t kv.Txn) (ok bool, rev int64, err error) {
	if err := t.Check(); err != nil {
		return false, 0, err
	}
	if err := ctx.Err(); err != nil {
		return false, 0, fmt.Errorf("commit: %w", err)
	}
	var f Fault
	if s.fault != nil {
		f = s.fault(t)
	}
	if f.Before != nil {
		return false, 0, f.Before
	}
	if ok, rev, err = s.commit(t); err != nil {
		return false, 0, err
	}
	if f.After != nil {
		return false, 0, f.After
	}
	return ok, rev, nil
}

func (s *Store) commit(t kv.Txn) (bool, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return false, 0, err
	}
	now := s.now()
	for _, c := range t.If {
		if !holds(now.keys, c) {
			return false, now.rev, nil
		}
	}
	for _, o := range t.Then {
		if o.Kind == kv.OpPut && o.Lease != 0 && s.leases[o.Lease] == nil {
			return false, 0, fmt.Errorf("put %q under lease %d: %w", o.Key, o.Lease, kv.ErrLeaseNotFound)
		}
	}
	return true, s.write(t.Then), nil
}

// holds looks at one compare. A key that does not exist has revision 0 in the zero KV.
func holds(keys *btree.BTreeG[kv.KV], c kv.Cmp) bool {
	have, _ := keys.Get(kv.KV{Key: c.Key})
	if c.Target == kv.CreateRev {
		return have.Create == c.Rev
	}
	return have.Mod == c.Rev
}

// write makes the next revision out of ops and returns it, or the current one if nothing changed.
func (s *Store) write(ops []kv.Op) int64 {
	now := s.now()
	next := moment{rev: now.rev + 1, keys: now.keys.Clone()}
	for _, o := range ops {
		switch o.Kind {
		case kv.OpPut:
			s.put(&next, o)
		case kv.OpDelete:
			s.remove(&next, o.Key)
		case kv.OpDeletePrefix:
			for _, k := range keysBelow(next.keys, o.Key) {
				s.remove(&next, k)
			}
		}
	}
	if len(next.changes) == 0 {
		return now.rev
	}
	s.past = append(s.past, next)
	if s.retain > 0 && len(s.past) >= 2*s.retain {
		// In steps, since forgetting copies what remains.
		s.forget(next.rev - int64(s.retain) + 1)
	}
	s.announce()
	return next.rev
}

func (s *Store) put(m *moment, o kv.Op) {
	pair := kv.KV{Key: o.Key, Value: slices.Clone(o.Value), Create: m.rev, Mod: m.rev, Lease: o.Lease}
	if pair.Value == nil {
		pair.Value = []byte{} // as after the way through etcd: nil is "not asked for"
	}
	old, existed := m.keys.Get(pair)
	if existed {
		pair.Create = old.Create
		s.detach(old)
	}
	if l := s.leases[o.Lease]; l != nil {
		l.keys[o.Key] = struct{}{}
	}
	m.keys.ReplaceOrInsert(pair)
	m.changes = append(m.changes, kv.Change{KV: pair})
}

func (s *Store) remove(m *moment, key string) {
	old, existed := m.keys.Delete(kv.KV{Key: key})
	if !existed {
		return
	}
	s.detach(old)
	m.changes = append(m.changes, kv.Change{KV: kv.KV{Key: key, Mod: m.rev}, Deleted: true})
}

// detach takes a key from the lease that it was written under.
func (s *Store) detach(old kv.KV) {
	if l := s.leases[old.Lease]; l != nil {
		delete(l.keys, old.Key)
	}
}

func keysBelow(keys *btree.BTreeG[kv.KV], prefix string) []string {
	var found []string
	keys.AscendGreaterOrEqual(kv.KV{Key: prefix}, func(p kv.KV) bool {
		if !strings.HasPrefix(p.Key, prefix) {
			return false
		}
		found = append(found, p.Key)
		return true
	})
	return found
}

// begin opens each call, with the lock held: no call sees a key whose lease has run out.
func (s *Store) begin() error {
	if s.closed {
		return kv.ErrClosed
	}
	s.expireDue()
	return nil
}

func (s *Store) now() *moment { return &s.past[len(s.past)-1] }

// announce wakes the watchers.
func (s *Store) announce() {
	close(s.news)
	s.news = make(chan struct{})
}
