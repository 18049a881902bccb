package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Finding is something in the store that should not be.
type Finding struct {
	// Kind is leaked-semaphore, leaked-node, orphaned-request, orphaned-claim, orphaned-signal, missing-layout,
	// unused-layout, paused-and-gone, damaged or set-aside.
	Kind string `json:"kind"`
	Key  string `json:"key"`
	Text string `json:"text"`
	// Mendable: Repair does something about it.
	Mendable bool `json:"mendable"`
	// Routine: it goes by itself, and nothing is wrong.
	Routine bool `json:"routine,omitempty"`

	mend func(context.Context) error
}

// Check looks for what should not be: semaphores and nodes that nobody uses, requests whose outcome nobody
// waits for, claims and signals without a request, records that cannot be read, inputs that were set aside.
// It reads at one moment after the other: while schedulers work, something may look odd that is not, so ask
// twice before mending.
func (s *Store) Check(ctx context.Context) ([]Finding, error) {
	c := &checker{s: s, alive: map[string]bool{}, components: map[string]bool{}, waits: map[string]bool{}, builds: map[string]bool{}, buildsets: map[string]bool{}, holds: map[string]bool{}, needs: map[string]string{}}
	for _, look := range []func(context.Context) error{c.members, c.pipelines, c.semaphores, c.requests, c.claims, c.nodes, c.pauses, c.leftovers} {
		if err := look(ctx); err != nil {
			return nil, fmt.Errorf("check the store: %w", err)
		}
	}
	return c.found, nil
}

// Repair mends what can be. What changed since it was found is left alone.
func (s *Store) Repair(ctx context.Context, all []Finding) (mended int, err error) {
	for _, f := range all {
		if f.mend == nil {
			continue
		}
		if err := f.mend(ctx); err != nil {
			return mended, fmt.Errorf("mend %s: %w", f.Key, err)
		}
		mended++
	}
	return mended, nil
}

type checker struct {
	s     *Store
	found []Finding
	// alive are the ids of members in any role.
	alive map[string]bool
	// components are the names of those that have one, by role.
	components map[string]bool
	// schedulers: there is one.
	schedulers bool
	// needs are layouts that pipelines and items have, by their keys.
	needs map[string]string
	// What pipelines wait for or hold: node requests, builds, buildsets, and "semaphore buildset job".
	waits, builds, buildsets, holds map[string]bool
}

func (c *checker) add(kind, key string, mend func(context.Context) error, format string, args ...any) {
	c.found = append(c.found, Finding{Kind: kind, Key: key, Text: fmt.Sprintf(format, args...), Mendable: mend != nil, mend: mend})
}

// drop is a mend that deletes a key, if it is still what it was.
func (c *checker) drop(e kv.KV) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := c.s.kv.Commit(ctx, kv.Txn{If: []kv.Cmp{kv.Unchanged(e.Key, e.Mod)}, Then: []kv.Op{kv.Delete(e.Key)}})
		return err
	}
}

func (c *checker) each(ctx context.Context, prefix string, f func(kv.KV)) error {
	var rev int64
	return c.s.each(ctx, prefix, &rev, f)
}

func (c *checker) members(ctx context.Context) error {
	return c.each(ctx, "/member/", func(e kv.KV) {
		var m Member
		if json.Unmarshal(e.Value, &m) == nil {
			c.alive[m.ID] = true
			c.components[m.Role+"/"+seg(m.Component)] = true
			c.schedulers = c.schedulers || m.Role == "scheduler"
		}
	})
}

// pipelines reads every pipeline, and notes what its jobs wait for and hold.
func (c *checker) pipelines(ctx context.Context) error {
	var names [][2]string
	err := c.each(ctx, "/pipeline/", func(e kv.KV) {
		parts := strings.Split(e.Key, "/")
		if n := [2]string{unseg(parts[2]), unseg(parts[3])}; len(names) == 0 || names[len(names)-1] != n {
			names = append(names, n)
		}
	})
	if err != nil {
		return err
	}
	for _, n := range names {
		st, _, err := c.s.LoadPipeline(ctx, n[0], n[1])
		if err != nil {
			c.add("damaged", PipelinePrefix(n[0], n[1]), nil, "pipeline %s of tenant %s cannot be read: %v", n[1], n[0], err)
			continue
		}
		for _, stopping := range st.Stopping {
			c.waits[stopping.Request] = true
		}
		for b := range st.Stopping {
			c.builds[string(b)] = true
		}
		c.need(PipelinePrefix(n[0], n[1]), st.Tenant.Layout)
		for id, it := range st.Items {
			c.need(fmt.Sprintf("%sitem/%s", PipelinePrefix(n[0], n[1]), id), it.Layout)
			c.item(it)
		}
	}
	return nil
}

