package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/store"
)

// Two servers that know only the former format are replaced one after the other, while builds run: no build is lost or
// run twice, the store keeps the former format as long as one of them is there, gets the newest one soon after, and
// lets the older gozer in no more.
func TestServersAreUpgradedOneAfterTheOther(t *testing.T) {
	m := etcdElsewhere(t)
	data := t.TempDir()
	more := fmt.Sprintf("blobs: {url: 'file://%s/blobs'}\nhistory: {url: 'sqlite://%s/history.db'}\n%s", data, data, useEtcd(m.ClientAddr(), ", lease: 5s"))
	s := prepareRealSite(t, filepath.Join(data, "one"), more)
	one, two := s.realServer, s.newServer(filepath.Join(data, "two"), filepath.Join(data, "one", "forge"), more)
	one.format, two.format = store.Format-1, store.Format-1
	one.start()
	two.start()
	format := func() string {
		e, _, err := kv.Get(t.Context(), m.Store(), "/meta/format")
		if err != nil {
			t.Fatal(err)
		}
		return string(e.Value)
	}
	older, newest := fmt.Sprint(store.Format-1), fmt.Sprint(store.Format)
	s.push("config", map[string]string{"zuul.yaml": strings.Replace(siteConfig, "attempts: 1", "attempts: 3", 1)})
	s.push("app", map[string]string{
		".zuul.yaml":    "- job: {name: unit, run: tools/test.sh}\n- project:\n    check: {jobs: [unit]}\n",
		"tools/test.sh": "#!/bin/sh\nsleep 2\n",
	})
	changes := 0
	propose := func() int {
		t.Helper()
		changes++
		return s.propose(fmt.Sprint("number ", changes), map[string]string{"a": fmt.Sprint(changes)})
	}
	s.report(propose())
	for _, r := range []*realServer{two, one} {
		other := one
		if r == one {
			other = two
		}
		s.at(other)
		running := propose()
		time.Sleep(time.Second)
		r.stop(syscall.SIGTERM)
		if got := format(); got != older {
			t.Errorf("the format is %s while an older server is there", got)
		}
		next := propose()
		r.format = 0
		r.start()
		s.report(running)
		s.report(next)
	}
	s.wait("the newest format", func() bool { return format() == newest })
	s.report(propose())
	for change, results := range s.builds("unit") {
		// Executors that stop give their builds up, and they run again.
		got := strings.Join(results, " ")
		if !strings.HasPrefix(got, "SUCCESS") || strings.Count(got, "SUCCESS") != 1 || strings.Contains(got, "FAILURE") {
			t.Errorf("change %s has builds %s", change, got)
		}
	}
	if n := len(s.builds("unit")); n != changes {
		t.Errorf("the history has builds of %d changes, want %d", n, changes)
	}
	two.stop(syscall.SIGTERM)
	two.format = store.Format - 1
	two.begin()
	<-two.ended
	if text := two.log.String(); two.cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(text, "this gozer knows formats up to "+older) {
		t.Errorf("an older server on a newer store: exit code %d, %s", two.cmd.ProcessState.ExitCode(), text)
	}
	two.cmd = nil
}
