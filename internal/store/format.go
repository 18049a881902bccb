package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/gozer-ci/gozer/internal/kv"
)

// formatKey holds the format in which all records of the store are written: one number for all of them, so
// that a program knows with one read whether it understands everything. It goes up when every process that is
// there can read the next one, and never down.
const formatKey = "/meta/format"

// readFormat reads the format of the data. ErrFormat where they are newer than what this program knows.
func (s *Store) readFormat(ctx context.Context) (kv.KV, error) {
	e, _, err := kv.Get(ctx, s.kv, formatKey)
	if err != nil {
		return e, fmt.Errorf("read the format of the store: %w", err)
	}
	got, err := strconv.Atoi(string(e.Value))
	if err != nil || got > s.format {
		return e, fmt.Errorf("the data are of format %s, this gozer knows formats up to %d; "+
			"start the newer gozer, or another data folder: %w", e.Value, s.format, ErrFormat)
	}
	s.written.Store(int64(got))
	return e, nil
}

// Takes tells whether the store would take a write now. Reading works also where it is full: the answer comes
// from a write whose condition never holds.
func (s *Store) Takes(ctx context.Context) error {
	_, _, err := s.kv.Commit(ctx, kv.Txn{If: []kv.Cmp{kv.Missing(formatKey)}, Then: []kv.Op{kv.Put("/meta/never", nil)}})
	return err
}

// Writes is the format in which records are to be written now.
func (s *Store) Writes(ctx context.Context) (int, error) {
	e, err := s.readFormat(ctx)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(e.Value))
}

// Raise takes the store to the newest format that every member can read, if that is newer than the present
// one: what completes a rolling upgrade. A process that only knows an older format cannot join any more
// then.
func (s *Store) Raise(ctx context.Context) (raised bool, err error) {
	e, err := s.readFormat(ctx)
	if err != nil {
		return false, err
	}
	members, err := Records[Member](s, "/member/").List(ctx)
	if err != nil || len(members) == 0 {
		return false, err
	}
	next := s.format
	cmps := []kv.Cmp{kv.Unchanged(formatKey, e.Mod)}
	for _, m := range members {
		next = min(next, m.Value.Reads)
	}
	if now, _ := strconv.Atoi(string(e.Value)); next <= now {
		return false, nil
	}
	raised, _, err = s.kv.Commit(ctx, kv.Txn{If: cmps, Then: []kv.Op{kv.Put(formatKey, []byte(strconv.Itoa(next)))}})
	return raised, err
}
