package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/settings"
)

// apartSite is a site without an executor on an etcd of its own, and the settings of an executor for it. Its builds
// end when there is a file /tmp/go-on on their node.
func apartSite(t *testing.T) (s *site, other settings.Settings) {
	t.Helper()
	m, err := etcd.Start(t.Context(), etcd.EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), ClientAddr: "127.0.0.1:0", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	files := appFiles()
	files["tools/test.sh"] = "#!/bin/sh\necho begun\nwhile [ ! -e /tmp/go-on ]; do sleep 0.1; done\necho ended\n"
	s = newSiteWith(t, files, func(set *settings.Settings) {
		set.Store.Etcd = &settings.Etcd{Endpoints: []string{m.ClientAddr()}}
	}, slices.DeleteFunc(slices.Clone(allRoles), func(r string) bool { return r == "executor" }))
	other = *s.set
	other.Data = filepath.Join(s.dir, "other")
	return s, other
}

// slow proposes a change and waits until its build is at work.
func (s *site) slow() (n int, node, build string) {
	s.Helper()
	n = s.propose("slow", map[string]string{"more": "x\n"})
	s.wait("the build to begin", func() bool {
		for _, x := range s.nodes("--state", "in-use") {
			node, build = x.ID, x.Build
		}
		return node != ""
	})
	s.wait("its first words", func() bool {
		out, code := s.gozer("logs", build)
		return code == 0 && strings.Contains(out, "node | begun")
	})
	return n, node, build
}

// A process that is an executor and nothing else lets its builds end before it does, where it is told to be graceful.
func TestAnExecutorEndsGracefully(t *testing.T) {
	s, other := apartSite(t)
	other.Executor.Sigterm = "graceful"
	ctx, signal := context.WithCancel(t.Context())
	defer signal()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, &other, []string{"executor"}, newLogger(os.Stderr, settings.Log{Level: "error"}), nil)
	}()
	n, node, build := s.slow()
	signal()
	s.wait("its state", func() bool { return strings.Contains(s.must("executor", "status", "--data", other.Data), ": stopping") })
	select {
	case err := <-ended:
		t.Fatalf("it ended with a build at work: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	s.must("nodes", "ssh", node, "--", "touch /tmp/go-on")
	if text := s.report(n); !strings.Contains(text, "SUCCESS") || !strings.Contains(s.must("logs", build), "node | ended") {
		t.Error(text)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("it does not end")
	}
}

// Two processes share an etcd: one runs builds, and the other, on a data folder of its own, shows their
// logs while they grow and when they are done.
func TestLogIsFollowedWhereTheBuildDoesNotRun(t *testing.T) {
	s, other := apartSite(t)
	s.serveRoles(&other, []string{"executor"})
	n, node, build := s.slow()
	if out, code := s.gozer("nodes", "delete", node); code != exitFailed || !strings.Contains(out, "is used by build "+build) {
		t.Errorf("a node that is used is deleted: exit %d, %s", code, out)
	}
	followed := make(chan string, 1)
	go func() {
		var b strings.Builder
		_ = s.client().Log(s.Context(), build, 0, true, func(lines []string) error {
			b.WriteString(strings.Join(lines, "\n"))
			return nil
		})
		followed <- b.String()
	}()
	s.must("nodes", "ssh", node, "--", "touch /tmp/go-on")
	if text := s.report(n); !strings.Contains(text, "SUCCESS") {
		t.Error(text)
	}
	if text := <-followed; !strings.Contains(text, "node | begun") || !strings.Contains(text, "node | ended") || strings.Count(text, "Job console starting") != 1 {
		t.Errorf("followed:\n%s", text)
	}
	if out := s.must("logs", build); !strings.Contains(out, "node | ended") {
		t.Errorf("kept:\n%s", out)
	}
}
