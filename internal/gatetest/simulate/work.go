package simulate

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/reporter"
	"github.com/gozer-ci/gozer/internal/store"
)

var quietLog = slog.New(slog.DiscardHandler)

// job is a request that a worker has, and how far it is with it.
type job struct {
	task   *store.Task
	phase  int
	result pipeline.Result
}

// step does the next part of a request. done: it has ended.
func (p *proc) step(j *job) (done bool, err error) {
	w, t := p.w, j.task
	switch t.Request.Kind {
	case store.KindMerge:
		return answer(p, t, func(e *pipeline.Merge) (pipeline.Input, error) { return w.forge.merge(p.store, e) })
	case store.KindRepoState:
		return answer(p, t, func(e *pipeline.RepoState) (pipeline.Input, error) {
			return &pipeline.RepoStated{Item: e.Item, Buildset: e.Buildset, RepoState: "state"}, nil
		})
	case store.KindConfigure:
		return answer(p, t, func(e *pipeline.Configure) (pipeline.Input, error) {
			g := graph(t.Request.Pipeline, e.Changes)
			w.graphs[string(e.Buildset)] = g
			return &pipeline.Configured{Item: e.Item, Buildset: e.Buildset, Layout: e.Ahead, Graph: g}, nil
		})
	case store.KindRefetch:
		return answer(p, t, func(e *pipeline.Refetch) (pipeline.Input, error) {
			return &pipeline.Refresh{Token: e.Token, Changes: w.forge.closure(e.Keys...)}, nil
		})
	case store.KindRequeue:
		var e pipeline.Requeue
		if err := t.Decode(w.ctx, &e); err != nil {
			return false, err
		}
		var in []pipeline.Input
		for _, k := range e.Keys {
			in = append(in, &pipeline.Enqueue{Key: k, Event: e.Event, Force: e.Force, Changes: w.forge.closure(k)})
		}
		return true, t.Done(w.ctx, in...)
	case store.KindRecord:
		return !w.historyDown, p.record(t)
	case store.KindReport:
		return true, p.report(t)
	case store.KindNodes:
		return p.nodes(t)
	case store.KindReturn:
		return p.giveBack(t)
	case store.KindBuild:
		return p.build(j)
	}
	w.fail("nobody serves %s", t.Request.Kind)
	return true, nil
}

// answer ends a request with one outcome, which now and then comes twice.
func answer[E any](p *proc, t *store.Task, fn func(*E) (pipeline.Input, error)) (bool, error) {
	var e E
	if err := t.Decode(p.w.ctx, &e); err != nil {
		return false, err
	}
	in, err := fn(&e)
	if err != nil {
		return false, err
	}
	return true, t.Done(p.w.ctx, p.w.twice(in)...)
}

// twice repeats an outcome now and then.
func (w *world) twice(in pipeline.Input) []pipeline.Input {
	if !w.calm && w.odds(12) {
		w.faults["repeated"]++
		return []pipeline.Input{in, in}
	}
	return []pipeline.Input{in}
}

// record writes history: once, however often it is asked to.
func (p *proc) record(t *store.Task) error {
	w := p.w
	var e pipeline.Record
	if err := t.Decode(w.ctx, &e); err != nil {
		return err
	}
	if w.historyDown {
		return errUnknown
	}
	switch {
	case e.Build != nil:
		id, r := "build "+string(e.Build.Build.ID), string(e.Build.Build.Result)
		if old, ok := w.rows[id]; ok && old != r {
			w.fail("history has %s as %s and as %s", id, old, r)
		}
		w.rows[id] = r
	case e.Buildset != nil && e.Buildset.Result != "":
		w.rows["buildset "+string(e.Buildset.ID)] = string(e.Buildset.Result)
	}
	return t.Done(w.ctx)
}

