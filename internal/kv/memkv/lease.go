package memkv

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
)

// lease is a time to live and the keys that share it.
type lease struct {
	id    kv.LeaseID
	ttl   time.Duration
	until time.Time
	timer *time.Timer // ends the lease for those who only watch
	keys  map[string]struct{}
}

// start gives s the lease l, to end at l.until.
func (l *lease) start(s *Store) {
	l.timer = time.AfterFunc(time.Until(l.until), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.expireDue()
		}
	})
}

// clone copies l for another store.
func (l *lease) clone(s *Store) *lease {
	c := &lease{id: l.id, ttl: l.ttl, until: l.until, keys: maps.Clone(l.keys)}
	c.start(s)
	return c
}

// Grant makes a lease; see kv.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	secs, err := kv.Seconds(ttl)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("grant a lease: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return 0, err
	}
	s.granted++
	l := &lease{id: s.granted, ttl: time.Duration(secs) * time.Second, keys: map[string]struct{}{}}
	l.until = time.Now().Add(l.ttl)
	l.start(s)
	s.leases[l.id] = l
	return l.id, nil
}

// KeepAlive renews a lease; see kv.Store.
func (s *Store) KeepAlive(ctx context.Context, id kv.LeaseID) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("keep lease %d alive: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return 0, err
	}
	l := s.leases[id]
	if l == nil {
		return 0, fmt.Errorf("keep lease %d alive: %w", id, kv.ErrLeaseNotFound)
	}
	l.until = time.Now().Add(l.ttl)
	l.timer.Reset(l.ttl)
	return l.ttl, nil
}

// Revoke ends a lease; see kv.Store.
func (s *Store) Revoke(ctx context.Context, id kv.LeaseID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("revoke lease %d: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return err
	}
	if l := s.leases[id]; l != nil {
		s.end(l)
	}
	return nil
}

// expireDue ends the leases whose time is over, the earliest first, so that the same run always
// has the same revisions however timers of the same moment are scheduled.
func (s *Store) expireDue() {
	now := time.Now()
	var due []*lease
	for _, l := range s.leases {
		if !now.Before(l.until) {
			due = append(due, l)
		}
	}
	slices.SortFunc(due, func(a, b *lease) int {
		return cmp.Or(a.until.Compare(b.until), cmp.Compare(a.id, b.id))
	})
	for _, l := range due {
		s.end(l)
	}
}

// end deletes the keys of a lease in one transaction.
func (s *Store) end(l *lease) {
	l.timer.Stop()
	delete(s.leases, l.id)
	var ops []kv.Op
	for _, k := range slices.Sorted(maps.Keys(l.keys)) {
		ops = append(ops, kv.Delete(k))
	}
	s.write(ops)
}
