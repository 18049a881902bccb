// Package kvtest is the conformance suite of package kv: whatever is a kv.Store passes Run. The
// tests are named for the promise that they hold the store to, and use nothing but the interface
// (and Compact and Close, where the store offers them), so that a caller who relies on the words
// in package kv gets the same on every store.
package kvtest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/kv"
)

// patience is how long something may take that should come at once, on a busy machine.
const patience = time.Minute

// Run holds a kind of store to the promises of package kv. newStore makes an empty one for each
// test, and cleans up after it.
func Run(t *testing.T, newStore func(t testing.TB) kv.Store) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"Txn/Compares", testCompares},
		{"Txn/FailedCompareWritesNothing", testFailedCompare},
		{"Txn/OneRevisionForAllWrites", testOneRevision},
		{"Txn/NoChangeNoRevision", testNoChange},
		{"Txn/IncarnationsOfAKey", testIncarnations},
		{"Txn/DeletePrefix", testDeletePrefix},
		{"Txn/ValuesAreCopied", testValuesCopied},
		{"Txn/AtTheLimits", testAtLimits},
		{"Txn/BeyondTheLimits", testBeyondLimits},
		{"Txn/Invalid", testInvalidTxn},
		{"Txn/Linearizable", testLinearizable},
		{"Range/PrefixAndKey", testRangePrefix},
		{"Range/OddKeys", testRangeOddKeys},
		{"Range/Pages", testRangePages},
		{"Range/AtRevision", testRangeAtRevision},
		{"Range/Invalid", testInvalidRange},
		{"Watch/Order", testWatchOrder},
		{"Watch/WholeTransactions", testWatchWhole},
		{"Watch/FromThePast", testWatchPast},
		{"Watch/FromTheFuture", testWatchFuture},
		{"Watch/FromNow", testWatchNow},
		{"Watch/Ends", testWatchEnds},
		{"Watch/ManyEndAtOnce", testWatchManyEnd},
		{"Watch/MirrorsConcurrentWrites", testWatchMirror},
		{"Compact", testCompact},
		{"Lease/OfKey", testLeaseOfKey},
		{"Lease/Expires", testLeaseExpires},
		{"Lease/KeptAlive", testLeaseKeptAlive},
		{"Lease/Revoke", testLeaseRevoke},
		{"Lease/LastWriteDecides", testLeaseLastWrite},
		{"Lease/Unknown", testLeaseUnknown},
		{"CanceledContext", testCanceled},
		{"Closed", testClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			test.run(&suite{TB: t, Store: newStore(t), ctx: ctx})
		})
	}
}

// suite is one test's store, with the calls that must work shortened.
type suite struct {
	testing.TB
	kv.Store
	ctx context.Context
}

// commit carries out ops and returns their revision.
func (s *suite) commit(ops ...kv.Op) int64 {
	s.Helper()
	return s.commitIf(nil, ops...)
}

// commitIf does the same under compares that must hold.
func (s *suite) commitIf(cmps []kv.Cmp, ops ...kv.Op) int64 {
	s.Helper()
	ok, rev, err := s.Commit(s.ctx, kv.Txn{If: cmps, Then: ops})
	if err != nil || !ok {
		s.Fatalf("Commit(%v, %v) = %v, %d, %v", cmps, ops, ok, rev, err)
	}
	return rev
}

func (s *suite) put(key, value string) int64 {
	s.Helper()
	return s.commit(kv.Put(key, []byte(value)))
}

func (s *suite) read(q kv.Query) *kv.Result {
	s.Helper()
	r, err := s.Range(s.ctx, q)
	if err != nil {
		s.Fatalf("Range(%+v): %v", q, err)
	}
	return r
}

func (s *suite) grant(ttl time.Duration) kv.LeaseID {
	s.Helper()
	l, err := s.Grant(s.ctx, ttl)
	if err != nil || l == 0 {
		s.Fatalf("Grant(%v) = %d, %v", ttl, l, err)
	}
	return l
}

// wantKeys compares the whole content below prefix with "key=value" words.
func (s *suite) wantKeys(prefix, words string) {
	s.Helper()
	s.wantWords(s.read(kv.Query{Prefix: prefix}), words)
}

func (s *suite) wantWords(r *kv.Result, words string) {
	s.Helper()
	got := []string{}
	for _, p := range r.KVs {
		got = append(got, p.Key+"="+string(p.Value))
	}
	if diff := cmp.Diff(strings.Fields(words), got); diff != "" {
		s.Fatalf("content (-want +got):\n%s", diff)
	}
}

func (s *suite) wantErr(err, want error, what string) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// until waits for something that happens by itself.
func (s *suite) until(what string, holds func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("%s: not within %v", what, patience)
		}
	}
}
