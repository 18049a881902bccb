package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/gatetest/smalldisk"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

// slowly is a job that takes long enough for a disk to fill up meanwhile.
const slowly = "#!/bin/sh\nsleep 5\n"

// The disk of a server with everything on it (store, forge, git caches, history, logs) fills up, first below what
// the store keeps free, then to the last byte, while a build runs and people push: the server lives and says
// what is wrong, refuses what it cannot keep, and when there is room, what was under way ends.
func TestTheDiskOfAServerIsFull(t *testing.T) {
	disk := smalldisk.New(t, 400<<20)
	s := newRealSite(t, filepath.Join(disk.Dir, "data"), "")
	s.onFullDisk(disk, 60<<20, 0)
	for change, results := range s.builds("unit") {
		// What met the end of the disk itself was stopped and tried again; what only waited for room was not. The
		// history has them in the order in which there was room for them.
		slices.Sort(results)
		if got := strings.Join(results, " "); got != "SUCCESS" && (change != "4" || got != "RETRY SUCCESS") {
			t.Errorf("change %s has builds %s", change, got)
		}
	}
}

// The same where the store is elsewhere and well, and nothing else can be written.
func TestTheDiskOfAWorkerIsFull(t *testing.T) {
	member := etcd.EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), ClientAddr: port.Own(t), NoSync: true}
	m, err := etcd.Start(t.Context(), member)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	disk := smalldisk.New(t, 96<<20)
	s := newRealSite(t, filepath.Join(disk.Dir, "data"), fmt.Sprintf("store: {etcd: {endpoints: [%s]}}\n", member.ClientAddr))
	s.onFullDisk(disk, 0)
	for change, results := range s.builds("unit") {
		slices.Sort(results)
		if got := strings.Join(results, " "); got != "SUCCESS" && (change != "2" || got != "RETRY SUCCESS") {
			t.Errorf("change %s has builds %s", change, got)
		}
	}
}

// onFullDisk lets builds run, and people push, while only so much of the disk is left, one after the other.
func (s *realSite) onFullDisk(disk *smalldisk.Disk, left ...int64) {
	s.Helper()
	s.push("config", map[string]string{"zuul.yaml": strings.Replace(siteConfig, "attempts: 1", "attempts: 3", 1)})
	s.push("app", appFiles())
	s.report(s.propose("all is well", map[string]string{"a": "1"}))
	for _, free := range left {
		name := fmt.Sprintf("%d MiB left", free>>20)
		running := s.propose("slow "+name, map[string]string{"tools/test.sh": slowly})
		s.wait("the build to run", func() bool { return strings.Contains(s.must("status"), "unit") })
		disk.Leave(free)
		s.says("the disk of " + disk.Dir)
		refused := s.commit("refused "+name, map[string]string{"b": name})
		out, err := s.tryGit(refused, "push", "origin", "HEAD:refs/for/main")
		taken := err == nil // some bytes may be free after all, when a node goes
		if !taken && !strings.Contains(out, "no room left") && !strings.Contains(out, "No space left") {
			s.Errorf("a push to a full server: %v\n%s", err, out)
		}
		time.Sleep(7 * time.Second) // the build ends meanwhile
		if text, ok := s.ready(); ok {
			s.Errorf("the disk is full, and the server says %s", text)
		}
		disk.Clear()
		s.until("it is ready again", func() bool { _, ok := s.ready(); return ok })
		s.report(running)
		if !taken {
			s.git(refused, "push", "-q", "origin", "HEAD:refs/for/main")
		}
		s.report(running + 1)
	}
	if text := s.log.String(); strings.Contains(text, "work is interrupted") {
		s.Error("work was interrupted, and what ran with it")
	}
	if n := len(s.builds("unit")); n != 1+2*len(left) {
		s.Errorf("the history has builds of %d changes, want %d", n, 1+2*len(left))
	}
}
