package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/gozer-ci/gozer/internal/kv"
)

// dumpHead is the first line of a dump.
type dumpHead struct {
	Gozer    string    `json:"gozer"` // always "dump"
	Format   int       `json:"format"`
	Version  string    `json:"version,omitempty"`
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
}

// dumpLine is one record.
type dumpLine struct {
	Key   string `json:"k"`
	Value []byte `json:"v"`
}

// ErrNotEmpty: a restore would mix with what is there.
var ErrNotEmpty = errors.New("the store is not empty")

// Dump writes everything that is in the store at one revision, as compressed lines of JSON. What belongs to
// processes that are alive now (members, claims) is left out. It can run while everything works.
func (s *Store) Dump(ctx context.Context, w io.Writer) (records int, err error) {
	z, err := zstd.NewWriter(w)
	if err != nil {
		return 0, err
	}
	r, err := s.kv.Range(ctx, kv.Query{Key: "/meta/format"})
	if err != nil {
		return 0, fmt.Errorf("dump the store: %w", err)
	}
	enc := json.NewEncoder(z)
	if err := enc.Encode(dumpHead{"dump", Format, s.version, r.Rev, time.Now().UTC()}); err != nil {
		return 0, err
	}
	rev := r.Rev
	var werr error
	err = s.each(ctx, "/", &rev, func(e kv.KV) {
		if e.Lease == 0 && werr == nil {
			werr = enc.Encode(dumpLine{e.Key, e.Value})
			records++
		}
	})
	return records, errors.Join(err, werr, z.Close())
}

// Restore fills an empty store with a dump. ErrNotEmpty where it is not empty; ErrFormat where the dump was
// written by a newer program. A restore that was interrupted can be repeated into another empty store.
func (s *Store) Restore(ctx context.Context, r io.Reader) (records int, err error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(maxBlob))
	if err != nil {
		return 0, err
	}
	defer z.Close()
	dec := json.NewDecoder(bufio.NewReader(z))
	var head dumpHead
	if err := dec.Decode(&head); err != nil || head.Gozer != "dump" {
		return 0, fmt.Errorf("this is no dump of a store (gozer admin backup writes them): %w", errors.Join(err, ErrUnreadable))
	}
	if head.Format > Format {
		return 0, fmt.Errorf("the dump is of format %d, this gozer knows formats up to %d: %w", head.Format, Format, ErrFormat)
	}
	there, err := s.kv.Range(ctx, kv.Query{Prefix: "/", Limit: 2, KeysOnly: true})
	if err != nil {
		return 0, err
	}
	if len(there.KVs) > 1 || len(there.KVs) == 1 && there.KVs[0].Key != "/meta/format" {
		return 0, fmt.Errorf("it has %s: %w", there.KVs[0].Key, ErrNotEmpty)
	}
	var ops []kv.Op
	flush := func() error {
		_, err := s.Write(ctx, Fence{}, ops...)
		ops = nil
		return err
	}
	for {
		var l dumpLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return records, fmt.Errorf("read record %d of the dump: %w: %w", records+1, ErrUnreadable, err)
		}
		next := append(ops, kv.Put(l.Key, l.Value))
		if !small(next) && len(ops) > 0 {
			if err := flush(); err != nil {
				return records, err
			}
			next = []kv.Op{kv.Put(l.Key, l.Value)}
		}
		ops = next
		records++
	}
	if len(ops) == 0 {
		return records, nil
	}
	return records, flush()
}
