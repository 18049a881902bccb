package history_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// wire is the way to a server, which can be cut.
type wire struct {
	l  net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, to: to}
	t.Cleanup(func() { _ = l.Close(); w.set(true) })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			w.mu.Lock()
			if err != nil || w.cut {
				w.mu.Unlock()
				_ = in.Close()
				continue
			}
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return w
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.conns = nil
	}
}

// Builds finish while the database is away: what there is to record waits in the store, and is written when
// the database is back, all of it and once.
func TestTheDatabaseIsAwayWhileBuildsFinish(t *testing.T) {
	u, err := url.Parse(postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, u.Host)
	u.Host = w.l.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
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
	w.set(true)
	for n := 2; n <= 20; n++ {
		finish(n)
	}
	time.Sleep(300 * time.Millisecond)
	if err := db.Ping(ctx); err == nil {
		t.Error("the database answers although the wire is cut")
	}
	if got := waiting(); got != 19 {
		t.Errorf("%d records wait while the database is away, want 19", got)
	}
	w.set(false)
	drained()
	for n := 1; n <= 20; n++ {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
		if _, err := db.Buildset(ctx, "t", id); err != nil {
			t.Errorf("buildset %s: %v", id, err)
		}
	}
}
