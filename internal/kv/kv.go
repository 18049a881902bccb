// Package kv is the seam between Gozer and the place where it keeps its state: an ordered
// key-value space with transactions, leases and watches, as etcd has them. It is small on
// purpose: everything that several schedulers need to agree is said with these few calls, and
// two implementations keep the same promises: kv/etcd on a real etcd (embedded or a cluster)
// and kv/memkv, its deterministic twin in memory. Both pass kvtest.
//
// # Promises
//
//  1. Every write happens in a transaction; a transaction that commits gets the next revision,
//     and all its writes carry that revision. Revisions grow by at least one. Transactions that
//     were under way at the same time, and none of which writes what another one reads or writes,
//     may share a revision. A transaction that changes nothing (no writes, or deletes of what is
//     not there) makes no revision; it tells the current one.
//  2. A transaction is atomic and linearizable: its compares see everything that committed
//     before it, and nothing sees half of its writes.
//  3. Range at revision R shows exactly what a reader at R would have seen. A revision that was
//     compacted away gives ErrCompacted; one of the future, ErrFutureRevision.
//  4. Watch from revision R delivers every change of the prefix with revision >= R, in order of
//     revision, each once, all changes of one revision together, in the order of the writes
//     (the keys of a DeletePrefix in byte order). A watcher that falls behind a compaction gets
//     ErrCompacted and must range again. A revision of the future is waited for.
//  5. A key written under a lease disappears when the lease ends (revoked, or not kept alive for
//     its time to live). Its disappearance is a change like any other.
//  6. ErrNoSpace, and an error other than the sentinels below, mean "unknown": the transaction may or
//     may not have committed. Callers re-read by a key of their own making; they never retry blindly.
package kv

import (
	"context"
	"errors"
	"time"
)

// Sentinel errors. Anything else means that the outcome is unknown (promise 6).
var (
	// ErrCompacted: the revision asked for is no longer kept. Range again, then watch.
	ErrCompacted = errors.New("revision was compacted")
	// ErrFutureRevision: the revision asked for has not happened yet.
	ErrFutureRevision = errors.New("revision is in the future")
	// ErrLeaseNotFound: the lease ended, and with it every key written under it.
	ErrLeaseNotFound = errors.New("lease not found")
	// ErrInvalid: the request makes no sense (an empty key, a key written twice); nothing was
	// written. It is a mistake in this program.
	ErrInvalid = errors.New("invalid request")
	// ErrTooLarge: the transaction has more operations or bytes than the limits below; nothing
	// was written.
	ErrTooLarge = errors.New("transaction too large")
	// ErrNoSpace: the store has reached its quota. Most often nothing was written, but that is not
	// known: etcd looks at its quota before it writes, and once more after.
	ErrNoSpace = errors.New("store is full")
	// ErrClosed: the store was closed by this process before the call began; nothing was
	// written. A transaction that Close interrupts has an unknown outcome, not this error.
	ErrClosed = errors.New("store is closed")
)

// Limits that every implementation enforces alike, so that tests on memkv find what etcd refuses.
const (
	// MaxValue is the largest value, in bytes.
	MaxValue = 512 << 10
	// MaxOps is the largest number of writes, and of compares, in one transaction.
	MaxOps = 512
	// MaxTxn is the largest sum of keys (also compared ones) and values of one transaction, in
	// bytes.
	MaxTxn = 4 << 20
)

// LeaseID names a lease. Zero is no lease.
type LeaseID int64

// KV is one key with its value and history counters.
type KV struct {
	Key string
	// Value is shared by everybody who reads it: it must not be changed. (A value that is put
	// may be: the store takes a copy.)
	Value []byte
	// Create is the revision at which the key was created; it identifies this incarnation and
	// serves as fencing token. Mod is the revision of the last write.
	Create, Mod int64
	Lease       LeaseID
}

// Cmp is one comparison. A transaction goes through only if all of them hold.
type Cmp struct {
	Key string
	// Target says what is compared: the key's create or mod revision (0 where the key does not
	// exist).
	Target Target
	Rev    int64
}

