package simulate

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	jobs "github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// semaphores of the tenant.
var semaphores = map[string]pipeline.Semaphore{"one": {Max: 1}, "pair": {Max: 2, Global: true}}

// people lets somebody outside do something: mostly propose and approve.
func (w *world) people() {
	f := w.forge
	open := slices.DeleteFunc(slices.Clone(f.order), func(k change.Key) bool { return !f.changes[k].Open || !f.changes[k].Current })
	switch n := w.rng.IntN(20); {
	case n < 9 && len(open) < 12 || len(open) == 0:
		w.propose(open)
	case n < 16:
		w.approve(pick(w, open))
	case n == 16:
		w.amend(pick(w, open))
	case n == 17:
		w.abandon(pick(w, open))
	case n == 18:
		k := pick(w, open)
		f.excused[k] = true
		w.trace("an operator dequeues %s", k)
		w.send(pick(w, pipes), &pipeline.Dequeue{Key: k})
	case w.odds(3):
		w.trace("an operator promotes")
		k := pick(w, open)
		w.send("gate", &pipeline.Promote{Keys: []change.Key{k}, Changes: f.closure(k)})
	default:
		w.push()
	}
}

func (w *world) send(pipe string, in ...pipeline.Input) {
	if err := w.outside.Send(w.ctx, tenant, pipe, in...); err != nil {
		w.fail("send: %v", err)
	}
}

// tell gives an event about a change to pipelines.
func (w *world) tell(k change.Key, what, matches string) {
	f := w.forge
	c := f.changes[k]
	e := event.Event{ID: fmt.Sprint("e", w.rng.Uint32()), Connection: "forge", Driver: "gerrit", Type: what, Project: c.Project,
		Number: c.Number, Patchset: c.Patchset, Branch: c.Branch, At: w.clock}
	for _, p := range []string{"check", "gate"} {
		w.send(p, &pipeline.Trigger{Event: e, Key: k, Changes: f.closure(k), Match: p == matches})
	}
}

// propose makes a change, perhaps on top of or in a cycle with another.
func (w *world) propose(open []change.Key) {
	f := w.forge
	k := w.add(pick(w, projects))
	if len(open) > 0 && w.odds(2) {
		n := pick(w, open)
		w.need(k, n)
		if w.odds(4) {
			w.need(n, k)
		}
	}
	f.bad[k] = w.odds(7)
	for _, o := range open {
		if w.odds(12) {
			f.clash[k] = append(f.clash[k], o)
		}
		if w.odds(15) && f.changes[o].Project == f.changes[k].Project {
			f.conflict[k], f.conflict[o] = append(f.conflict[k], o), append(f.conflict[o], k)
		}
	}
	w.tell(k, "patchset-created", "check")
}

// add makes a change that needs others.
func (w *world) add(p change.Project, needs ...change.Key) change.Key {
	f := w.forge
	c := &change.Change{Kind: change.KindChange, Project: p, Branch: "main", Number: strconv.Itoa(len(f.order) + 1), Patchset: "1",
		Files: []string{"README"}, Open: true, Current: true, MissingLabels: []string{"Approved"}}
	c.Ref, c.URL = "refs/changes/"+c.Number, "https://forge.example.com/"+c.Number
	k := c.Key()
	f.changes[k] = c
	f.order = append(f.order, k)
	for _, n := range needs {
		w.need(k, n)
	}
	w.trace("%s is proposed, needs %v", k, needs)
	return k
}

func (w *world) approve(k change.Key) {
	f := w.forge
	d := *f.changes[k]
	d.MissingLabels = nil
	f.changes[k] = &d
	f.approved[k] = true
	delete(f.excused, k)
	w.trace("%s is approved", k)
	w.tell(k, "comment-added", "gate")
}

// amend makes a new patch set; the old one is of no interest any more.
func (w *world) amend(k change.Key) {
	f := w.forge
	d := *f.changes[k]
	if len(d.FooterNeeds)+len(d.FooterNeededBy) > 0 {
		return // its dependencies would have to follow
	}
	n, _ := strconv.Atoi(d.Patchset)
	d.Patchset, d.MissingLabels = strconv.Itoa(n+1), []string{"Approved"}
	old := *f.changes[k]
	old.Current, old.Open = false, false
	f.changes[k], f.changes[d.Key()] = &old, &d
	f.order = append(f.order, d.Key())
	w.trace("%s is amended", k)
	w.tell(d.Key(), "patchset-created", "check")
}

