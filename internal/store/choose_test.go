package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/store"
)

// refusals counts the transactions whose compares did not hold.
type refusals struct {
	kv.Store
	n atomic.Int64
}

func (r *refusals) Commit(ctx context.Context, t kv.Txn) (bool, int64, error) {
	time.Sleep(time.Millisecond) // as a disk takes: in a synctest bubble
	ok, rev, err := r.Store.Commit(ctx, t)
	if err == nil && !ok {
		r.n.Add(1)
	}
	return ok, rev, err
}

// Workers who want the same requests share them: each is served once, everybody gets some, and few races are lost.
func TestWorkersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, requests = 5, 500
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m := memkv.New(memkv.Config{})
		defer m.Close()
		count := &refusals{Store: m}
		s, err := store.Open(ctx, store.Config{KV: count})
		if err != nil {
			t.Fatal(err)
		}
		for i := range requests {
			put(t, ctx, s, store.Request{Kind: "k", ID: fmt.Sprint(i), Tenant: "t", Pipeline: "p"})
		}
		var mu sync.Mutex
		served, by := map[string]int{}, map[string]int{}
		var all sync.WaitGroup
		for i := range workers {
			owner := fmt.Sprint("worker", i)
			ses := session(t, ctx, s)
			all.Go(func() {
				_ = store.Serve(ctx, s, store.ServeConfig{Kind: "k", Session: ses, Owner: owner, Slots: func(busy int) int { return 8 - busy }},
					func(ctx context.Context, task *store.Task) error {
						time.Sleep(20 * time.Millisecond)
						mu.Lock()
						served[task.Request.ID]++
						by[owner]++
						mu.Unlock()
						return task.Done(ctx)
					})
			})
		}
		time.Sleep(time.Minute)
		cancel()
		all.Wait()
		if len(served) != requests {
			t.Errorf("%d of %d requests were served", len(served), requests)
		}
		for id, n := range served {
			if n != 1 {
				t.Errorf("request %s was served %d times", id, n)
			}
		}
		for owner, n := range by {
			if n < requests/workers/2 || n > 2*requests/workers {
				t.Errorf("%s served %d of %d requests", owner, n, requests)
			}
		}
		if n := count.n.Load(); n > requests/2 {
			t.Errorf("%d races were lost for %d requests", n, requests)
		}
	})
}