// need notes that what is under a key needs a layout.
func (c *checker) need(key, layout string) {
	if layout != "" {
		c.needs[key] = layout
	}
}

func (c *checker) item(it *pipeline.Item) {
	if it.Buildset == nil {
		return
	}
	c.buildsets[string(it.Buildset.ID)] = true
	for id, js := range it.Buildset.Jobs {
		c.waits[js.NodeRequest] = true
		if js.Build != nil {
			c.builds[string(js.Build.ID)] = true
		}
		for _, name := range js.Semaphores {
			c.holds[holding(name, it.Buildset.ID, id)] = true
		}
	}
}

func holding(name string, bs pipeline.BuildsetID, id job.ID) string {
	return name + " " + string(bs) + " " + string(id)
}

func (c *checker) semaphores(ctx context.Context) error {
	return c.each(ctx, "/semaphore/", func(e kv.KV) {
		sem, err := DecodeSemaphores(e)
		if err != nil {
			c.add("damaged", e.Key, nil, "%v", err)
			return
		}
		for name, hs := range sem.Holders {
			for _, h := range hs {
				if c.holds[holding(name, h.Buildset, h.Job)] {
					continue
				}
				c.add("leaked-semaphore", e.Key, c.release(e.Key, name, h), "semaphore %s is held by job %s of buildset %s (tenant %s, pipeline %s, since %s), which does not hold it",
					name, h.Job, h.Buildset, h.Tenant, h.Pipeline, h.Since.Format("2006-01-02 15:04:05"))
			}
		}
	})
}

// release takes a holder out of a semaphore, and has the pipelines of its tenant look again.
func (c *checker) release(key, name string, gone pipeline.Holder) func(context.Context) error {
	return func(ctx context.Context) error {
		err := c.s.changeSemaphores(ctx, unseg(strings.TrimSuffix(strings.TrimPrefix(key, "/semaphore/"), "/holders")), func(sem *pipeline.Semaphores) {
			sem.Holders[name] = slices.DeleteFunc(sem.Holders[name], func(h pipeline.Holder) bool { return h.Buildset == gone.Buildset && h.Job == gone.Job })
			if len(sem.Holders[name]) == 0 {
				delete(sem.Holders, name)
			}
		})
		if err != nil {
			return err
		}
		return c.s.Send(ctx, gone.Tenant, gone.Pipeline, &pipeline.Wake{})
	}
}

// requests finds those whose outcome nobody waits for.
func (c *checker) requests(ctx context.Context) error {
	return c.each(ctx, "/request/", func(e kv.KV) {
		var r Request
		if err := json.Unmarshal(e.Value, &r); err != nil {
			c.add("damaged", e.Key, nil, "%v", err)
			return
		}
		known := true
		switch r.Kind {
		case KindBuild:
			known = c.builds[r.ID]
		case KindNodes:
			known = c.waits[r.ID]
			c.waits[r.ID] = true // what it has got is not leaked, it is this request's
		case KindReturn:
			c.waits[r.ID] = true
		case KindMerge, KindConfigure, KindRepoState:
			known = c.buildsets[r.ID]
		}
		if !known {
			kind, id := r.Kind, r.ID
			c.add("orphaned-request", e.Key, func(ctx context.Context) error {
				_, err := c.s.Write(ctx, Fence{}, SignalOp(kind, id, SignalCancel, ""))
				return err
			}, "no pipeline waits for the %s request %s (tenant %s, pipeline %s, of %s)", r.Kind, r.ID, r.Tenant, r.Pipeline, r.Made.Format("2006-01-02 15:04:05"))
		}
	})
}