// report is the real reporter, on the model of a forge.
func (p *proc) report(t *store.Task) error {
	w := p.w
	var e pipeline.Report
	if err := t.Decode(w.ctx, &e); err != nil {
		return err
	}
	w.forge.by = p
	out := reporter.New(reporter.Config{Store: p.store, Forges: w.set}).Carry(w.ctx, tenant, t.Request.Pipeline, &e)
	if !e.Merge {
		return t.Done(w.ctx)
	}
	return t.Done(w.ctx, w.twice(out)...)
}

const machines = 40

func nodeKey(i int) string { return fmt.Sprintf("/node/m%d", i) }

// leased lists for each machine the request that has it.
func (w *world) leased() [machines]string {
	var out [machines]string
	for i := range machines {
		e, _, err := kv.Get(w.ctx, w.kv, nodeKey(i))
		if err != nil {
			w.fail("read a node: %v", err)
		}
		out[i] = string(e.Value)
	}
	return out
}

// nodes leases machines to a request, all or none.
func (p *proc) nodes(t *store.Task) (bool, error) {
	w := p.w
	var e pipeline.RequestNodes
	if err := t.Decode(w.ctx, &e); err != nil {
		return false, err
	}
	if cancelled, err := p.told(store.KindNodes, t.Request.ID, store.SignalCancel); err != nil {
		return false, err
	} else if cancelled {
		w.free(e.Request)
		return true, t.Done(w.ctx)
	}
	// Machines are leased before that is told, and stay leased while it is not known whether it was: whoever
	// takes the request next finds them. That two workers do not lease one machine is what the model
	// promises, not what is tested.
	var ours, free []int
	for i, by := range w.leased() {
		switch by {
		case e.Request:
			ours = append(ours, i)
		case "":
			free = append(free, i)
		}
	}
	missing := len(e.Nodeset.Nodes) - len(ours)
	if missing > len(free) {
		return false, nil // later
	}
	var ops []kv.Op
	for _, i := range free[:missing] {
		ops = append(ops, kv.Put(nodeKey(i), []byte(e.Request)))
	}
	if len(ops) > 0 {
		if _, _, err := w.kv.Commit(w.ctx, kv.Txn{Then: ops}); err != nil {
			return false, err
		}
	}
	var names []string
	for _, i := range append(ours, free[:missing]...) {
		names = append(names, fmt.Sprintf("m%d", i))
	}
	return true, t.Done(w.ctx, w.twice(&pipeline.NodesReady{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Request: e.Request, Nodes: names, Provider: "p"})...)
}

func (w *world) free(request string) {
	for i, by := range w.leased() {
		if by == request {
			if _, _, err := w.kv.Commit(w.ctx, kv.Txn{Then: []kv.Op{kv.Delete(nodeKey(i))}}); err != nil {
				w.fail("free a node: %v", err)
			}
		}
	}
}

// told tells whether a signal was given.
func (p *proc) told(kind, id, signal string) (bool, error) {
	_, ok, err := kv.Get(p.w.ctx, p.kv, store.SignalPrefix(kind)+id+"/"+signal)
	return ok, err
}

// giveBack ends a request for nodes, if it is outstanding, and frees what it has.
func (p *proc) giveBack(t *store.Task) (bool, error) {
	w := p.w
	var e pipeline.ReturnNodes
	if err := t.Decode(w.ctx, &e); err != nil {
		return false, err
	}
	key := store.RequestPrefix(store.KindNodes) + e.Request
	r, there, err := kv.Get(w.ctx, p.kv, key)
	if err != nil {
		return false, err
	}
	if there {
		_, _, err = p.kv.Commit(w.ctx, kv.Txn{If: []kv.Cmp{kv.Created(key, r.Create)},
			Then: []kv.Op{store.SignalOp(store.KindNodes, e.Request, store.SignalCancel, "")}})
		return false, err // wait until it has ended
	}
	w.free(e.Request)
	return true, t.Done(w.ctx)
}

