package kv_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
)

// Two schedulers want the same pipeline. The one that creates the key owns it; everything it
// writes compares that key's create revision, so that it cannot write any more once its lease is
// gone.
func ExampleStore() {
	ctx := context.Background()
	var s kv.Store = memkv.New(memkv.Config{})

	claim := func(who string, l kv.LeaseID) (bool, int64) {
		ok, rev, _ := s.Commit(ctx, kv.Txn{
			If:   []kv.Cmp{kv.Missing("owner/gate")},
			Then: []kv.Op{kv.PutLease("owner/gate", []byte(who), l)},
		})
		return ok, rev
	}
	work := func(who string, fence int64) bool {
		ok, _, _ := s.Commit(ctx, kv.Txn{
			If:   []kv.Cmp{kv.Created("owner/gate", fence)},
			Then: []kv.Op{kv.Put("state/gate", []byte("stepped by "+who))},
		})
		return ok
	}

	alice, _ := s.Grant(ctx, 10*time.Second)
	bob, _ := s.Grant(ctx, 10*time.Second)
	owned, aliceFence := claim("alice", alice)
	fmt.Println("alice owns:", owned)
	owned, _ = claim("bob", bob)
	fmt.Println("bob owns:", owned)
	fmt.Println("alice works:", work("alice", aliceFence))

	_ = s.Revoke(ctx, alice) // as if alice had died, and ten seconds passed
	owned, bobFence := claim("bob", bob)
	fmt.Println("bob owns:", owned)
	fmt.Println("alice, who does not know, works:", work("alice", aliceFence))
	fmt.Println("bob works:", work("bob", bobFence))
	// Output:
	// alice owns: true
	// bob owns: false
	// alice works: true
	// bob owns: true
	// alice, who does not know, works: false
	// bob works: true
}
