package executor

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// openStore is a store in memory with a session.
func openStore(t *testing.T) (*store.Store, *kv.Session) {
	t.Helper()
	db := memkv.New(memkv.Config{})
	st, err := store.Open(t.Context(), store.Config{KV: db})
	if err != nil {
		t.Fatal(err)
	}
	ses, err := kv.NewSession(t.Context(), kv.SessionConfig{Store: db, TTL: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- ses.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return st, ses
}

// news waits for the end of a build in the inbox of pipeline t/check, and gives all that came.
func news(t *testing.T, st *store.Store, build pipeline.BuildID) (all []pipeline.Input, end *pipeline.BuildEnded) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for time.Now().Before(deadline) {
		r, err := st.KV().Range(t.Context(), kv.Query{Prefix: store.InboxPrefix("t", "check")})
		if err != nil {
			t.Fatal(err)
		}
		all = nil
		for _, e := range r.KVs {
			in, err := st.Input(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, in)
			if b, ok := in.(*pipeline.BuildEnded); ok && b.Build == build {
				end = b
			}
		}
		if end != nil {
			return all, end
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no end of build %s came", build)
	return nil, nil
}

func ask(t *testing.T, st *store.Store, effects ...pipeline.Effect) {
	t.Helper()
	ops, _, err := st.EffectOps(t.Context(), "t", "check", time.Now(), effects)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(t.Context(), store.Fence{}, ops...); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsAreServed(t *testing.T) {
	st, ses := openStore(t)
	w := newWorld(t, func(c *Config) { c.Store, c.Session = st, ses })
	sleep, mark := sleeper(2)
	w.repo("org/app", map[string]string{"run.sh": "#!/bin/sh\necho hi\n", "slow.sh": "#!/bin/sh\n" + sleep + "\n",
		"pause.sh": "#!/bin/sh\necho '{\"zuul\": {\"pause\": true}}' > $GOZER_RESULT\n"})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- w.x.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")} })
	ask(t, st, s)
	all, end := news(t, st, s.Build)
	if end.Result != pipeline.Success {
		t.Errorf("end %+v", end)
	}
	started := slices.ContainsFunc(all, func(in pipeline.Input) bool {
		b, ok := in.(*pipeline.BuildStarted)
		return ok && b.Executor == "x1" && b.Build == s.Build
	})
	if !started {
		t.Errorf("its start was not told: %+v", all)
	}

	s = w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("slow.sh")} })
	ask(t, st, s)
	eventually(t, "the build is at work", func() bool { return len(processes(mark)) > 0 })
	ask(t, st, &pipeline.Cancel{Build: s.Build})
	if _, end = news(t, st, s.Build); end.Result != pipeline.Aborted {
		t.Errorf("end %+v", end)
	}
	if p := processes(mark); len(p) > 0 {
		t.Errorf("left behind: %v", p)
	}

	s = w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("pause.sh")} })
	ask(t, st, s)
	ask(t, st, &pipeline.Resume{Build: s.Build})
	if _, end = news(t, st, s.Build); end.Result != pipeline.Success {
		t.Errorf("end %+v", end)
	}
}

func TestABuildWhoseExecutorVanishedIsReported(t *testing.T) {
	st, ses := openStore(t)
	w := newWorld(t, func(c *Config) { c.Store, c.Session = st, ses })
	w.repo("org/app", map[string]string{"run.sh": "#!/bin/sh\n"})
	s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")} })
	op, err := st.RequestOp(t.Context(), store.Request{Kind: store.KindBuild, ID: string(s.Build), Tenant: "t", Pipeline: "check", Began: 1, By: "x0"}, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(t.Context(), store.Fence{}, op); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- w.x.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	_, end := news(t, st, s.Build)
	if end.Result != pipeline.Aborted {
		t.Errorf("end %+v", end)
	}
	want(t, end.Detail, "is gone")
	if len(w.held) != 1 || !w.held[0].Used {
		t.Errorf("its nodes were given back %+v, want once, as used", w.held)
	}
}

func TestNodesAndHolds(t *testing.T) {
	st, _ := openStore(t)
	n := StoreNodes{Store: st, HoldDefault: time.Hour}
	records := store.Records[node.Node](st, node.Records)
	for _, id := range []string{"a", "b"} {
		if _, err := records.Put(t.Context(), id, node.Node{ID: id, State: node.Ready}, 0); err != nil {
			t.Fatal(err)
		}
	}
	got, err := n.Use(t.Context(), []string{"a", "b"}, "build1")
	if err != nil || len(got) != 2 || got[0].State != node.InUse {
		t.Fatalf("use: %v %v", got, err)
	}
	if _, err := n.Use(t.Context(), []string{"a"}, "build2"); err == nil {
		t.Error("a node is used by two builds")
	}
	if _, err := store.Records[node.HoldRequest](st, node.HoldRecords).Put(t.Context(), "h1", node.HoldRequest{ID: "h1", Tenant: "t",
		Project: "example.com/org/app", Job: "test", RefFilter: ".*", Reason: "look", Max: 1}, 0); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, states: map[string]map[string]string{}}
	s := w.start(nil)
	if h := n.Hold(t.Context(), s, "t", "check", &pipeline.BuildEnded{Result: pipeline.Success}); h != nil {
		t.Error("a successful build is held")
	}
	h := n.Hold(t.Context(), s, "t", "check", &pipeline.BuildEnded{Result: pipeline.Failure})
	if h == nil || h.Reason != "look" || time.Until(h.Until) < 50*time.Minute {
		t.Fatalf("hold %+v", h)
	}
	if again := n.Hold(t.Context(), s, "t", "check", &pipeline.BuildEnded{Result: pipeline.Failure}); again != nil {
		t.Error("a request for one build holds two")
	}
	if err := n.Release(t.Context(), []string{"a"}, "build1", Release{Used: true, Hold: h}); err != nil {
		t.Fatal(err)
	}
	if err := n.Release(t.Context(), []string{"a", "b"}, "build1", Release{Used: true}); err != nil {
		t.Fatal(err)
	}
	for id, state := range map[string]node.State{"a": node.Hold, "b": node.Used} {
		r, err := records.Get(t.Context(), id)
		if err != nil || r.Value.State != state {
			t.Errorf("node %s is %s, want %s (%v)", id, r.Value.State, state, err)
		}
	}
}
