package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/store"
)

// The store goes away for longer than the lease, and comes back: the process says that it is not ready
// meanwhile, and goes on by itself, with what it owned.
func TestTheStoreGoesAwayAndComesBack(t *testing.T) {
	dir := t.TempDir()
	member := etcd.EmbedConfig{Dir: filepath.Join(dir, "etcd"), ClientAddr: port.Own(t), NoSync: true}
	m, err := etcd.Start(t.Context(), member)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	tenants := filepath.Join(dir, "tenants.yaml")
	if err := os.WriteFile(tenants, []byte("- tenant: {name: example, source: {local: {config-projects: [config]}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := &settings.Settings{
		Data: filepath.Join(dir, "data"), Tenants: tenants, Probe: port.Own(t),
		Store:       settings.Store{Etcd: &settings.Etcd{Endpoints: []string{member.ClientAddr}}, Lease: 2 * time.Second},
		Connections: []settings.Connection{{Name: "local", Driver: "local", Projects: []string{"config"}}},
	}
	if err := set.Finish(dir); err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, set: set, dir: dir}
	p := s.serveRoles(set, []string{"scheduler", "merger"})
	ready := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return p.whyNotReady(ctx) == nil
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not in five minutes: %s (%v)", what, p.health.error())
			}
		}
	}
	owner := func() string {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		owned, err := p.store.Owned(ctx)
		if err != nil {
			return ""
		}
		for _, w := range owned[store.Holding{Member: p.id, Role: "scheduler"}] {
			if w == "tenant example" {
				return w
			}
		}
		return ""
	}
	until("the process is ready", ready)
	until("it owns the tenant", func() bool { return owner() != "" })
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	until("the process says that work is interrupted", func() bool { return p.health.error() != nil })
	if ready() {
		t.Error("it is ready without a store")
	}
	if m, err = etcd.Start(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	until("it is ready again", ready)
	until("it owns the tenant again", func() bool { return owner() != "" })
}
