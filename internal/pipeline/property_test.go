package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// TestProperties lets chance play everybody around pipelines of every manager: effects are carried out in
// any order, some never or twice, builds end in every way, people push, promote and reconfigure. What must
// hold is looked at after every step; at the end all work is finished, and nothing may be left. The flag
// -rapid.checks says how many runs there are for each manager (make properties).
func TestProperties(t *testing.T) {
	t.Parallel()
	for _, k := range []Kind{Dependent, Independent, Serial, Supercedent} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) { newChance(t, k).play() })
		})
	}
}

// chance is a world in which everything happens at random.
type chance struct {
	*world
	*rapid.T
	plan plan
	// exact: the state is written down and read back after every few steps, as its owner does: the items that were
	// touched since.
	exact   bool
	touched []ItemID
	written map[ItemID]string
	inputs  []recorded

	begun map[string]bool
	// passed are the jobs whose build ended with success, and the commits that it ran on.
	passed map[string][]Commit
	pushed bool
	// resumed are builds that were paused once; views, the buildsets that have one, and looked, how often it was
	// asked what their jobs read of each other.
	resumed map[BuildID]bool
	views   map[BuildsetID]bool
	looked  map[BuildsetID]int
	late    []Input // outcomes that came already
}

type recorded struct {
	meta Meta
	in   Input
}

func newChance(t *rapid.T, k Kind) *chance {
	c := &chance{T: t, written: map[ItemID]string{}, begun: map[string]bool{}, passed: map[string][]Commit{},
		resumed: map[BuildID]bool{}, views: map[BuildsetID]bool{}, looked: map[BuildsetID]int{}}
	c.plan = plan{Manager: string(k), Layout: "layout 1", Window: c.pick(4), Floor: 1 + c.pick(2), Ceiling: 5 * c.pick(2), FailFast: c.one(4),
		MaxParallel: c.pick(3) * c.pick(2), KeepOldPatchsets: c.one(8), IgnoreDeps: c.one(6), WantParentEnqueued: c.one(3),
		Reporters: []string{"start", "dequeue", "no-jobs"}, Semaphores: map[string]int{"few": 2}}
	if c.one(4) {
		c.plan.Lock, c.plan.Ageing = "production", 30*c.pick(2)
	}
	c.plan.StepBack, c.plan.Shadow = c.one(4), c.plan.MaxParallel > 0 && c.one(4)
	c.plan.Dispatch = []string{"", DispatchLongestPath}[c.pick(2)]
	c.plan.Repair, c.plan.View = c.one(3), c.one(3)
	if c.one(4) {
		c.plan.Canaries = [][2]string{{"job0", "job1"}, {"job2", "job0"}}
	}
	circular := c.one(2)
	var config []string
	if c.one(3) {
		config = []string{"zuul.yaml", "zuul.d/"}
	}
	queue := []string{"", "shared"}[c.pick(2)]
	c.plan.Projects = map[string]planProject{"org/a": {Queue: queue, Circular: circular, Config: config}, "org/b": {Queue: queue, Circular: circular}}
	for i := range 1 + c.pick(3) {
		j := planJob{Name: fmt.Sprint("job", i), Nonvoting: c.one(6), Attempts: 1 + c.pick(3), Nodes: c.pick(2), Hold: c.one(10), First: c.one(2)}
		if i > 0 && c.one(2) {
			if parent := fmt.Sprint("job", c.pick(i)); c.one(3) {
				j.Soft = []string{parent}
			} else {
				j.Needs = []string{parent}
			}
		}
		if c.one(4) {
			j.Semaphores = []string{[]string{"one", "few"}[c.pick(2)]}
		}
		if c.one(4) {
			j.Resources = []string{"host"}
		}
		if j.Nodes > 0 {
			j.Alternatives = c.pick(3)
		}
		switch c.pick(8) {
		case 0:
			j.Provides = []string{"image"}
		case 1:
			j.Requires = []string{"image"}
		case 2:
			j.Repos = []string{"org/lib"}
		}
		c.plan.Jobs = append(c.plan.Jobs, j)
	}
	if c.one(20) {
		c.plan.Jobs = nil
	}
	c.exact = c.one(64)
	c.world = newWorld(c.plan.settings(), c.plan.tenant())
	c.inputs = []recorded{{c.meta(), &Reconfigure{Settings: c.plan.settings(), Tenant: c.plan.tenant()}}}
	c.jobs = func(ch []*change.Change) *job.Graph { return c.plan.graph(ch) }
	c.stepped = c.look
	return c
}

