package etcd_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/kv/kvtest"
)

// start runs a member for one test; its folder is a new one unless c names it.
func start(t testing.TB, c etcd.EmbedConfig) *etcd.Member {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "etcd")
	}
	c.NoSync = true
	m, err := etcd.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func dial(t testing.TB, m *etcd.Member) *etcd.Store {
	t.Helper()
	s, err := etcd.Dial(context.Background(), etcd.DialConfig{Endpoints: []string{m.ClientAddr()}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestEmbedded(t *testing.T) {
	kvtest.Run(t, func(t testing.TB) kv.Store { return start(t, etcd.EmbedConfig{}).Store() })
}

func TestDialed(t *testing.T) {
	kvtest.Run(t, func(t testing.TB) kv.Store {
		return dial(t, start(t, etcd.EmbedConfig{ClientAddr: "127.0.0.1:0"}))
	})
}