// build runs a build: it begins, perhaps pauses, and ends. What a vanished worker had begun is not begun
// again.
func (p *proc) build(j *job) (bool, error) {
	w, t := p.w, j.task
	var e pipeline.Start
	if err := t.Decode(w.ctx, &e); err != nil {
		return false, err
	}
	end := func(r pipeline.Result) (bool, error) {
		var data map[string]any
		if j.phase == 3 {
			data = map[string]any{"zuul": map[string]any{"pause": true}}
		}
		w.trace("%s: build of %s ends %s", p.name, e.Job.Name, r)
		return true, t.Done(w.ctx, w.twice(&pipeline.BuildEnded{Build: e.Build, Result: r, At: p.now(), Data: data})...)
	}
	if j.phase == 0 {
		if t.Request.Began > 1 {
			return end(pipeline.Aborted)
		}
		if err := w.nodesAreOurs(&e); err != nil {
			return false, err
		}
		name := fmt.Sprintf("%s/%s/%d", e.Buildset, e.Job.ID, e.Attempt)
		if w.builds[name]++; w.builds[name] > 1 {
			w.fail("attempt %d of job %s in buildset %s was begun %d times", e.Attempt, e.Job.ID, e.Buildset, w.builds[name])
		}
		w.begun++
		w.trace("%s begins %s for %v", p.name, e.Job.Name, e.Own)
		j.phase = 1
	}
	if cancelled, err := p.told(store.KindBuild, t.Request.ID, store.SignalCancel); err != nil {
		return false, err
	} else if cancelled {
		return end(pipeline.Aborted)
	}
	switch j.phase {
	case 1:
		err := t.Tell(w.ctx, w.twice(&pipeline.BuildStarted{Build: e.Build, At: p.now(), Executor: p.name})...)
		if err == nil {
			j.phase = 2
		}
		return false, err
	case 2:
		if j.result == "" {
			j.result = w.outcome(&e)
		}
		if e.Job.Name == "registry" && j.result == pipeline.Success {
			err := t.Tell(w.ctx, w.twice(&pipeline.BuildPaused{Build: e.Build, Data: map[string]any{"zuul": map[string]any{"pause": true}}})...)
			if err == nil {
				j.phase = 3
			}
			return false, err
		}
	case 3:
		if resume, err := p.told(store.KindBuild, t.Request.ID, store.SignalResume); err != nil || !resume {
			return false, err
		}
	}
	if j.result == retry {
		return end("")
	}
	if j.result == pipeline.Success && e.Merge != nil {
		key := string(e.Buildset) + "/" + string(e.Job.ID)
		w.passed[key] = map[string]bool{}
		for _, c := range e.Merge.Commits {
			w.passed[key][c.Commit] = true
		}
	}
	return end(j.result)
}

const retry pipeline.Result = "no result"

// nodesAreOurs: the machines of a build are leased to its request and to nobody else.
func (w *world) nodesAreOurs(e *pipeline.Start) error {
	leased := w.leased()
	for _, n := range e.Nodes {
		i, _ := strconv.Atoi(n[1:])
		if leased[i] != e.Request {
			w.fail("build %s of job %s has machine %s, which is leased to %q and not to its request %s", e.Build, e.Job.Name, n, leased[i], e.Request)
		}
	}
	return nil
}

// outcome is decided by what is tested, so that whoever tests the same gets the same; now and then a build
// has no result.
func (w *world) outcome(e *pipeline.Start) pipeline.Result {
	if !w.calm && w.odds(12) {
		return retry
	}
	if !e.Job.Voting {
		return pipeline.Failure
	}
	for _, k := range e.Own {
		if w.forge.bad[k] && strings.HasPrefix(e.Job.Name, "unit") {
			return pipeline.Failure
		}
		for _, c := range e.Changes {
			if slices.Contains(w.forge.clash[k], c.Key()) {
				return pipeline.Failure
			}
		}
	}
	return pipeline.Success
}