// pick is a number below n.
func (c *chance) pick(n int) int {
	if n < 2 {
		return 0
	}
	return rapid.IntRange(0, n-1).Draw(c.T, "pick")
}

// one is true once in n times.
func (c *chance) one(n int) bool { return c.pick(n) == n-1 }

func (c *chance) play() {
	for range 10 + c.pick(50) {
		switch n := c.pick(20); {
		case n < 8 && len(c.todo) > 0:
			c.carry(c.todo[c.pick(len(c.todo))])
		case n < 14 && len(c.runs) > 0:
			c.build(c.runs[c.pick(len(c.runs))])
		case n < 18:
			c.event()
		default:
			c.people()
		}
	}
	c.finish()
	c.replay()
}

func (c *chance) feed(in Input) {
	c.inputs = append(c.inputs, recorded{Meta{Now: c.now.Add(1e9), Seed: fmt.Sprint("seed ", c.world.inputs+1)}, in})
	c.step(in)
}

// event is news of a forge.
func (c *chance) event() {
	if len(c.forge) < 2 || c.one(3) && len(c.forge) < 6 {
		c.create()
		return
	}
	n := c.any()
	switch x := c.pick(14); {
	case x < 8:
		if c.forge[n].Open {
			c.feed(c.tell("comment-added", n, true))
		}
	case x == 8:
		if c.forge[n].Open {
			c.patchset(n)
			c.feed(c.tell("patchset-created", n, c.one(2)))
		}
	case x == 9:
		if c.forge[n].Open {
			c.close(n, false)
		}
		c.feed(c.tell("change-abandoned", n, false))
	case x == 10:
		ch := *c.forge[n]
		ch.Blocked = []string{"", "it has an unresolved comment"}[c.pick(2)]
		c.forge[n] = &ch
		c.feed(c.tell("vote-deleted", n, false))
	case x == 11:
		if ch := c.forge[n]; ch.Open && c.here(n) == nil {
			// Somebody merges it by hand.
			c.heads[branchOf(ch)] = c.head(ch) + " " + n + "/" + ch.Patchset
			c.close(n, true)
			c.pushed = true
			c.feed(c.tell("change-merged", n, false))
		}
	case x == 12:
		if c.forge[n].Open {
			c.edit(n)
		}
	default:
		c.feed(&Trigger{Key: "nobody,1", Match: true})
	}
}

// edit has somebody rewrite the footers of a change, by which cycles come and go.
func (c *chance) edit(n string) {
	var needs []string
	if other := c.any(); c.one(2) && other != n {
		needs = append(needs, other)
	}
	c.depend(n, needs...)
	c.feed(c.tell("change-edited", n, c.one(4)))
}

// any is the number of some change.
func (c *chance) any() string {
	numbers := c.numbers()
	return numbers[c.pick(len(numbers))]
}

// create proposes a change; it may need others, and others may need it.
func (c *chance) create() {
	n := string(rune('A' + len(c.forge)))
	var needs []string
	if len(c.forge) > 0 && c.one(3) {
		needs = append(needs, c.any())
	}
	if len(c.forge) > 0 && c.one(6) {
		c.conflicts[[2]string{c.any(), n}] = true
	}
	c.propose(named([]string{"org/a", "org/b"}[c.pick(2)]), "master", n, needs...)
	ch := *c.forge[n]
	if len(needs) > 0 && c.one(3) { // as its git parent
		ch.GitNeeds, ch.FooterNeeds = ch.FooterNeeds, nil
	}
	ch.Files = [][]string{{"README"}, {"zuul.yaml"}, nil}[c.pick(3)]
	c.forge[n] = &ch
	if len(needs) > 0 && c.one(4) && !c.forge[needs[0]].Merged && c.here(needs[0]) == nil {
		c.depend(needs[0], n)
	}
	c.feed(c.tell("patchset-created", n, true))
}

