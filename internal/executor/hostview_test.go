package executor

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

const viewPlay = `- hosts: bastion
  gather_facts: false
  tasks:
    - command: cat {{ gozer.view.path }}/version {{ gozer.view.root }}/src/example.com/org/roles/version
      register: seen
    - debug: msg="sees {{ seen.stdout }}"
    - command: ssh-add -l
      delegate_to: localhost
      register: keys
    - debug: msg="keys {{ keys.stdout }}"
`

// viewWorld is a world with a host that stays, and a store.
func viewWorld(t *testing.T) (w *world, st *store.Store, ses *kv.Session, start func(buildset, version string) *pipeline.Start, sh func(string) string) {
	t.Helper()
	w, ns := withNode(t, "bastion")
	st, ses = openStore(t)
	w.x.Store, w.x.Session = st, ses
	w.repo("org/roles", map[string]string{"version": "roles"})
	start = func(buildset, version string) *pipeline.Start {
		w.repo("org/app", map[string]string{"version": version, "see.yaml": viewPlay})
		return w.start(func(s *pipeline.Start) {
			s.Buildset, s.PostReview, s.View = pipeline.BuildsetID(buildset), true, &pipeline.View{Host: "bastion", Path: "/srv/views"}
			s.Job.Run = []job.Playbook{play("see.yaml")}
			s.Job.RequiredProjects = []job.RequiredProject{{Project: proj("org/roles")}}
			w.onNodes(ns, s)
		})
	}
	client, err := w.x.connect(t.Context(), w.nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return w, st, ses, start, func(cmd string) string {
		t.Helper()
		out, err := onHost(client, nil, cmd, nil)
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		return strings.TrimSpace(out)
	}
}

// TestAViewIsLaidOnAHost: once a buildset, the same for all of its jobs whatever the next one brings, with a key of
// its own, and gone with the buildset.
func TestAViewIsLaidOnAHost(t *testing.T) {
	w, st, ses, start, sh := viewWorld(t)
	first := start("one", "1")
	again := *first
	again.Build = "again"
	var wg sync.WaitGroup
	for _, s := range []*pipeline.Start{first, &again} {
		wg.Go(func() {
			if end, log := w.build(s); end.Result != pipeline.Success || !strings.Contains(log, "sees 1roles") || !strings.Contains(log, "gozer view key") {
				t.Errorf("it ended with %s %s\n%s", end.Result, end.Detail, log)
			}
		})
	}
	wg.Wait()
	if laid := strings.Count(w.logOf(first)+w.logOf(&again), "of sources there"); laid != 1 {
		t.Errorf("the view was laid %d times", laid)
	}
	one := sh("ls -d /srv/views/one/*")
	before := sh("find /srv/views/one -type f | xargs stat -c '%n %Y %a' | sort")
	second := start("two", "2")
	if end, log := w.build(second); end.Result != pipeline.Success || !strings.Contains(log, "sees 2roles") {
		t.Errorf("it ended with %s %s\n%s", end.Result, end.Detail, log)
	}
	if after := sh("find /srv/views/one -type f | xargs stat -c '%n %Y %a' | sort"); after != before || !strings.Contains(after, " 444") {
		t.Errorf("the first view was\n%s\nand is\n%s", before, after)
	}
	if got := sh("cat " + one + "/src/example.com/org/app/version"); got != "1" {
		t.Errorf("the first buildset sees version %s", got)
	}
	letsIn := func(id pipeline.BuildsetID) bool {
		key, err := w.x.viewKey(id)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		n := w.nodes[0]
		c, err := ssh.Dial("tcp", address(n), &ssh.ClientConfig{User: n.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: pinned(n), Timeout: time.Minute})
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if !letsIn("one") || !letsIn("two") || letsIn("three") {
		t.Errorf("the host lets in: one %v, two %v, three %v", letsIn("one"), letsIn("two"), letsIn("three"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.x.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	_ = ses
	ask(t, st, &pipeline.DropView{Buildset: "one"})
	eventually(t, "the view is dropped", func() bool {
		all, err := store.Records[viewRecord](st, viewRecords+"one/").List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(all) == 0
	})
	if got := sh("ls /srv/views"); got != "two" {
		t.Errorf("after the end of the first buildset there are views %s", got)
	}
	if letsIn("one") || !letsIn("two") {
		t.Errorf("the host lets in: one %v, two %v", letsIn("one"), letsIn("two"))
	}
}

// TestViewsThatNobodyRemoved go when the next one is laid; what is not a view of ours stays.
func TestViewsThatNobodyRemoved(t *testing.T) {
	w, _, _, start, sh := viewWorld(t)
	sh(`mkdir -p /srv/views/lost/x /srv/views/young /srv/views/mine
		touch -d '1 hour ago' /srv/views/lost/.gozer-view; touch /srv/views/young/.gozer-view /srv/views/mine/file; chmod -R a-w /srv/views/lost
		echo 'ssh-ed25519 AAAA gozer-view:/srv/views/lost' >> ~/.ssh/authorized_keys
		echo 'ssh-ed25519 AAAA gozer-view:/srv/other/lost' >> ~/.ssh/authorized_keys
		printf 'ssh-ed25519 AAAA somebody' >> ~/.ssh/authorized_keys`)
	if end, log := w.build(start("one", "1")); end.Result != pipeline.Success {
		t.Fatalf("it ended with %s %s\n%s", end.Result, end.Detail, log)
	}
	if got := sh("ls /srv/views"); got != "mine\none\nyoung" {
		t.Errorf("there are views %s", got)
	}
	keys := sh("cat ~/.ssh/authorized_keys")
	want(t, keys, "gozer-view:/srv/other/lost\n", "AAAA somebody\n", "gozer-view:/srv/views/one")
	if strings.Contains(keys, "views/lost") {
		t.Errorf("a key of a lost view is let in:\n%s", keys)
	}
}

// TestAViewOfAHostThatIsGone: another machine at its address is not asked, and what cannot be reached is asked again.
func TestAViewOfAHostThatIsGone(t *testing.T) {
	w, st, _, start, sh := viewWorld(t)
	s := start("one", "1")
	if end, log := w.build(s); end.Result != pipeline.Success {
		t.Fatalf("it ended with %s %s\n%s", end.Result, end.Detail, log)
	}
	all := store.Records[viewRecord](st, viewRecords+"one/")
	alter := func(f func(*viewRecord)) {
		t.Helper()
		name := address(w.nodes[0])
		if err := all.Change(t.Context(), name, func(v *viewRecord, _ bool) (bool, error) { f(v); return true, nil }); err != nil {
			t.Fatal(err)
		}
	}
	port := w.nodes[0].Port
	alter(func(v *viewRecord) { v.Node.Port = 1 })
	for _, last := range []bool{false, true} {
		left, err := w.x.dropViews(t.Context(), "one", last)
		if have, lerr := all.List(t.Context()); err != nil || lerr != nil || left == last || len(have) != map[bool]int{false: 1, true: 0}[last] {
			t.Errorf("a host that cannot be reached (last %v): left %v, records %v, %v %v", last, left, have, err, lerr)
		}
	}
	alter(func(v *viewRecord) {
		*v = viewRecord{Buildset: "one", Path: "/srv/views", Node: w.nodes[0]}
		v.Node.Port, v.Node.HostKeys = port, []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJwW7b6MVf8BrxbBN3cWCbqyHHz9Oo4mkSiJR2yF5eVd"}
	})
	if left, err := w.x.dropViews(t.Context(), "one", false); err != nil || left {
		t.Errorf("another machine at its address: left %v, %v", left, err)
	}
	if got := sh("ls /srv/views"); got != "one" {
		t.Errorf("it has views %q", got)
	}
}

func TestAViewThatCannotBeLaid(t *testing.T) {
	w, _, _, start, sh := viewWorld(t)
	sh("mkdir -p /srv && echo > /srv/views")
	end, log := w.build(start("one", "1"))
	if end.Result != "" {
		t.Errorf("it ended with %s", end.Result)
	}
	want(t, end.Detail+log, "lay the view of the buildset's sources on bastion at /srv/views/one/", "mkdir")
	s := start("two", "1")
	w.nodes = []node.Node{w.nodes[0]}
	w.nodes[0].Connection = "winrm"
	end, _ = w.build(s)
	want(t, end.Detail, "reached by winrm")
}