// Target is what a Cmp looks at.
type Target uint8

// What a Cmp can look at.
const (
	CreateRev Target = iota + 1
	ModRev
)

// Missing holds if the key does not exist.
func Missing(key string) Cmp { return Cmp{key, CreateRev, 0} }

// Created holds if the key exists in the incarnation made at revision rev: the fence.
func Created(key string, rev int64) Cmp { return Cmp{key, CreateRev, rev} }

// Unchanged holds if the key was last written at revision rev (0: does not exist).
func Unchanged(key string, rev int64) Cmp { return Cmp{key, ModRev, rev} }

// Op is one write: a put, or a delete of a key or a prefix.
type Op struct {
	Kind  OpKind
	Key   string
	Value []byte
	Lease LeaseID
}

// OpKind tells writes apart.
type OpKind uint8

// The writes there are.
const (
	OpPut OpKind = iota + 1
	OpDelete
	OpDeletePrefix
)

// Put writes value under key.
func Put(key string, value []byte) Op { return Op{Kind: OpPut, Key: key, Value: value} }

// PutLease writes value under key, to vanish with the lease.
func PutLease(key string, value []byte, l LeaseID) Op {
	return Op{Kind: OpPut, Key: key, Value: value, Lease: l}
}

// Delete removes key, if it is there.
func Delete(key string) Op { return Op{Kind: OpDelete, Key: key} }

// DeletePrefix removes every key that begins with prefix.
func DeletePrefix(prefix string) Op { return Op{Kind: OpDeletePrefix, Key: prefix} }

// Txn is a transaction: if all compares hold, all writes happen, in order. A key may be written
// once at the most (a DeletePrefix must not cover a key that is also written); see Check.
type Txn struct {
	If   []Cmp
	Then []Op
}

// Query says what a Range reads: all keys that begin with Prefix, in byte order, or the one key
// Key.
type Query struct {
	Key    string
	Prefix string
	// After, where set, leaves out keys up to and including it (pages).
	After string
	// Limit bounds the answer; 0 is no bound.
	Limit int
	// Rev reads the past: the state at that revision; 0 is now (linearizable).
	Rev int64
	// KeysOnly leaves the values away.
	KeysOnly bool
}

// Result is what a Range found, and the revision that it describes: watch from Rev+1 to see what
// came later.
type Result struct {
	KVs  []KV
	Rev  int64
	More bool
}

// Change is one key that changed. Deleted: only Key, and Mod as the revision of the deletion.
type Change struct {
	KV
	Deleted bool
}

// Batch is what one or more whole transactions changed, with the revision of the last of them.
type Batch struct {
	Changes []Change
	Rev     int64
}

// Store is the key-value space. All methods may be called from many goroutines.
type Store interface {
	// Commit carries out t. ok tells whether the compares held; where they did not, nothing was
	// written and rev is the revision at which they were looked at. rev is otherwise the revision
	// of the commit.
	Commit(ctx context.Context, t Txn) (ok bool, rev int64, err error)
	// Range reads.
	Range(ctx context.Context, q Query) (*Result, error)
	// Watch delivers the changes below prefix from revision rev on (0: from now on), until ctx
	// ends or fn gives an error, which Watch returns. fn is called from one goroutine, one batch
	// after the other. Watch itself blocks.
	Watch(ctx context.Context, prefix string, rev int64, fn func(Batch) error) error
	// Grant makes a lease that ends ttl after it was last kept alive. ttl is rounded up to whole
	// seconds; a store may have a shortest one, and gives never less than asked.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// KeepAlive renews the lease once and tells how long it now has. ErrLeaseNotFound if it ended.
	KeepAlive(ctx context.Context, l LeaseID) (time.Duration, error)
	// Revoke ends the lease and deletes its keys. No error if it ended already.
	Revoke(ctx context.Context, l LeaseID) error
}
