// Package store is Gozer's state as typed records on kv: pipelines with their items, inboxes of inputs,
// requests that workers take and answer, content-addressed blobs for anything large, membership and
// claims. It is the only way in which scheduler, merger, executor, launcher, reporter and web speak to
// each other: each takes a record and leaves one.
//
// Every write that belongs to a piece of owned work is fenced: it goes through only if the claim under
// which the writer works still exists in the incarnation that the writer made. A former owner, whatever
// paused it, changes nothing.
package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Format is the version of the records that this program writes, and the newest that it reads.
const Format = 2

// Errors that callers tell apart.
var (
	// ErrFormat: the data were written by a newer program.
	ErrFormat = errors.New("the data are of a format that this program does not know")
	// ErrFenced: the claim that the write was made under is gone; somebody else may own the work now.
	ErrFenced = errors.New("the claim is lost")
	// ErrConflict: the record changed since it was read. Read it again.
	ErrConflict = errors.New("the record was changed by somebody else")
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("no such record")
	// ErrUnreadable: the record is there and damaged; it will not get better.
	ErrUnreadable = errors.New("the record cannot be read")
	// ErrCancelled: the request was withdrawn.
	ErrCancelled = errors.New("cancelled")
)

// Config is what Open needs.
type Config struct {
	KV  kv.Store
	Log *slog.Logger
	// Random is where names that nobody else makes come from; nil is crypto/rand. Only a simulation has
	// reason to set it.
	Random io.Reader
	// Host and Version are what members that name none are registered with.
	Host, Version string
	// Format is the newest format that this process reads; 0 is Format. Only a test has reason to set it.
	Format int
	// Sleep waits between attempts, until d has passed or ctx ends; nil does. A simulation has no time.
	Sleep func(ctx context.Context, d time.Duration)
}

// Store is the typed state. It is safe for use by many goroutines.
type Store struct {
	kv            kv.Store
	log           *slog.Logger
	host, version string
	format        int
	written       atomic.Int64 // the format of the data, as read last: it never goes down

	random io.Reader
	sleep  func(context.Context, time.Duration)
}

// Open checks the format of the data, or stamps an empty store with it.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	s := &Store{kv: c.KV, log: c.Log, random: c.Random, sleep: c.Sleep, host: c.Host, version: c.Version, format: c.Format}
	if s.format == 0 {
		s.format = Format
	}
	// Read first: a store that is full can still be looked at and backed up.
	if _, there, err := kv.Get(ctx, c.KV, formatKey); err != nil {
		return nil, fmt.Errorf("read the format of the store: %w", err)
	} else if !there {
		_, _, err := c.KV.Commit(ctx, kv.Txn{
			If:   []kv.Cmp{kv.Missing(formatKey)},
			Then: []kv.Op{kv.Put(formatKey, []byte(strconv.Itoa(s.format)))},
		})
		if err != nil {
			return nil, fmt.Errorf("stamp the store with format %d: %w", s.format, err)
		}
	}
	_, err := s.readFormat(ctx)
	return s, err
}

// KV is the space below.
func (s *Store) KV() kv.Store { return s.kv }

// Fence is a claim that a write is made under: it goes through only while the key exists as it was
// created at revision Rev. The zero Fence is no condition.
type Fence struct {
	Key string
	Rev int64
}

func (f Fence) cmps() []kv.Cmp {
	if f.Key == "" {
		return nil
	}
	return []kv.Cmp{kv.Created(f.Key, f.Rev)}
}

// Write commits ops under a fence. A fence that does not hold gives ErrFenced.
func (s *Store) Write(ctx context.Context, f Fence, ops ...kv.Op) (rev int64, err error) {
	ok, rev, err := s.kv.Commit(ctx, kv.Txn{If: f.cmps(), Then: ops})
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, ErrFenced
	}
	return rev, nil
}

// timeout bounds clean-up writes that must happen although the caller's context has ended.
const timeout = 5 * time.Second

// aside is a context for such writes.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// refused tells whether an error says that nothing was written, and that trying again will not help.
func refused(err error) bool {
	for _, no := range []error{ErrFenced, ErrConflict, kv.ErrInvalid, kv.ErrTooLarge, kv.ErrClosed, kv.ErrLeaseNotFound} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// Encode writes a record of ours down as JSON.
func Encode(v any) []byte { return encode(v) }

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		// Records are plain data of our own; one that cannot be written down is a programming error.
		panic(fmt.Sprintf("store: encode %T: %v", v, err))
	}
	return b
}
