package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

func TestExplain(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	st := gate(now)
	it := st.Items["i1"]
	it.Layout = "layout"
	it.Buildset.Jobs["deploy"].Waiting = "semaphores: hosts"
	st.Changes[it.Changes[0]].Current = true
	w.pipe(st)
	w.pipe(state("check", pipeline.Independent, ""))
	holder := pipeline.Holder{Tenant: "t", Pipeline: "deploy", Item: "other", Buildset: "bs", Job: job.ID("rollout"), Since: now}
	sem := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{"hosts": {holder}}}
	if _, err := w.store.Write(t.Context(), store.Fence{}, store.SemaphoreOp("t", sem)); err != nil {
		t.Fatal(err)
	}
	var got api.Explained
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/explain?of=1", &got) == 200 && len(got.Elsewhere) == 1 })
	if len(got.Items) != 1 || got.Items[0].Pipeline != "gate" || len(got.Items[0].Jobs) != 3 {
		t.Fatalf("%+v", got)
	}
	x := got.Items[0]
	if why := x.Jobs[2].Why; !strings.HasPrefix(why, "It waits for semaphore hosts, which is held by job rollout in pipeline deploy since") {
		t.Errorf("deploy: %s", why)
	}
	if len(x.LeftOut) != 1 || x.LeftOut[0].Name != "docs" {
		t.Errorf("left out: %+v", x.LeftOut)
	}
	if e := got.Elsewhere[0]; e.Pipeline != "check" || !strings.Contains(e.Why, "no jobs of project org/app") {
		t.Errorf("elsewhere: %+v", e)
	}
	if code := w.get("/api/tenant/t/explain?of=i1", &got); code != 200 || len(got.Items) != 1 {
		t.Errorf("by item: %d %+v", code, got)
	}
	if code := w.get("/api/tenant/t/explain?of=77", nil); code != 404 {
		t.Errorf("a change that nobody knows: %d", code)
	}
}