// here is the item with a change.
func (c *chance) here(number string) *Item {
	for _, it := range c.s.Items {
		if slices.Contains(it.Changes, c.forge[number].Key()) {
			return it
		}
	}
	return nil
}

// people are operators and those with the right to push.
func (c *chance) people() {
	switch c.pick(8) {
	case 0:
		if len(c.forge) > 0 {
			c.feed(&Dequeue{Key: c.forge[c.any()].Key(), Superseded: c.one(2)})
		}
	case 1:
		if len(c.forge) > 0 {
			in := &Promote{}
			for range 1 + c.pick(2) {
				if k := c.forge[c.any()].Key(); !slices.Contains(in.Keys, k) {
					in.Keys = append(in.Keys, k)
				}
			}
			in.Changes = c.closure(in.Keys...)
			c.feed(in)
		}
	case 2:
		c.feed(&Pause{Reason: []string{"", "maintenance"}[c.pick(2)]})
	case 3, 4:
		c.reconfigure()
	case 5:
		c.push([]string{"org/a", "org/b"}[c.pick(2)], "master")
		c.pushed = true
	case 6:
		if len(c.forge) > 0 {
			k := c.forge[c.any()].Key()
			c.feed(&Enqueue{Key: k, Changes: c.closure(k), Force: true})
		}
	case 7:
		c.again()
	}
}

func (c *chance) reconfigure() {
	c.plan.Layout = fmt.Sprint("layout ", c.world.inputs)
	queue := []string{"", "shared", "other"}[c.pick(3)]
	for n, p := range c.plan.Projects {
		p.Queue = queue
		c.plan.Projects[n] = p
	}
	if c.one(4) {
		if _, ok := c.plan.Projects["org/b"]; ok {
			delete(c.plan.Projects, "org/b")
			c.pushed = true // a change of it may be landing, and nobody here hears of it
		} else {
			c.plan.Projects["org/b"] = c.plan.Projects["org/a"]
		}
	}
	c.plan.Window = c.pick(4)
	c.feed(&Reconfigure{Settings: c.plan.settings(), Tenant: c.plan.tenant(), Removed: c.removed()})
}

// removed takes the pipeline out of the layout, now and then; what is landing lands unheard.
func (c *chance) removed() bool {
	gone := c.one(10)
	c.pushed = c.pushed || gone
	return gone
}

// again lets an outcome come a second time, or one of something that never was.
func (c *chance) again() {
	in := Input(&BuildEnded{Build: "of another time", Result: Success})
	if len(c.late) > 0 {
		in = c.late[c.pick(len(c.late))]
	}
	c.unchanged(in)
}

// unchanged feeds an input of which nothing may come.
func (c *chance) unchanged(in Input) {
	before := c.json(c.s)
	c.feed(in)
	if after := c.json(c.s); before != after {
		c.Fatalf("%s that came late changed something:\n%s", kind(in), cmp.Diff(before, after))
	}
}

func (c *chance) json(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		c.Fatal(err)
	}
	return string(b)
}

