package main

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/settings"
)

// Jobs that run on the executor cannot reach what keeps Gozer's state, wherever the configuration says that it listens;
// and what is told of that says no password.
func TestJobsReachNothingOfGozers(t *testing.T) {
	var log bytes.Buffer
	p := &process{log: slog.New(slog.NewTextHandler(&log, nil)), set: &settings.Settings{
		Listen: "127.0.0.1:8090", Probe: "127.0.0.1:8091",
		History: settings.History{URL: "postgres://gozer:hunter2@no.such.host.invalid/gozer?sslpassword=hunter2"},
		Store:   settings.Store{Member: &settings.Member{Clients: "127.0.0.1:2379", Peers: "127.0.0.1:2380", Join: []string{"127.0.0.2:2379"}}},
	}}
	d, err := p.denied(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"127.0.0.1:8090", "127.0.0.1:8091", "127.0.0.1:2379", "127.0.0.1:2380", "127.0.0.2:2379"} {
		if !slices.Contains(d.Services, netip.MustParseAddrPort(at)) {
			t.Errorf("jobs can connect to %s", at)
		}
	}
	if text := log.String(); !strings.Contains(text, "no.such.host.invalid") || strings.Contains(text, "hunter2") {
		t.Errorf("the log: %s", text)
	}
}
