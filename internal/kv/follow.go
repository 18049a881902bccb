package kv

import (
	"context"
	"errors"
	"fmt"
)

// followPage bounds one answer of the ranges behind a snapshot, so that a large prefix is not
// one large message.
const followPage = 1000

// Get reads one key, linearizably. The bool tells whether it exists.
func Get(ctx context.Context, s Store, key string) (KV, bool, error) {
	if key == "" {
		return KV{}, false, fmt.Errorf("read an empty key: %w", ErrInvalid)
	}
	r, err := s.Range(ctx, Query{Key: key})
	if err != nil || len(r.KVs) == 0 {
		return KV{}, false, err
	}
	return r.KVs[0], true, nil
}

// Follow keeps a reader up to date with everything below prefix: onSnapshot gets the whole state
// at one revision, then onBatch every later change, as Watch promises it. Where the watch fell
// behind a compaction, onSnapshot is called again and replaces all that was known. Both are
// called from this goroutine. Follow blocks until ctx ends, one of the two gives an error (which
// is returned as it is) or the store does.
func Follow(ctx context.Context, s Store, prefix string, onSnapshot func(*Result) error, onBatch func(Batch) error) error {
	for {
		snap, err := snapshot(ctx, s, prefix)
		if errors.Is(err, ErrCompacted) {
			continue // compacted between two pages
		}
		if err != nil {
			return err
		}
		if err := onSnapshot(snap); err != nil {
			return err
		}
		var stop error
		err = s.Watch(ctx, prefix, snap.Rev+1, func(b Batch) error {
			stop = onBatch(b)
			return stop
		})
		// An ErrCompacted of the callback's own is the caller's, not ours to act upon.
		if stop != nil || !errors.Is(err, ErrCompacted) {
			return err
		}
	}
}

// snapshot reads all of prefix at one revision, page by page.
func snapshot(ctx context.Context, s Store, prefix string) (*Result, error) {
	all := &Result{}
	q := Query{Prefix: prefix, Limit: followPage}
	for {
		page, err := s.Range(ctx, q)
		if err != nil {
			return nil, err
		}
		all.KVs = append(all.KVs, page.KVs...)
		all.Rev = page.Rev
		if !page.More {
			return all, nil
		}
		q.Rev, q.After = page.Rev, page.KVs[len(page.KVs)-1].Key
	}
}
