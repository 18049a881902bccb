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
	takes time.Duration // a transaction, in a synctest bubble
	n     atomic.Int64
}

func (r *refusals) Commit(ctx context.Context, t kv.Txn) (bool, int64, error) {
	time.Sleep(r.takes)
	ok, rev, err := r.Store.Commit(ctx, t)
	if err == nil && !ok {
		r.n.Add(1)
	}
	return ok, rev, err
}

// Workers who want the same requests share them: each is served once, everybody gets some, and few races are lost,
// however long a transaction takes.
func TestWorkersShare(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, 300 * time.Millisecond} {
		t.Run(takes.String(), func(t *testing.T) { testWorkersShare(t, takes) })
	}
}

func testWorkersShare(t *testing.T, takes time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		const workers, requests = 5, 500
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m := memkv.New(memkv.Config{})
		defer m.Close()
		count := &refusals{Store: m, takes: takes}
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
		time.Sleep(5 * time.Minute)
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

// What is one worker's share, and not accepted by it, is another one's.
func TestWorkersShareWhatOneDoesNotAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		ctx, cancel := context.WithCancel(ctx)
		const requests = 200
		for i := range requests {
			put(t, ctx, s, store.Request{Kind: "k", ID: fmt.Sprint(i), Priority: i % 2})
		}
		var served atomic.Int64
		var all sync.WaitGroup
		for owner, accept := range map[string]func(*store.Request) func() bool{
			"choosy": func(r *store.Request) func() bool { return func() bool { return r.Priority == 1 } }, "other": nil,
		} {
			ses := session(t, ctx, s)
			all.Go(func() {
				_ = store.Serve(ctx, s, store.ServeConfig{Kind: "k", Session: ses, Owner: owner, Accept: accept, Slots: func(busy int) int { return 2 - busy }},
					func(ctx context.Context, task *store.Task) error {
						time.Sleep(100 * time.Millisecond)
						served.Add(1)
						return task.Done(ctx)
					})
			})
		}
		time.Sleep(time.Minute)
		cancel()
		all.Wait()
		if n := served.Load(); n != requests {
			t.Errorf("%d of %d requests were served", n, requests)
		}
	})
}

// A request is decided about once, and what is not for a worker costs it nothing while others come and go. It is asked
// about again as time goes by.
func TestWhatIsNotAcceptedRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		ctx, cancel := context.WithCancel(ctx)
		const elsewhere, here = 1000, 200
		for i := range elsewhere {
			put(t, ctx, s, store.Request{Kind: "k", ID: fmt.Sprint("not ", i)})
		}
		var decided, asked, served atomic.Int64
		var open atomic.Bool
		ses := session(t, ctx, s)
		var all sync.WaitGroup
		all.Go(func() {
			_ = store.Serve(ctx, s, store.ServeConfig{
				Kind: "k", Session: ses, Owner: "w",
				Accept: func(r *store.Request) func() bool {
					decided.Add(1)
					if r.Priority == 0 {
						return nil
					}
					return func() bool { asked.Add(1); return open.Load() }
				},
			}, func(ctx context.Context, task *store.Task) error { served.Add(1); return task.Done(ctx) })
		})
		for i := range elsewhere {
			put(t, ctx, s, store.Request{Kind: "k", ID: fmt.Sprint("other ", i), Priority: 1})
		}
		for i := range here {
			put(t, ctx, s, store.Request{Kind: "k", ID: fmt.Sprint("mine ", i)})
			synctest.Wait()
		}
		if n := served.Load(); n != elsewhere+here {
			t.Errorf("%d requests were served", n)
		}
		if d, a := decided.Load(), asked.Load(); d > 3*elsewhere || a > elsewhere {
			t.Errorf("%d decisions and %d questions about %d requests that are not for this worker", d, a, elsewhere)
		}
		open.Store(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := served.Load(); n != 2*elsewhere+here {
			t.Errorf("%d requests were served after all were accepted", n)
		}
		cancel()
		all.Wait()
	})
}
