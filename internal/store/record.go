package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Collection is all records of one type below a prefix, each a JSON value under prefix + name.
type Collection[T any] struct {
	s      *Store
	prefix string
}

// Records gives the collection below prefix, which ends with a slash.
func Records[T any](s *Store, prefix string) *Collection[T] {
	return &Collection[T]{s: s, prefix: prefix}
}

// Record is one record with the revision of its last write and the one of its creation.
type Record[T any] struct {
	Name   string
	Value  T
	Create int64
	Mod    int64
}

// Key is the full key of a name.
func (c *Collection[T]) Key(name string) string { return c.prefix + name }

// Get reads one record. ErrNotFound where there is none.
func (c *Collection[T]) Get(ctx context.Context, name string) (Record[T], error) {
	e, ok, err := kv.Get(ctx, c.s.kv, c.prefix+name)
	if err != nil {
		return Record[T]{}, fmt.Errorf("read %s%s: %w", c.prefix, name, err)
	}
	if !ok {
		return Record[T]{}, fmt.Errorf("read %s%s: %w", c.prefix, name, ErrNotFound)
	}
	return c.decode(e)
}

// List reads all records, in order of their names.
func (c *Collection[T]) List(ctx context.Context) ([]Record[T], error) {
	r, err := c.s.kv.Range(ctx, kv.Query{Prefix: c.prefix})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", c.prefix, err)
	}
	out := make([]Record[T], 0, len(r.KVs))
	for _, e := range r.KVs {
		rec, err := c.decode(e)
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

func (c *Collection[T]) decode(e kv.KV) (Record[T], error) {
	r := Record[T]{Name: strings.TrimPrefix(e.Key, c.prefix), Create: e.Create, Mod: e.Mod}
	if err := json.Unmarshal(e.Value, &r.Value); err != nil {
		return r, fmt.Errorf("decode %s: %w", e.Key, err)
	}
	return r, nil
}

// Op is the write of v under name, to be part of somebody's transaction.
func (c *Collection[T]) Op(name string, v T) kv.Op { return kv.Put(c.prefix+name, encode(v)) }

// Put writes v if the record was last written at revision mod (0: does not exist yet). ErrConflict where
// it was not.
func (c *Collection[T]) Put(ctx context.Context, name string, v T, mod int64) (rev int64, err error) {
	return c.commit(ctx, name, mod, c.Op(name, v))
}

// Delete removes the record if it was last written at revision mod. ErrConflict where it was not.
func (c *Collection[T]) Delete(ctx context.Context, name string, mod int64) error {
	_, err := c.commit(ctx, name, mod, kv.Delete(c.prefix+name))
	return err
}

func (c *Collection[T]) commit(ctx context.Context, name string, mod int64, op kv.Op) (int64, error) {
	ok, rev, err := c.s.kv.Commit(ctx, kv.Txn{
		If:   []kv.Cmp{kv.Unchanged(c.prefix+name, mod)},
		Then: []kv.Op{op},
	})
	if err != nil {
		return 0, fmt.Errorf("write %s%s: %w", c.prefix, name, err)
	}
	if !ok {
		return 0, fmt.Errorf("write %s%s: %w", c.prefix, name, ErrConflict)
	}
	return rev, nil
}

// Change reads the record, lets fn alter it and writes it back, again while others interfere. fn says
// with keep false that the record shall go, and with an error that nothing shall be done. A record that
// does not exist is given as the zero value.
func (c *Collection[T]) Change(ctx context.Context, name string, fn func(v *T, exists bool) (keep bool, err error)) error {
	for range 50 {
		e, ok, err := kv.Get(ctx, c.s.kv, c.prefix+name)
		if err != nil {
			return fmt.Errorf("read %s%s: %w", c.prefix, name, err)
		}
		var r Record[T]
		if ok {
			if r, err = c.decode(e); err != nil {
				return err
			}
		}
		keep, err := fn(&r.Value, ok)
		if err != nil {
			return err
		}
		op := kv.Delete(c.prefix + name)
		if keep {
			op = c.Op(name, r.Value)
		} else if !ok {
			return nil
		}
		done, _, err := c.s.kv.Commit(ctx, kv.Txn{If: []kv.Cmp{kv.Unchanged(c.prefix+name, e.Mod)}, Then: []kv.Op{op}})
		if err != nil {
			return fmt.Errorf("write %s%s: %w", c.prefix, name, err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("write %s%s: %w", c.prefix, name, ErrConflict)
}

// Follow calls fn for every record that is there, then for every one that changes; a record that went is
// given with gone set and the zero value. ready, where not nil, is called once after the first pass. It
// returns when ctx ends or fn gives an error.
func (c *Collection[T]) Follow(ctx context.Context, ready func(), fn func(r Record[T], gone bool) error) error {
	have := map[string]bool{}
	give := func(e kv.KV) error {
		r, err := c.decode(e)
		if err != nil {
			c.s.log.Warn("a record cannot be read", "key", e.Key, "error", err)
			return nil
		}
		have[r.Name] = true
		return fn(r, false)
	}
	first := true
	return kv.Follow(ctx, c.s.kv, c.prefix, func(res *kv.Result) error {
		seen := map[string]bool{}
		for _, e := range res.KVs {
			seen[strings.TrimPrefix(e.Key, c.prefix)] = true
			if err := give(e); err != nil {
				return err
			}
		}
		for name := range have {
			if !seen[name] {
				delete(have, name)
				if err := fn(Record[T]{Name: name, Mod: res.Rev}, true); err != nil {
					return err
				}
			}
		}
		if first && ready != nil {
			ready()
		}
		first = false
		return nil
	}, func(b kv.Batch) error {
		for _, ch := range b.Changes {
			var err error
			if ch.Deleted {
				name := strings.TrimPrefix(ch.Key, c.prefix)
				delete(have, name)
				err = fn(Record[T]{Name: name, Mod: ch.Mod}, true)
			} else {
				err = give(ch.KV)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
