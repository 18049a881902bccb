package history_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/gatetest/wire"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Builds finish while the database is away: what there is to record waits in the store, and is written when
// the database is back, all of it and once.
func TestTheDatabaseIsAwayWhileBuildsFinish(t *testing.T) {
	pg := newServer(t)
	u, err := url.Parse(pg.url)
	if err != nil {
		t.Fatal(err)
	}
	w := wire.New(t, u.Host)
	u.Host = w.Addr()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	db, err := history.Open(ctx, history.Config{URL: u.String(), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := memkv.New(memkv.Config{})
	defer m.Close()
	st, err := store.Open(ctx, store.Config{KV: m})
	if err != nil {
		t.Fatal(err)
	}
	ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: m, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	sctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- history.Serve(sctx, history.ServeConfig{DB: db, Store: st, Session: ses, ID: "history"})
	}()
	defer func() {
		stop()
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve ended: %v", err)
		}
	}()
	finish := func(n int) {
		t.Helper()
		ops, _, err := st.EffectOps(ctx, "t", "gate", time.Now(), []pipeline.Effect{&pipeline.Record{Buildset: &pipeline.BuildsetRecord{
			ID: pipeline.BuildsetID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)), Tenant: "t", Pipeline: "gate", Result: pipeline.Success, At: time.Now()}}})
		if err == nil {
			_, err = st.Write(ctx, store.Fence{}, ops...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	waiting := func() int {
		r, err := m.Range(ctx, kv.Query{Prefix: store.RequestPrefix(store.KindRecord)})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.KVs)
	}
	drained := func() {
		t.Helper()
		for waiting() > 0 {
			if ctx.Err() != nil {
				t.Fatalf("%d records still wait", waiting())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	finish(1)
	drained()
	n := 1
	for what, away := range map[string]func(yes bool){
		"the wire is cut": w.Cut,
		"the server crashes": func(yes bool) {
			if yes {
				pg.stop(syscall.SIGQUIT)
			} else {
				pg.start()
			}
		},
	} {
		away(true)
		for range 19 {
			n++
			finish(n)
		}
		time.Sleep(300 * time.Millisecond)
		if err := db.Ping(ctx); err == nil {
			t.Errorf("%s: the database answers", what)
		}
		if got := waiting(); got != 19 {
			t.Errorf("%s: %d records wait while the database is away, want 19", what, got)
		}
		away(false)
		drained()
	}
	for n := 1; n <= 39; n++ {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
		if _, err := db.Buildset(ctx, "t", id); err != nil {
			t.Errorf("buildset %s: %v", id, err)
		}
	}
}
