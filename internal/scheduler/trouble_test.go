package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/store"
)

// A store that is full, refuses, is slow or forgets its history under the watches: the pipeline waits, sets
// nothing aside, and goes on with everything that came meanwhile when the store is well again.
func TestAPipelineOutlivesTroubleWithItsStore(t *testing.T) {
	var mu sync.Mutex
	var trouble func(kv.Txn) memkv.Fault
	m := memkv.New(memkv.Config{Retain: 4, Fault: func(txn kv.Txn) memkv.Fault {
		mu.Lock()
		f := trouble
		mu.Unlock()
		if f == nil {
			return memkv.Fault{}
		}
		return f(txn)
	}})
	defer m.Close()
	set := func(f func(kv.Txn) memkv.Fault) {
		mu.Lock()
		defer mu.Unlock()
		trouble = f
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	st, err := store.Open(ctx, store.Config{KV: m})
	if err != nil {
		t.Fatal(err)
	}
	ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: m, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f, ok, err := st.Own(ctx, ses, "pipeline t p", "me")
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	r := &scheduler.Runner{Store: st, Log: slog.New(slog.DiscardHandler), Tenant: "t", Name: "p", Fence: f,
		Others: func(context.Context, bool) ([]scheduler.Place, error) { return nil, nil }}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(run) }()
	project := change.Project{Connection: "forge", Host: "forge", Name: "one"}
	send := func(in pipeline.Input) {
		t.Helper()
		ops, err := st.InputOps(ctx, "t", "p", in)
		if err != nil {
			t.Fatal(err)
		}
		for { // whoever sends has the same trouble, and insists
			if _, err := st.Write(ctx, store.Fence{}, ops...); err == nil {
				return
			} else if ctx.Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	items := func() int {
		s, _, err := st.LoadPipeline(ctx, "t", "p")
		if err != nil {
			return -1
		}
		return len(s.Items)
	}
	send(&pipeline.Reconfigure{Settings: pipeline.Settings{Name: "p", Manager: pipeline.Independent, AllowOtherConnections: true},
		Tenant: pipeline.Tenant{Name: "t", Layout: "L", Projects: map[string]pipeline.Project{project.Canonical(): {Project: project, InPipeline: true}}}})
	ours := func(txn kv.Txn) bool { // what the pipeline commits, not what others send
		return len(txn.If) > 0
	}
	n := 0
	for name, f := range map[string]func(kv.Txn) memkv.Fault{
		"full":    func(txn kv.Txn) memkv.Fault { return fault(ours(txn), kv.ErrNoSpace, nil) },
		"refuses": func(txn kv.Txn) memkv.Fault { return fault(ours(txn), errors.New("no leader"), nil) },
		"unknown": func(txn kv.Txn) memkv.Fault { return fault(ours(txn), nil, errors.New("timed out")) },
		"slow":    func(kv.Txn) memkv.Fault { time.Sleep(30 * time.Millisecond); return memkv.Fault{} },
	} {
		set(f)
		for range 5 {
			n++
			c := &change.Change{Kind: change.KindChange, Project: project, Branch: "main", Number: string(rune('a' + n)), Patchset: "1", Files: []string{"x"}, Open: true, Current: true}
			send(&pipeline.Trigger{Event: event.Event{ID: "e", Type: "patchset-created"}, Key: c.Key(), Changes: []*change.Change{c}, Match: true})
		}
		time.Sleep(150 * time.Millisecond)
		set(nil)
		for end := time.Now().Add(2 * time.Minute); items() != n; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after %q there are %d items, want %d", name, items(), n)
			}
		}
	}
	dead, err := m.Range(ctx, kv.Query{Prefix: "/dead/"})
	if err != nil || len(dead.KVs) > 0 {
		t.Errorf("set aside: %v, %v", dead.KVs, err)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the pipeline ended: %v", err)
	}
}

func fault(hit bool, before, after error) memkv.Fault {
	if !hit {
		return memkv.Fault{}
	}
	return memkv.Fault{Before: before, After: after}
}
