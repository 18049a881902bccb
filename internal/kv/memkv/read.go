package memkv

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/btree"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Range reads; see kv.Store.
func (s *Store) Range(ctx context.Context, q kv.Query) (*kv.Result, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("range: %w", err)
	}
	m, err := s.at(q.Rev)
	if err != nil {
		return nil, fmt.Errorf("range %q: %w", q.Key+q.Prefix, err)
	}
	r := &kv.Result{Rev: m.rev}
	if q.Key != "" {
		if p, ok := m.keys.Get(kv.KV{Key: q.Key}); ok {
			r.KVs = append(r.KVs, p)
		}
	} else {
		collect(r, m.keys, q)
	}
	if q.KeysOnly {
		for i := range r.KVs {
			r.KVs[i].Value = nil
		}
	}
	return r, nil
}

// at gives the state at rev (0: now). It is not written any more and can be read without lock.
func (s *Store) at(rev int64) (moment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return moment{}, err
	}
	first, now := s.past[0].rev, s.now()
	switch {
	case rev == 0:
		return *now, nil
	case rev < first:
		return moment{}, fmt.Errorf("revision %d, kept are those from %d: %w", rev, first, kv.ErrCompacted)
	case rev > now.rev:
		return moment{}, fmt.Errorf("revision %d, now is %d: %w", rev, now.rev, kv.ErrFutureRevision)
	}
	return s.past[rev-first], nil
}

// collect fills r with what q asks for.
func collect(r *kv.Result, keys *btree.BTreeG[kv.KV], q kv.Query) {
	start := q.Prefix
	if q.After >= start && q.After != "" {
		start = q.After + "\x00" // the very next key
	}
	keys.AscendGreaterOrEqual(kv.KV{Key: start}, func(p kv.KV) bool {
		if !strings.HasPrefix(p.Key, q.Prefix) {
			return false
		}
		if q.Limit > 0 && len(r.KVs) == q.Limit {
			r.More = true
			return false
		}
		r.KVs = append(r.KVs, p)
		return true
	})
}

// Watch delivers changes; see kv.Store. A batch holds everything that happened since the last
// one. Watch ends with kv.ErrClosed when the store is closed.
func (s *Store) Watch(ctx context.Context, prefix string, rev int64, fn func(kv.Batch) error) error {
	next := rev
	if next == 0 {
		m, err := s.at(0)
		if err != nil {
			return fmt.Errorf("watch %q: %w", prefix, err)
		}
		next = m.rev + 1
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, seen, news, err := s.since(prefix, next)
		if err != nil {
			return fmt.Errorf("watch %q: %w", prefix, err)
		}
		next = max(next, seen+1)
		if len(b.Changes) > 0 {
			if err := fn(b); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-news:
		}
	}
}

// since gathers the changes below prefix from revision rev on. It also tells up to where it
// looked, and what to wait on for more.
func (s *Store) since(prefix string, rev int64) (b kv.Batch, seen int64, news <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return b, 0, nil, err
	}
	first := s.past[0].rev
	if rev < first {
		return b, 0, nil, fmt.Errorf("from revision %d, kept are those from %d: %w", rev, first, kv.ErrCompacted)
	}
	for i := rev - first; i < int64(len(s.past)); i++ {
		for _, c := range s.past[i].changes {
			if strings.HasPrefix(c.Key, prefix) {
				b.Changes = append(b.Changes, c)
				b.Rev = c.Mod
			}
		}
	}
	return b, s.now().rev, s.news, nil
}
