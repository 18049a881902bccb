package executor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

func TestBuildsOfZones(t *testing.T) {
	z := newZones()
	request := func(nodes ...string) *store.Request { return &store.Request{Nodes: nodes} }
	z.put(z.nodes, "n1", "dmz", false)
	z.put(z.nodes, "n2", "", false)
	for _, c := range []struct {
		name      string
		nodes     []string
		own       string
		unzoned   bool
		executors map[string]string
		want      bool
	}{
		{"no zones anywhere", []string{"n2"}, "", false, map[string]string{"a": ""}, true},
		{"no nodes", nil, "", false, nil, true},
		{"no nodes, in a zone", nil, "dmz", false, nil, false},
		{"no nodes, in a zone that takes those", nil, "dmz", true, nil, true},
		{"its zone", []string{"n1"}, "dmz", false, map[string]string{"a": "dmz"}, true},
		{"another zone", []string{"n1"}, "lab", true, map[string]string{"a": "dmz", "b": "lab"}, false},
		{"not in the zone", []string{"n1"}, "", false, map[string]string{"a": "dmz", "b": ""}, false},
		{"nobody is in the zone", []string{"n1"}, "", false, map[string]string{"b": ""}, true},
		{"a node that is new", []string{"n9"}, "dmz", false, map[string]string{"a": "dmz"}, true},
	} {
		z.executors = c.executors
		if got := z.accepts(request(c.nodes...), c.own, c.unzoned, func(string) string { return "dmz" }); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	z.put(z.nodes, "n1", "", true)
	if _, known := z.nodes["n1"]; known {
		t.Error("a node that went is known")
	}
}

// An executor that is told to pause takes nothing more, one that drains ends with its last build; what it is
// stands in its record meanwhile.
func TestCommands(t *testing.T) {
	st, session := openStore(t)
	w := newWorld(t, func(c *Config) { c.Store, c.Session, c.Component = st, session, "rack 7" })
	w.repo("org/app", map[string]string{"run.sh": "#!/bin/sh\nfor i in $(seq 6000); do [ -e go ] && exit 0; sleep 0.1; done\n"})
	ended := make(chan error, 1)
	go func() { ended <- w.x.Run(t.Context()) }()
	ask := func(name string) (s Status) {
		t.Helper()
		method := "POST"
		if name == "status" {
			method = "GET"
		}
		req := httptest.NewRequest(method, "/"+name+"?by=ann&reason=disks", nil)
		rec := httptest.NewRecorder()
		w.x.CommandHandler().ServeHTTP(rec, req)
		if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil {
			t.Fatalf("%s: %v: %s", name, err, rec.Body)
		}
		return s
	}
	until := func(what string, f func() bool) {
		t.Helper()
		for range 2400 {
			if f() {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("not in two minutes: %s; %+v", what, ask("status"))
	}
	state := func() string {
		all, err := st.Members(t.Context(), "executor")
		if err != nil || len(all) != 1 {
			return ""
		}
		return all[0].State
	}
	send := func() *pipeline.Start {
		s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")} })
		ops, _, err := st.EffectOps(t.Context(), "t", "check", time.Now(), []pipeline.Effect{s})
		if err == nil {
			_, err = st.Write(t.Context(), store.Fence{}, ops...)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}

	until("it is there", func() bool { return state() == "running" })
	ask("pause")
	send()
	until("its record says so", func() bool { return state() == "paused" })
	time.Sleep(300 * time.Millisecond)
	if s := ask("status"); len(s.Builds) != 0 || s.State != "paused" || s.Paused.By != "ann" || s.Paused.Reason != "disks" {
		t.Fatalf("it was paused, and %+v", s)
	}
	if all, err := st.Members(t.Context(), "executor"); err != nil || all[0].Paused == nil || all[0].Paused.Reason != "disks" {
		t.Errorf("its record is %+v, %v", all, err)
	}
	if p, err := st.Paused(t.Context(), "executor", "rack 7"); err != nil || p == nil || p.By != "ann" {
		t.Errorf("what outlives it is %+v, %v", p, err)
	}
	ask("unpause")
	if p, err := st.Paused(t.Context(), "executor", "rack 7"); err != nil || p != nil {
		t.Errorf("after unpause: %+v, %v", p, err)
	}
	until("the build runs", func() bool { return len(ask("status").Builds) == 1 })
	if s := ask("keep"); !s.Keep || ask("nokeep").Keep || !ask("verbose").Verbose || ask("unverbose").Verbose {
		t.Errorf("%+v", s)
	}
	ask("graceful")
	late := send()
	until("its record says so", func() bool { return state() == "stopping" })
	time.Sleep(300 * time.Millisecond)
	if s := ask("status"); len(s.Builds) != 1 || s.Builds[0].Job != "test" || s.Builds[0].Build == late.Build {
		t.Errorf("%+v", s)
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended with a build at work: %v", err)
	default:
	}
	ask("stop") // the build would take minutes more
	select {
	case err := <-ended:
		if !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
	if err := w.x.Command(t.Context(), "dance", "", ""); err == nil || !strings.Contains(err.Error(), "graceful") {
		t.Error(err)
	}
	r, err := st.KV().Range(t.Context(), kv.Query{Prefix: store.RequestPrefix(store.KindBuild)})
	if err != nil || len(r.KVs) != 1 {
		t.Errorf("%d builds wait, want the one that came too late: %v", len(r.KVs), err)
	}
}

// A pause outlives the process, whatever ended that, until it is taken back; another component is not concerned.
func TestAPauseOutlivesItsProcess(t *testing.T) {
	st, session := openStore(t)
	run := func(component string, f func(x *Executor)) {
		t.Helper()
		w := newWorld(t, func(c *Config) { c.Store, c.Session, c.Component = st, session, component })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.x.Run(ctx) }()
		eventually(t, "it is there", func() bool {
			all, _ := st.Members(t.Context(), "executor")
			return len(all) == 1 && all[0].Component == component
		})
		f(w.x)
		cancel()
		<-ended
	}
	command := func(x *Executor, name string) {
		t.Helper()
		if err := x.Command(t.Context(), name, "ann", "disks"); err != nil {
			t.Error(err)
		}
	}
	state := func(x *Executor, want string) {
		t.Helper()
		if s := x.Status(); s.State != want {
			t.Errorf("it is %s, want %s", s.State, want)
		}
	}
	run("a", func(x *Executor) { state(x, "running"); command(x, "pause") })
	run("b", func(x *Executor) { state(x, "running") })
	run("a", func(x *Executor) {
		state(x, "paused")
		if s := x.Status(); s.Paused.By != "ann" || s.Paused.Reason != "disks" {
			t.Errorf("%+v", s.Paused)
		}
		command(x, "unpause")
	})
	run("a", func(x *Executor) { state(x, "running") })
}
