package web_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// A hold that was asked for over HTTP is what the executor finds when a build fails, and the nodes that it
// keeps are told, until the hold is deleted.
func TestHoldFromRequestToRelease(t *testing.T) {
	w := newWorld(t)
	w.pipe(gate(time.Now()))
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/status", nil) == 200 })
	ctx := t.Context()
	c := api.New(api.ClientConfig{URL: w.http.URL})
	id, err := c.Autohold(ctx, "t", "org/app", api.AutoholdRequest{Job: "unit", Reason: "ann looks", Change: "1", Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	nodes := store.Records[node.Node](w.store, node.Records)
	for _, n := range []node.Node{
		{ID: "n1", Label: "small", State: node.InUse, Build: "b1", Tenant: "t", Job: "unit", Since: time.Now(), Made: time.Now()},
		{ID: "n2", Label: "small", State: node.Ready, Since: time.Now(), Made: time.Now()},
		{ID: "n3", Label: "small", State: node.InUse, Build: "b9", Tenant: "other", Since: time.Now(), Made: time.Now()},
	} {
		if _, err := nodes.Put(ctx, n.ID, n, 0); err != nil {
			t.Fatal(err)
		}
	}
	ch := proposed("1", "A", "ann")
	start := &pipeline.Start{Build: "b1", Job: &job.Job{Name: "unit"}, Refs: []change.Key{ch.Key()}, Changes: []*change.Change{ch}}
	sn := executor.StoreNodes{Store: w.store, HoldMax: time.Hour}
	end := &pipeline.BuildEnded{Build: "b1", Result: pipeline.Failure}
	if h := sn.Hold(ctx, start, "t", "gate", &pipeline.BuildEnded{Result: pipeline.Success}); h != nil {
		t.Errorf("a success is held: %+v", h)
	}
	hold := sn.Hold(ctx, start, "t", "gate", end)
	if hold == nil || hold.ID != id || hold.Reason != "ann looks" || time.Until(hold.Until) > time.Hour || hold.Until.IsZero() {
		t.Fatalf("the hold is %+v", hold)
	}
	if err := sn.Release(ctx, []string{"n1"}, "b1", executor.Release{Used: true, Hold: hold}); err != nil {
		t.Fatal(err)
	}
	if h := sn.Hold(ctx, start, "t", "gate", end); h != nil {
		t.Errorf("a hold for one build keeps a second: %+v", h)
	}
	h, err := c.AutoholdInfo(ctx, "t", id)
	if err != nil || h.CurrentCount != 1 || h.Expired == nil || len(h.Nodes) != 1 || h.Nodes[0].Build != "b1" || !slices.Equal(h.Nodes[0].Nodes, []string{"n1"}) {
		t.Errorf("the hold is told as %+v, %v", h, err)
	}
	list, err := c.Nodes(ctx, "t")
	if err != nil || len(list) != 2 || list[0].State != "hold" || list[0].Comment != "ann looks" || list[0].Job != "unit" || list[0].HoldUntil == nil {
		t.Errorf("the nodes are told as %+v, %v", list, err)
	}
	if err := c.DeleteAutohold(ctx, "t", id); err != nil {
		t.Fatal(err)
	}
	if r, err := nodes.Get(ctx, "n1"); err != nil || r.Value.State != node.Used {
		t.Errorf("after the hold the node is %+v, %v", r.Value, err)
	}
}

func TestNodesByHand(t *testing.T) {
	w := newWorld(t)
	w.pipe(gate(time.Now()))
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/status", nil) == 200 })
	ctx := t.Context()
	nodes := store.Records[node.Node](w.store, node.Records)
	for _, n := range []node.Node{
		{ID: "ready", State: node.Ready}, {ID: "taken", State: node.Ready, Request: "r", Job: "unit", Tenant: "t"},
		{ID: "used", State: node.InUse, Build: "b1", Tenant: "t"}, {ID: "foreign", State: node.InUse, Build: "b9", Tenant: "other"},
	} {
		if _, err := nodes.Put(ctx, n.ID, n, 0); err != nil {
			t.Fatal(err)
		}
	}
	const p = "/api/tenant/t/node/"
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", p + "ready/hold", `{}`, 400},
		{"POST", p + "ready/hold", `{"reason":"look"}`, 200},
		{"POST", p + "taken/hold", `{"reason":"look"}`, 400},
		{"POST", p + "foreign/hold", `{"reason":"look"}`, 404},
		{"DELETE", p + "used", "", 400},
		{"DELETE", p + "used?force=true", "", 204},
		{"DELETE", p + "foreign?force=true", "", 404},
		{"DELETE", p + "nobody", "", 404},
		{"GET", p + "taken/shell", "", 400},
	} {
		if code, body := w.send(c.method, c.path, "", c.body); code != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, code, body, c.want)
		}
	}
	for id, want := range map[string]node.State{"ready": node.Hold, "taken": node.Ready, "used": node.Used, "foreign": node.InUse} {
		if r, err := nodes.Get(ctx, id); err != nil || r.Value.State != want {
			t.Errorf("node %s is %s, %v; want %s", id, r.Value.State, err, want)
		}
	}
}
