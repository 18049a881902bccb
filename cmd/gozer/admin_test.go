package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The commands for the store work beside the server whose etcd is inside it, and without it; where they cannot, they
// say what to do.
func TestAdminBesideARunningServer(t *testing.T) {
	s := newRealSite(t, filepath.Join(t.TempDir(), "data"), "")
	s.push("config", map[string]string{"zuul.yaml": siteConfig})
	s.push("app", appFiles())
	s.report(s.propose("one", map[string]string{"a": "1"}))
	exported := filepath.Join(s.dir, "keys.json")
	commands := func(suffix string) {
		t.Helper()
		s.must("admin", "backup", "--config", s.config, exported+".backup"+suffix)
		s.must("keys", "export", "--config", s.config, exported+suffix)
		s.must("keys", "import", "--config", s.config, exported+suffix)
		s.must("keys", "list", "--config", s.config)
		out := s.must("admin", "check", "--config", s.config)
		if !strings.Contains(out, "found, 0 mended") {
			t.Errorf("check: %s", out)
		}
	}
	commands(".1")
	if _, ok := s.ready(); !ok {
		t.Error("the server is not ready any more")
	}
	s.report(s.propose("two", map[string]string{"a": "2"}))
	if info, err := os.Stat(filepath.Join(s.site.set.Data, "etcd")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the socket: %v, %v", info, err)
	}
	s.stop(syscall.SIGKILL)
	commands(".2")
	s.start()
	s.report(s.propose("three", map[string]string{"a": "3"}))
	if text := s.log.String(); strings.Contains(text, "serving from embedded etcd") {
		t.Errorf("the log:\n%s", text)
	}
	s.stop(syscall.SIGTERM)
}

func TestAdminWhereTheSocketIsTooLong(t *testing.T) {
	s := newRealSite(t, filepath.Join(t.TempDir(), strings.Repeat("long", 20), "data"), "")
	out, code := s.gozer("admin", "check", "--config", s.config)
	if code != exitFailed || !strings.Contains(out, "in use by process") || !strings.Contains(out, "clients: 127.0.0.1:2379") {
		t.Errorf("exit %d: %s", code, out)
	}
}
