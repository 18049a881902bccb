package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/forge/local"
	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/store"
)

const upgradeGate = `- pipeline:
    name: gate
    manager: dependent
    require: {local: {open: true, current-patchset: true, approval: [{Approved: 1}]}}
    trigger: {local: [{event: comment-added, approval: [{Approved: 1}]}]}
    success: {local: {Verified: 2, submit: true}}
    failure: {local: {Verified: -2}}
`

// Three servers that know only the former format, each with a member of the etcd in it, are replaced one after the
// other, while changes are proposed and approved and builds run. No build is lost or has two results, every change
// lands, the store keeps the former format as long as one of them is there, gets the newest one soon after, and lets the
// older gozer in no more.
func TestServersAreUpgradedOneAfterTheOther(t *testing.T) {
	u := newUpgrade(t)
	s := u.realSite
	older, newest := fmt.Sprint(store.Format-1), fmt.Sprint(store.Format)
	u.propose(3)
	for i, r := range u.servers {
		next := u.servers[(i+1)%len(u.servers)]
		s.at(next)
		u.propose(2)
		time.Sleep(time.Second) // builds run by now, some of them there
		r.stop(syscall.SIGTERM)
		if got := u.format(); got != older {
			t.Errorf("the format is %s while an older server is there", got)
		}
		u.propose(2)
		r.format = 0
		r.start()
	}
	s.wait("the newest format", func() bool { return u.format() == newest })
	u.propose(2)
	for _, n := range u.changes {
		s.wait(fmt.Sprintf("change %d to land", n), func() bool {
			d, err := s.people().Change(t.Context(), n)
			return err == nil && d.Status == "MERGED"
		})
	}
	for _, r := range u.servers {
		s.at(r)
		s.wait("nothing to be left, as this server sees it", func() bool { return !strings.Contains(s.must("status"), "unit") })
	}
	var builds map[string][]string
	s.wait("the builds to be in the history", func() bool {
		builds = s.builds("unit")
		for _, results := range builds {
			if strings.Count(strings.Join(results, " "), "SUCCESS") < 2 {
				return false
			}
		}
		return len(builds) == len(u.changes)
	})
	for change, results := range builds {
		// Executors that stop give their builds up, and they run again: in check and in gate each ends well once.
		got := strings.Join(results, " ")
		if strings.Count(got, "SUCCESS") != 2 || strings.Contains(got, "FAILURE") {
			t.Errorf("change %s has builds %s", change, got)
		}
	}
	last := u.servers[2]
	last.stop(syscall.SIGTERM)
	last.format = store.Format - 1
	last.begin()
	<-last.ended
	if text := last.log.String(); last.cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(text, "this gozer knows formats up to "+older) {
		t.Errorf("an older server on a newer store: exit code %d, %s", last.cmd.ProcessState.ExitCode(), text)
	}
	last.cmd = nil
}

// upgrade is a site of three servers of the former format.
type upgrade struct {
	*realSite
	servers []*realServer
	store   *etcd.Store
	changes []int
}

func newUpgrade(t *testing.T) *upgrade {
	data := t.TempDir()
	clients := []string{port.Own(t), port.Own(t), port.Own(t)}
	more := func(i int) string {
		join := ""
		if i > 0 {
			join = ", join: [" + strings.Join(clients[:i], ", ") + "]"
		}
		return fmt.Sprintf("blobs: {url: 'file://%s/blobs'}\nhistory: {url: 'sqlite://%s/history.db'}\nstore: {lease: 5s, member: {name: m%d, clients: '%s', peers: '%s'%s}}\n",
			data, data, i, clients[i], port.Own(t), join)
	}
	s := prepareRealSite(t, filepath.Join(data, "one"), more(0))
	u := &upgrade{realSite: s, servers: []*realServer{s.realServer}}
	for i, name := range []string{"two", "three"} {
		u.servers = append(u.servers, s.newServer(filepath.Join(data, name), filepath.Join(data, "one", "forge"), more(i+1)))
	}
	for _, r := range u.servers { // a member joins a cluster that is whole
		r.format = store.Format - 1
		r.start()
	}
	var err error
	if u.store, err = etcd.Dial(t.Context(), etcd.DialConfig{Endpoints: clients, Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.store.Close() })
	s.push("config", map[string]string{"zuul.yaml": strings.Replace(siteConfig, "attempts: 1", "attempts: 9", 1) + upgradeGate})
	s.push("app", map[string]string{
		".zuul.yaml":    "- job: {name: unit, run: tools/test.sh}\n- project:\n    check: {jobs: [unit]}\n    gate: {jobs: [unit]}\n",
		"tools/test.sh": "#!/bin/sh\nsleep 2\n",
	})
	return u
}

// propose makes changes, and approves them, at the server that people are at.
func (u *upgrade) propose(n int) {
	u.T.Helper()
	for range n {
		title := fmt.Sprint("number ", len(u.changes)+1)
		u.changes = append(u.changes, u.realSite.propose(title, map[string]string{title: title}))
	}
	for _, n := range u.changes[len(u.changes)-n:] {
		if err := u.people().Review(u.Context(), n, local.Review{Votes: map[string]int{"Approved": 1}}); err != nil {
			u.Fatalf("change %d is not approved: %v", n, err)
		}
	}
}

// format is that of the store now.
func (u *upgrade) format() string {
	u.T.Helper()
	ctx, cancel := context.WithTimeout(u.Context(), 2*time.Minute)
	defer cancel()
	e, _, err := kv.Get(ctx, u.store, "/meta/format")
	if err != nil {
		u.Fatal(err)
	}
	return string(e.Value)
}

// people are those who propose changes.
func (s *site) people() *local.Client { return &local.Client{URL: s.forge, User: "ann"} }
