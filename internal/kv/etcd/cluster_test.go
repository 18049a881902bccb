package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

// TestWatchAcrossRestart: a watch over the network lives through a restart of the server, and
// delivers what was written while it had no connection, each change once.
func TestWatchAcrossRestart(t *testing.T) {
	c := etcd.EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), ClientAddr: port.Own(t)}
	m := start(t, c)
	s := dial(t, m)
	first := put(t, s, "w", "0")

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const writes = 30
	enough := errors.New("enough")
	var got []int64
	var seen atomic.Int64
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, "w", first+1, func(b kv.Batch) error {
			for _, c := range b.Changes {
				got = append(got, c.Mod)
			}
			if seen.Store(int64(len(got))); len(got) >= writes {
				return enough
			}
			return nil
		})
	}()
	var want []int64
	for i := range writes {
		switch i {
		case 10, 20:
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			m = start(t, c)
		}
		want = append(want, put(t, m.Store(), "w", fmt.Sprint(i)))
	}
	if err := <-ended; err != enough {
		t.Fatalf("Watch = %v after %d of %d changes", err, seen.Load(), writes)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("watched %v\nwritten %v", got, want)
	}
}

// TestGrow: a member that was alone gets an address and two others; the cluster then survives
// the loss of any one of them.
func TestGrow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one")
	one := start(t, etcd.EmbedConfig{Dir: dir, Name: "one"})
	put(t, one.Store(), "a", "alone")
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	one = start(t, etcd.EmbedConfig{Dir: dir, Name: "one", PeerAddr: port.Own(t), ClientAddr: "127.0.0.1:0"})
	join := []string{one.ClientAddr()}
	second := etcd.EmbedConfig{
		Dir: filepath.Join(t.TempDir(), "two"), Name: "two", PeerAddr: port.Own(t), ClientAddr: "127.0.0.1:0", Join: join,
	}
	two := start(t, second)
	three := start(t, etcd.EmbedConfig{Name: "three", PeerAddr: port.Own(t), Join: join})
	wantValue(t, three.Store(), "a", "alone")

	_, err := etcd.Start(t.Context(), etcd.EmbedConfig{
		Dir: filepath.Join(t.TempDir(), "etcd"), Name: "two", PeerAddr: port.Own(t), Join: join,
	})
	wantErr(t, err, `has a member "two" already`)

	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, three.Store(), "b", "without two")
	two = start(t, second) // Join is ignored now
	wantValue(t, two.Store(), "b", "without two")
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	deadline, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		ok, _, err := two.Store().Commit(deadline, kv.Txn{Then: []kv.Op{kv.Put("c", []byte("without one"))}})
		if ok {
			break
		}
		if deadline.Err() != nil {
			t.Fatalf("no commit without the first member: %v", err)
		}
	}
	wantValue(t, three.Store(), "c", "without one")
}

// TestForeignLimits: a cluster with etcd's own, lower limits refuses what is too large for it,
// and the store tells it with the sentinel.
func TestForeignLimits(t *testing.T) {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = filepath.Join(t.TempDir(), "etcd"), "panic", true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls[0].Host = port.Own(t)
	foreign, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	s, err := etcd.Dial(t.Context(), etcd.DialConfig{Endpoints: []string{"127.0.0.1:1", foreign.Clients[0].Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, "a", "1")
	txns := map[string]kv.Txn{"operations": {}, "bytes": {}, "many bytes": {}}
	for i := range 200 {
		o := txns["operations"]
		o.Then = append(o.Then, kv.Put(fmt.Sprint(i), nil))
		txns["operations"] = o
	}
	for name, n := range map[string]int{"bytes": 3, "many bytes": 7} {
		var o kv.Txn
		for i := range n {
			o.Then = append(o.Then, kv.Put(fmt.Sprint(i), make([]byte, kv.MaxValue)))
		}
		txns[name] = o
	}
	for name, txn := range txns {
		if ok, _, err := s.Commit(t.Context(), txn); ok || !errors.Is(err, kv.ErrTooLarge) {
			t.Errorf("too many %s: %v, %v; want ErrTooLarge", name, ok, err)
		}
	}
}

func TestDialNobody(t *testing.T) {
	addr := port.Own(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := etcd.Dial(ctx, etcd.DialConfig{Endpoints: []string{addr}, Timeout: 300 * time.Millisecond})
	wantErr(t, err, "reach etcd at "+addr)
	if ctx.Err() != nil {
		t.Error("it did not give up by itself")
	}
	if _, err := etcd.Dial(t.Context(), etcd.DialConfig{}); err == nil {
		t.Error("dialed without endpoints")
	}
}