func (w *world) abandon(k change.Key) {
	w.forge.close(k, false)
	w.trace("%s is abandoned", k)
	w.tell(k, "change-abandoned", "")
}

// push moves a branch behind the gate's back.
func (w *world) push() {
	p := pick(w, projects)
	old := w.forge.heads[p.Name]
	w.forge.heads[p.Name] = w.forge.commit(old, fmt.Sprint("push", w.rng.Uint32()), w.forge.content[old])
	w.trace("somebody pushes to %s", p.Name)
	w.pushed(p, old, w.forge.heads[p.Name])
}

// pushed triggers what follows a branch that moved.
func (w *world) pushed(p change.Project, old, now string) {
	c := &change.Change{Kind: change.KindBranch, Project: p, Branch: "main", Ref: "refs/heads/main", OldRev: old, NewRev: now, Commit: now, Files: []string{}}
	w.send("post", &pipeline.Trigger{Key: c.Key(), Changes: []*change.Change{c}, Match: true,
		Event: event.Event{ID: fmt.Sprint("e", w.rng.Uint32()), Type: "ref-updated", Project: p, Ref: c.Ref, OldRev: old, NewRev: now, At: w.clock}})
}

// reconfigure brings a new layout to all pipelines.
func (w *world) reconfigure() {
	w.layout++
	t := pipeline.Tenant{Name: tenant, Layout: fmt.Sprint("L", w.layout), Projects: map[string]pipeline.Project{}, Semaphores: semaphores}
	for _, p := range projects {
		t.Projects[p.Canonical()] = pipeline.Project{Project: p, InPipeline: true, Queue: "integrated", AllowCircular: true, MergeMode: "merge", DefaultBranch: "main"}
	}
	w.trace("layout %s", t.Layout)
	says := []pipeline.Reporter{{Connection: "forge", Driver: "forge"}}
	lands := []pipeline.Reporter{{Connection: "forge", Driver: "forge", Merges: true}}
	for _, name := range pipes {
		s := pipeline.Settings{Name: name, Manager: pipeline.Independent, AllowOtherConnections: true, DequeueOnNewPatchset: true,
			Reporters: map[pipeline.Action][]pipeline.Reporter{}}
		for _, a := range []pipeline.Action{pipeline.ReportSuccess, pipeline.ReportFailure, pipeline.ReportMergeConflict, pipeline.ReportConfigError, pipeline.ReportNoJobs, pipeline.ReportDequeue} {
			s.Reporters[a] = says
		}
		switch name {
		case "gate":
			s.Manager, s.Reporters[pipeline.ReportSuccess], s.Supercedes = pipeline.Dependent, lands, []string{"check"}
			s.Window = pipeline.WindowSettings{Size: 3 + w.rng.IntN(4), Floor: 2, IncreaseType: "linear", IncreaseFactor: 1, DecreaseType: "exponential", DecreaseFactor: 2}
			s.MaxParallel = w.rng.IntN(3)
		case "post":
			s.Manager = pipeline.Supercedent
		}
		w.send(name, &pipeline.Reconfigure{Settings: s, Tenant: t})
	}
}

// graph is the frozen jobs of an item.
func graph(pipe string, changes []*change.Change) *jobs.Graph {
	g := &jobs.Graph{}
	add := func(name string, nodes int, sem string, after ...string) *jobs.Job {
		j := &jobs.Job{ID: jobs.ID(name), Name: name, Voting: true, Attempts: 3}
		for _, c := range changes {
			j.Refs = append(j.Refs, c.Key())
		}
		for i := range nodes {
			j.Nodeset.Nodes = append(j.Nodeset.Nodes, jobs.Node{Names: []string{fmt.Sprint("n", i)}, Label: "m"})
		}
		if sem != "" {
			j.Semaphores = []jobs.Semaphore{{Name: sem}}
		}
		for _, a := range after {
			j.Dependencies = append(j.Dependencies, jobs.Dependency{Job: jobs.ID(a)})
		}
		g.Jobs = append(g.Jobs, j)
		return j
	}
	switch {
	case pipe == "post":
		add("deploy", 1, "one")
	case pipe == "check":
		add("unit", 0, "")
		add("slow", 1, "one")
	case changes[0].Project.Name == "two":
		add("registry", 1, "")
		add("unit-images", 2, "", "registry")
	default:
		add("unit", 0, "")
		add("integration", 1, "one", "unit")
		add("lint", 0, "").Voting = false
		add("publish", 2, "pair", "unit")
	}
	return g
}