// carry has an effect carried out, well or badly.
func (c *chance) carry(e Effect) {
	c.drop(e)
	var in []Input
	bad := c.one(10)
	switch e := e.(type) {
	case *Configure:
		if bad {
			in = []Input{&Configured{Item: e.Item, Buildset: e.Buildset, Layout: "broken", Problems: []Problem{{Text: "it has an invalid configuration"}}}}
		}
	case *RepoState:
		if bad {
			in = []Input{&RepoStated{Item: e.Item, Buildset: e.Buildset, Problem: "a repository is gone"}}
		}
	case *RequestNodes:
		if bad {
			in = []Input{&NodesReady{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Request: e.Request, Failed: true}}
		}
	case *FindArtifacts:
		if bad {
			in = []Input{&Provided{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Token: e.Token, Failed: "provided by a build that failed"}}
		}
	case *FindHazards:
		in = []Input{c.hazards(e)}
	case *Report:
		if bad {
			in = []Input{c.land(e, func(string) bool { return true })}
		}
		if e.Merge && c.s.Items[e.Item] == nil {
			c.pushed = true // its project left meanwhile; what lands now is nothing that the pipeline knows of
		}
	}
	if in == nil {
		landed := len(c.landed)
		in = c.outcome(e)
		for _, l := range c.landed[landed:] {
			c.checkLanding(l)
		}
	}
	for _, x := range in {
		if r, ok := x.(*Reported); ok && r.Moved && !c.pushed {
			c.Fatalf("item %s was to land on another head than it was tested on: %v", r.Item, r.Why)
		}
		c.feed(x)
		switch x.(type) {
		case *Merged, *RepoStated, *NodesReady, *Reported, *Provided, *HazardsFound:
			c.late = append(c.late, x)
		}
	}
}

// hazards are some among the jobs that ran at the same time, in either direction.
func (c *chance) hazards(e *FindHazards) *HazardsFound {
	out := &HazardsFound{Item: e.Item, Buildset: e.Buildset, Token: e.Token, Unknown: []string{"", "a log is gone"}[c.pick(2)]}
	for _, p := range e.Pairs {
		if c.one(2) {
			out.Hazards = append(out.Hazards, Hazard{Writer: p[c.pick(2)], Reader: p[c.pick(2)]})
		}
	}
	if c.one(8) {
		out.Hazards = append(out.Hazards, Hazard{Writer: "nobody", Reader: "job0"})
	}
	return out
}

// build brings news of a build.
func (c *chance) build(r *run) {
	if r.canceled {
		// Some executors hear of it in time, some have a result already: nothing comes of either.
		c.finishCanceled(r, []Result{Canceled, Success, Failure, Aborted}[c.pick(4)])
		return
	}
	switch n := c.pick(14); {
	case r.paused:
		if n == 0 {
			c.ended(r, Aborted, nil)
		}
	case n == 0:
		c.feed(&BuildStarted{Build: r.Build, At: c.now, Executor: "ze01"})
	case n == 1 && c.plan.Lock == "" && len(r.Job.Semaphores) == 0 && len(c.s.Tenant.Resources[r.Job.Name]) == 0: // what its children want it must not hold
		r.paused, c.resumed[r.Build] = true, true
		c.passed[string(r.Buildset)+"/"+string(r.Job.ID)] = r.Merge.Commits
		c.feed(&BuildPaused{Build: r.Build, Data: c.data(r)})
	case n == 2:
		c.feed(&BuildFailing{Build: r.Build})
		c.ended(r, []Result{Failure, Success}[c.pick(2)], nil)
	case n == 3:
		c.ended(r, []Result{Aborted, Retry, "", MergeConflict, TimedOut, PostFailure, DiskFull}[c.pick(7)], nil)
	case n < 7:
		c.ended(r, Failure, nil)
	default:
		c.ended(r, Success, c.data(r))
	}
}

// data is what a build returns: now and then, which of its children shall run.
func (c *chance) data(r *run) map[string]any {
	if len(r.ChildJobs) == 0 || !c.one(4) {
		return nil
	}
	return map[string]any{"zuul": map[string]any{"child_jobs": []any{r.ChildJobs[c.pick(len(r.ChildJobs))]}[:c.pick(2)]}}
}

