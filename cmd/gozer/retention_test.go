package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A server keeps its history as long as it is told, and the command prunes it beside a server that runs; the logs of
// builds go with their rows.
func TestOldBuildsGoWithTheirLogs(t *testing.T) {
	s := newRealSite(t, filepath.Join(t.TempDir(), "data"), "")
	s.push("config", map[string]string{"zuul.yaml": siteConfig})
	s.push("app", map[string]string{
		".zuul.yaml":    "- job: {name: unit, run: tools/test.sh}\n- project:\n    check: {jobs: [unit]}\n",
		"tools/test.sh": "#!/bin/sh\necho hello\n",
	})
	s.report(s.propose("one", map[string]string{"a": "1"}))
	list, err := s.site.client().Builds(t.Context(), "example", nil)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if out, code := s.gozer("admin", "prune-database", "--config", s.config, "--older-than", "1h"); code != 0 || !strings.HasSuffix(out, "0 buildsets, 0 builds\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out := s.must("logs", list[0].UUID); !strings.Contains(out, "hello") {
		t.Errorf("the log is %s", out)
	}
	tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly) // days are those of UTC
	if out, code := s.gozer("admin", "prune-database", "--config", s.config, "--before", tomorrow); code != 0 || !strings.HasSuffix(out, "1 buildset, 1 build\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := s.gozer("logs", list[0].UUID); code == 0 {
		t.Errorf("the log is still there: %s", out)
	}
	if got := s.builds("unit"); len(got) != 0 {
		t.Errorf("the history still has %v", got)
	}
	s.report(s.propose("two", map[string]string{"a": "2"}))

	// The same as the server does it by itself.
	p := &process{set: s.realServer.set, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(p.close)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := p.openHistory(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.openLogs(ctx); err != nil {
		t.Fatal(err)
	}
	if out, err := p.forget(ctx, time.Now().Add(time.Hour), 1, nil); err != nil || out != (forgotten{1, 1}) {
		t.Errorf("forget = %+v, %v", out, err)
	}
}

func TestPruneBefore(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		older, before string
		want          time.Time
	}{
		{"30d", "", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, {"36h", "", time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC)},
		{"", "2026-01-31", time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)}, {"", "2026-01-31T12:00:00+02:00", time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)},
		{"", "2026-01-31 12:00:00", time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)},
	} {
		if got, err := pruneBefore(c.older, c.before, now); err != nil || !got.Equal(c.want) {
			t.Errorf("%q %q is %v, %v; want %v", c.older, c.before, got, err, c.want)
		}
	}
	for _, bad := range [][2]string{{"soon", ""}, {"-3d", ""}, {"", "yesterday"}, {"", "2026-13-01"}} {
		if _, err := pruneBefore(bad[0], bad[1], now); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
