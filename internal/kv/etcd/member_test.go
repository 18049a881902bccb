package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

func put(t *testing.T, s kv.Store, key, value string) int64 {
	t.Helper()
	ok, rev, err := s.Commit(t.Context(), kv.Txn{Then: []kv.Op{kv.Put(key, []byte(value))}})
	if !ok || err != nil {
		t.Fatalf("put %s: %v, %v", key, ok, err)
	}
	return rev
}

func wantValue(t *testing.T, s kv.Store, key, want string) {
	t.Helper()
	if p, ok, err := kv.Get(t.Context(), s, key); !ok || err != nil || string(p.Value) != want {
		t.Errorf("Get(%q) = %q, %v, %v; want %q", key, p.Value, ok, err, want)
	}
}

// wantErr expects an error that says each of the words.
func wantErr(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v, want one that says %q", err, w)
		}
	}
}

func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	m := start(t, etcd.EmbedConfig{Dir: dir})
	rev := put(t, m.Store(), "a", "1")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	select {
	case <-m.Done():
	case <-time.After(time.Minute):
		t.Error("Done is open after Close")
	}
	m = start(t, etcd.EmbedConfig{Dir: dir})
	wantValue(t, m.Store(), "a", "1")
	if next := put(t, m.Store(), "b", "2"); next <= rev {
		t.Errorf("revision %d after a restart, %d before", next, rev)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v; want mode 0700", info.Mode(), err)
	}
}

func TestFolderInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	m := start(t, etcd.EmbedConfig{Dir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := etcd.Start(ctx, etcd.EmbedConfig{Dir: dir})
	wantErr(t, err, "in use by process "+fmt.Sprint(os.Getpid()), dir)
	if ctx.Err() != nil {
		t.Error("it waited for the folder")
	}
	put(t, m.Store(), "a", "1") // the first one is not disturbed
	if _, err := etcd.Start(t.Context(), etcd.EmbedConfig{}); err == nil {
		t.Error("started without a folder")
	}
}

func TestAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for _, test := range []struct {
		config etcd.EmbedConfig
		words  []string
	}{
		{etcd.EmbedConfig{ClientAddr: taken}, []string{"clients", taken, "taken"}},
		{etcd.EmbedConfig{PeerAddr: taken}, []string{"peers", taken, "taken"}},
		{etcd.EmbedConfig{ClientAddr: "0.0.0.0:0"}, []string{"clients", "TLS"}},
		{etcd.EmbedConfig{PeerAddr: "192.0.2.1:0"}, []string{"peers", "TLS"}},
		{etcd.EmbedConfig{ClientAddr: "2379"}, []string{"missing port"}},
		{etcd.EmbedConfig{ClientAddr: "etcd.example.org:2379"}, []string{"not an IP address"}},
	} {
		dir := filepath.Join(t.TempDir(), "etcd")
		test.config.Dir = dir
		_, err := etcd.Start(t.Context(), test.config)
		wantErr(t, err, test.words...)
		if again, err := etcd.Start(t.Context(), etcd.EmbedConfig{Dir: dir, NoSync: true}); err != nil {
			t.Errorf("folder after %+v: %v", test.config, err)
		} else {
			again.Close()
		}
	}
}

func TestPrefixes(t *testing.T) {
	m := start(t, etcd.EmbedConfig{ClientAddr: "127.0.0.1:0"})
	other, err := etcd.Dial(t.Context(), etcd.DialConfig{Endpoints: []string{m.ClientAddr()}, Prefix: "/gozer2/"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	put(t, m.Store(), "a", "1")
	put(t, other, "a", "2")
	if _, _, err := other.Commit(t.Context(), kv.Txn{Then: []kv.Op{kv.DeletePrefix("")}}); err != nil {
		t.Fatal(err)
	}
	wantValue(t, m.Store(), "a", "1")
	all, err := etcd.Dial(t.Context(), etcd.DialConfig{Endpoints: []string{m.ClientAddr()}, Prefix: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	wantValue(t, all, "gozer/a", "1")
}

func TestNoSpace(t *testing.T) {
	m := start(t, etcd.EmbedConfig{Quota: 4 << 20})
	value := make([]byte, kv.MaxValue)
	for i := range 100 {
		_, _, err := m.Store().Commit(t.Context(), kv.Txn{Then: []kv.Op{kv.Put(fmt.Sprint(i), value)}})
		if errors.Is(err, kv.ErrNoSpace) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("50 MiB fit into a quota of 4")
}

// TestCloseInterrupts: Close comes back, and so do all calls, however busy the store is.
func TestCloseInterrupts(t *testing.T) {
	m := start(t, etcd.EmbedConfig{})
	s := m.Store()
	ended := make(chan error)
	const workers = 8
	for i := range workers {
		go func() {
			for {
				if _, _, err := s.Commit(context.Background(), kv.Txn{Then: []kv.Op{kv.Put(fmt.Sprint(i), nil)}}); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	time.Sleep(50 * time.Millisecond)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for range workers {
		if err := <-ended; !errors.Is(err, kv.ErrClosed) && !errors.Is(err, context.Canceled) {
			t.Errorf("Commit = %v", err)
		}
	}
}

// TestQuiet: the ordinary life of a member leaves nothing in the log; what is wrong does.
func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := filepath.Join(t.TempDir(), "etcd")
	for range 2 {
		m := start(t, etcd.EmbedConfig{Dir: dir, Log: log})
		put(t, m.Store(), "a", "1")
		m.Close()
	}
	// A busy machine is a thing to warn of, but not what this is about.
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "took too long") {
			t.Errorf("logged: %s", line)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, etcd.EmbedConfig{Dir: dir, Log: log}).Close()
	if got := out.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "component=etcd") || !strings.Contains(got, "drwxr-xr-x") {
		t.Errorf("a folder that everybody can read: logged %q", got)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		m, err := etcd.Start(b.Context(), etcd.EmbedConfig{Dir: filepath.Join(b.TempDir(), "etcd")})
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}

func BenchmarkCommit(b *testing.B) {
	m, err := etcd.Start(b.Context(), etcd.EmbedConfig{Dir: filepath.Join(b.TempDir(), "etcd")})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	value := make([]byte, 1000)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := m.Store().Commit(b.Context(), kv.Txn{Then: []kv.Op{kv.Put("key", value)}}); err != nil {
				b.Error(err)
			}
		}
	})
}