func (c *chance) ended(r *run, result Result, data map[string]any) {
	in := c.end(r, result)
	in.Data = data
	if result == Success {
		c.passed[string(r.Buildset)+"/"+string(r.Job.ID)] = r.Merge.Commits
	} else {
		delete(c.passed, string(r.Buildset)+"/"+string(r.Job.ID))
	}
	c.feed(in)
	c.late = append(c.late, in)
}

// finishCanceled ends a build that was canceled: only its nodes are given back.
func (c *chance) finishCanceled(r *run, result Result) {
	in := c.end(r, result)
	stopping := c.s.Stopping
	c.s.Stopping = nil
	before := c.json(c.s)
	c.s.Stopping = stopping
	c.feed(in)
	stopping, c.s.Stopping = c.s.Stopping, nil
	// Where it was the last to work under a lock, the next one may begin.
	if after := c.json(c.s); before != after && c.plan.Lock == "" {
		c.Fatalf("the end of a canceled build changed something:\n%s", cmp.Diff(before, after))
	}
	c.s.Stopping = stopping
	c.late = append(c.late, in)
}

// finish lets everything come to its end, and looks whether something is left over.
func (c *chance) finish() {
	c.feed(&Pause{})
	for range 2000 {
		switch i := slices.IndexFunc(c.runs, func(r *run) bool { return r.canceled || !r.paused }); {
		case len(c.todo) > 0:
			c.carry(c.todo[0])
		case i >= 0 && c.runs[i].canceled:
			c.finishCanceled(c.runs[i], Canceled)
		case i >= 0:
			c.ended(c.runs[i], []Result{Success, Success, Failure}[c.pick(3)], nil)
		default:
			c.empty()
			return
		}
	}
	c.Fatalf("the pipeline does not come to rest")
}

func (c *chance) empty() {
	if len(c.s.Items) > 0 || len(c.s.Stopping) > 0 || len(c.sem.Holders) > 0 || len(c.runs) > 0 || len(c.nodes) > 0 || len(c.views) > 0 || c.lockUsed() {
		c.Fatalf("nothing is under way, and yet there are\nitems %s\nstopping %v\nholders %v\nbuilds %v\nnodes %v\nviews %v",
			c.json(c.s.Items), c.s.Stopping, c.sem.Holders, c.runs, c.nodes, c.views)
	}
}

func (c *chance) lockUsed() bool {
	for _, l := range c.sem.Locks {
		if l.Holder != nil || len(l.Waiting) > 0 {
			return true
		}
	}
	return false
}

// checkLock: builds of one buildset only are at work under the lock, canceled ones included.
func (c *chance) checkLock() {
	l := c.sem.Locks[c.plan.Lock]
	if l == nil {
		return
	}
	for _, r := range c.runs {
		if l.Holder == nil || l.Holder.Buildset != r.Buildset {
			c.Fatalf("%s of buildset %s is at work without the lock, which %+v holds", r.Job.ID, r.Buildset, l.Holder)
		}
	}
	for _, w := range l.Waiting {
		if it := c.s.Items[w.Item]; it == nil || it.Buildset.ID != w.Buildset {
			c.Fatalf("buildset %s waits for the lock and is gone", w.Buildset)
		}
	}
}

// replay gives the same inputs to another pipeline, which must come to the same state. It remembers nothing
// between steps, as if each were taken by another owner.
func (c *chance) replay() {
	s, sem := &State{}, &Semaphores{}
	for _, r := range c.inputs {
		s.running = nil
		for _, q := range s.Queues {
			q.line = nil
		}
		for _, it := range s.Items {
			it.rests, it.held, it.unasking, it.ahead = false, false, false, nil
		}
		Step(s, sem, r.meta, r.in)
	}
	if a, b := c.json(c.s), c.json(s); a != b {
		c.Fatalf("the same inputs led to another state:\n%s", cmp.Diff(a, b))
	}
	if a, b := c.json(c.sem), c.json(sem); a != b {
		c.Fatalf("the same inputs led to other semaphores:\n%s", cmp.Diff(a, b))
	}
}
