package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/gatetest/wire"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

// etcdElsewhere is an etcd that is not in a server.
func etcdElsewhere(t *testing.T) *etcd.Member {
	t.Helper()
	m, err := etcd.Start(t.Context(), etcd.EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), ClientAddr: port.Own(t), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func useEtcd(addr, more string) string {
	return fmt.Sprintf("store: {etcd: {endpoints: [%s]}%s}\n", addr, more)
}

// The database of a server's own etcd reaches its quota: the server says so, loses nothing of what runs, and goes
// on when what filled it is gone.
func TestTheQuotaOfTheStoreIsReached(t *testing.T) {
	addr := port.Own(t)
	s := newRealSite(t, filepath.Join(t.TempDir(), "data"), fmt.Sprintf("store: {quota: 32MiB, member: {clients: %s}}\n", addr))
	s.push("config", map[string]string{"zuul.yaml": siteConfig})
	s.push("app", appFiles())
	running := s.propose("slow", map[string]string{"tools/test.sh": slowly})
	s.wait("the build to run", func() bool { return strings.Contains(s.must("status"), "unit") })
	c, err := etcd.Dial(t.Context(), etcd.DialConfig{Endpoints: []string{addr}, Prefix: "/somebody-else/"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// It is packed when it is full, and may have some room again: full is what stays full.
	for i, refused := 0, 0; refused < 3 && i < 400; i++ {
		_, _, err := c.Commit(t.Context(), kv.Txn{Then: []kv.Op{kv.Put(fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, kv.MaxValue))}})
		if refused++; err == nil {
			refused = 0
			continue
		}
		time.Sleep(time.Second)
	}
	s.says("store is full", "quota is 32 MiB")
	time.Sleep(7 * time.Second) // the build ends meanwhile
	s.says("store is full")
	backup := filepath.Join(t.TempDir(), "full.backup")
	if out, code := s.gozer("admin", "backup", "--config", s.config, backup); code != 0 {
		t.Errorf("a store that is full cannot be backed up: %s", out)
	}
	if _, _, err := c.Commit(t.Context(), kv.Txn{Then: []kv.Op{kv.DeletePrefix("")}}); err != nil {
		t.Fatal(err)
	}
	s.report(running)
	s.until("it is ready again", func() bool { _, ok := s.ready(); return ok })
	for change, results := range s.builds("unit") {
		if len(results) != 1 || results[0] != "SUCCESS" {
			t.Errorf("change %s has builds %v", change, results)
		}
	}
}

// A server is paused for longer than its lease, and the store forgets the history that its watches stand in: the
// other server takes over what it owned; when it wakes up it writes nothing as an owner, reads everything anew and
// works on.
func TestAServerIsPausedBeyondItsLease(t *testing.T) {
	m := etcdElsewhere(t)
	data := t.TempDir()
	shared := "blobs: {url: 'file://" + filepath.Join(data, "blobs") + "'}\n" + useEtcd(m.ClientAddr(), ", lease: 5s")
	s := newRealSite(t, filepath.Join(data, "one"), shared+"history: {url: 'sqlite://"+filepath.Join(data, "history.db")+"'}\n")
	s.push("config", map[string]string{"zuul.yaml": siteConfig})
	s.push("app", map[string]string{
		".zuul.yaml":    "- job: {name: unit, run: tools/test.sh}\n- project:\n    check: {jobs: [unit]}\n",
		"tools/test.sh": "#!/bin/sh\nsleep 1\n",
	})
	s.report(s.propose("before", map[string]string{"a": "1"}))
	two := s.newServer(filepath.Join(data, "two"), filepath.Join(data, "one", "forge"), shared+"history: {url: 'sqlite://"+filepath.Join(data, "history.db")+"'}\n")
	two.start()
	one := s.realServer
	for round := range 3 {
		one.signal(syscall.SIGSTOP)
		time.Sleep(7 * time.Second)
		s.at(two)
		s.report(s.propose(fmt.Sprint("paused ", round), map[string]string{"a": fmt.Sprint(round)}))
		compact(t, m)
		one.signal(syscall.SIGCONT)
		one.until("it is ready again", func() bool { _, ok := one.ready(); return ok })
		one, two = two, one
	}
	s.report(s.propose("after", map[string]string{"a": "z"}))
	builds := s.builds("unit")
	if len(builds) != 5 {
		t.Errorf("there are builds of %d changes, want 5", len(builds))
	}
	for change, results := range builds {
		if len(results) != 1 || results[0] != "SUCCESS" {
			t.Errorf("change %s has builds %v", change, results)
		}
	}
}

// compact has the store forget all but the present.
func compact(t *testing.T, m *etcd.Member) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.ClientAddr()}, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Put(t.Context(), "/another", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(t.Context(), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// A store that takes its time makes a server slow and no more; one that takes longer than the lease interrupts it.
func TestTheStoreIsSlow(t *testing.T) {
	m := etcdElsewhere(t)
	w := wire.New(t, m.ClientAddr())
	s := newRealSite(t, filepath.Join(t.TempDir(), "data"), useEtcd(w.Addr(), ", lease: 5s"))
	s.push("config", map[string]string{"zuul.yaml": siteConfig})
	s.push("app", map[string]string{
		".zuul.yaml":    "- job: {name: unit, run: tools/test.sh}\n- project:\n    check: {jobs: [unit]}\n",
		"tools/test.sh": "#!/bin/sh\n",
	})
	w.Delay(50 * time.Millisecond)
	s.report(s.propose("slowly", map[string]string{"a": "1"}))
	if text, ok := s.ready(); !ok {
		t.Errorf("a slow store makes the server not ready: %s", text)
	}
	w.Delay(7 * time.Second)
	s.until("not ready", func() bool { _, ok := s.ready(); return !ok })
	w.Delay(0)
	s.until("it is ready again", func() bool { _, ok := s.ready(); return ok })
	s.report(s.propose("quickly", map[string]string{"a": "2"}))
	for change, results := range s.builds("unit") {
		if len(results) != 1 || results[0] != "SUCCESS" {
			t.Errorf("change %s has builds %v", change, results)
		}
	}
}

// A server that its store does not let in, or that finds none, ends with exit code 2 and says what is wrong where.
func TestTheStoreRefusesTheServer(t *testing.T) {
	m := etcdElsewhere(t)
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{m.ClientAddr()}, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "top"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	nobody := port.Own(t)
	for what, c := range map[string]struct{ store, says string }{
		"wrong password": {fmt.Sprintf("store: {etcd: {endpoints: [%s], user: root, password: wrong}}\n", m.ClientAddr()), "password"},
		"no password":    {useEtcd(m.ClientAddr(), ""), "neither a user"},
		"nobody listens": {useEtcd(nobody, ""), "nobody listens"},
	} {
		t.Run(what, func(t *testing.T) {
			s := &site{T: t, dir: t.TempDir()}
			s.write(filepath.Join(s.dir, "tenants.yaml"), siteTenants, 0o600)
			r := s.newServer(filepath.Join(s.dir, "data"), filepath.Join(s.dir, "forge"), c.store)
			r.begin()
			select {
			case <-r.ended:
			case <-time.After(5 * time.Minute):
				t.Fatal("the server tries for ever")
			}
			if code := r.cmd.ProcessState.ExitCode(); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			r.cmd = nil
			if text := r.log.String(); !strings.Contains(text, c.says) || strings.Count(text, "\n") > 3 {
				t.Errorf("it says:\n%s", text)
			}
		})
	}
}