// claims finds those of members that are not there, and those on requests that are not there.
func (c *checker) claims(ctx context.Context) error {
	requests := map[string]bool{}
	if err := c.each(ctx, "/request/", func(e kv.KV) { requests[strings.TrimPrefix(e.Key, "/request/")] = true }); err != nil {
		return err
	}
	return c.each(ctx, "/claim/", func(e kv.KV) {
		name := strings.TrimPrefix(e.Key, "/claim/")
		switch {
		case !c.alive[string(e.Value)]:
			c.add("orphaned-claim", e.Key, c.drop(e), "%s has a claim, and is not there", e.Value)
		case !strings.HasPrefix(name, "owner/") && !requests[name]:
			c.add("orphaned-claim", e.Key, c.drop(e), "%s has a claim on a request that is not there", e.Value)
		}
	})
}

// nodes finds those that belong to a request of which no pipeline knows.
func (c *checker) nodes(ctx context.Context) error {
	return c.each(ctx, node.Records, func(e kv.KV) {
		var n node.Node
		if err := json.Unmarshal(e.Value, &n); err != nil {
			c.add("damaged", e.Key, nil, "%v", err)
			return
		}
		if n.Request == "" || c.waits[n.Request] || (n.State != node.Ready && n.State != node.InUse) {
			return
		}
		request := n.Request
		c.add("leaked-node", e.Key, func(ctx context.Context) error {
			op, err := c.s.RequestOp(ctx, Request{Kind: KindReturn, ID: request}, &pipeline.ReturnNodes{Request: request, Nodes: []string{n.ID}})
			if err == nil {
				_, err = c.s.Write(ctx, Fence{}, op)
			}
			return err
		}, "node %s (%s) is %s for request %s, of which no pipeline knows", n.ID, n.Label, n.State, n.Request)
	})
}

// forgotten is after how long a pause is no longer kept for a component that is not there.
const forgotten = 90 * 24 * time.Hour

// pauses tells of those whose component is not there: it may be back tomorrow, or never.
func (c *checker) pauses(ctx context.Context) error {
	return c.each(ctx, "/pause/", func(e kv.KV) {
		var p Pause
		if err := json.Unmarshal(e.Value, &p); err != nil {
			c.add("damaged", e.Key, c.drop(e), "%v", err)
			return
		}
		name := strings.TrimPrefix(e.Key, "/pause/")
		if c.components[name] {
			return
		}
		role, component, _ := strings.Cut(name, "/")
		var mend func(context.Context) error
		if time.Since(p.Since) > forgotten {
			mend = c.drop(e)
		}
		c.add("paused-and-gone", e.Key, mend, "%s %s on %s is paused (since %s), and is not there", role, unseg(component), p.Host, p.Since.Format("2006-01-02 15:04"))
		c.found[len(c.found)-1].Routine = true
	})
}

// layouts finds those that nothing refers to, and those that a pipeline or a tenant refers to and that are not there.
// While schedulers work the first are left to the sweep: one of them may be about to be referred to.
func (c *checker) layouts(m *marked) {
	for id, es := range m.layouts {
		for _, e := range es {
			if m.named[id] {
				continue
			}
			mend := func(ctx context.Context) error {
				_, err := c.s.remove(ctx, kv.Unchanged(e.Key, e.Mod))
				return err
			}
			if c.schedulers {
				mend = nil
			}
			c.add("unused-layout", e.Key, mend, "nothing refers to it; schedulers sweep it")
			c.found[len(c.found)-1].Routine = true
		}
	}
	for key, id := range c.needs {
		if len(m.layouts[id]) == 0 {
			c.add("missing-layout", key, nil, "it needs layout %s, and how to make that is not recorded: gozer reconfigure full makes the present one anew", id)
		}
	}
}

// leftovers are signals to nobody and what could not be processed.
func (c *checker) leftovers(ctx context.Context) error {
	m, err := c.s.mark(ctx)
	if err != nil {
		return err
	}
	for key, create := range m.loose {
		if strings.HasPrefix(key, "/signal/") {
			c.add("orphaned-signal", key, func(ctx context.Context) error {
				_, err := c.s.remove(ctx, kv.Created(key, create))
				return err
			}, "a word to whoever works on a request that is not there")
		}
	}
	c.layouts(m)
	return c.each(ctx, "/dead/", func(e kv.KV) {
		c.add("set-aside", e.Key, nil, "could not be processed when it came; the log of that time says why")
	})
}
