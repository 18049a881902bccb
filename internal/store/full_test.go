package store_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// What a request came to waits as long as the store is full, and arrives once; a worker that is told to stop gives up
// after half a minute, and the request is somebody else's.
func TestAnOutcomeWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		m := memkv.New(memkv.Config{Fault: func(txn kv.Txn) memkv.Fault {
			for _, o := range txn.Then {
				if full.Load() && o.Kind == kv.OpPut {
					return memkv.Fault{Before: kv.ErrNoSpace}
				}
			}
			return memkv.Fault{}
		}})
		defer m.Close()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		s, err := store.Open(ctx, store.Config{KV: m})
		if err != nil {
			t.Fatal(err)
		}
		ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: m, TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = ses.Run(t.Context()) }()
		ask := func(id string) {
			t.Helper()
			op, err := s.RequestOp(ctx, store.Request{Kind: store.KindMerge, ID: id, Tenant: "t", Pipeline: "gate"}, &pipeline.Merge{})
			if err != nil {
				t.Fatal(err)
			}
			write(t, s, op)
		}
		count := func(prefix string) int {
			t.Helper()
			r, err := m.Range(context.WithoutCancel(ctx), kv.Query{Prefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			return len(r.KVs)
		}
		handled := 0
		served := make(chan error, 1)
		go func() {
			served <- store.Serve(ctx, s, store.ServeConfig{Kind: store.KindMerge, Session: ses, Owner: "me"}, func(ctx context.Context, task *store.Task) error {
				handled++
				full.Store(true)
				return task.Done(ctx, &pipeline.Wake{})
			})
		}()
		ask("one")
		time.Sleep(time.Hour)
		if handled != 1 || count(store.InboxPrefix("t", "gate")) != 0 || count(store.RequestPrefix(store.KindMerge)) != 1 {
			t.Errorf("while the store is full: handled %d times, %d outcomes", handled, count(store.InboxPrefix("t", "gate")))
		}
		full.Store(false)
		time.Sleep(10 * time.Second)
		if handled != 1 || count(store.InboxPrefix("t", "gate")) != 1 || count(store.RequestPrefix(store.KindMerge)) != 0 {
			t.Errorf("when there is room: handled %d times, %d outcomes", handled, count(store.InboxPrefix("t", "gate")))
		}
		ask("two")
		time.Sleep(time.Second)
		stop()
		began := time.Now()
		<-served
		if took := time.Since(began); took < 29*time.Second || took > time.Minute {
			t.Errorf("it gave up after %v", took)
		}
		if count(store.RequestPrefix(store.KindMerge)) != 1 || count(store.ClaimPrefix(store.KindMerge)) != 0 {
			t.Error("the request that was given up is lost, or nobody else can take it")
		}
	})
}
