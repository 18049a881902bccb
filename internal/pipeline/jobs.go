package pipeline

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// provision asks for nodes for every job of the item that could run if it had them: semantics 2.11.
func (st *stepper) provision(it *Item) {
	if st.s.Paused != "" {
		return
	}
	ahead := st.liveAhead(it)
	if it.held = ahead != nil && st.holding(ahead); it.held {
		return
	}
	bs := it.Buildset
	if it.held = !st.locked(it); it.held {
		st.letGo(it)
		return
	}
	free := st.slots(bs)
	for _, j := range st.strategy.Order(st.s, bs.Graph) {
		js := bs.Jobs[j.ID]
		if js.Build != nil || js.NodesReady || js.NodeRequest != "" {
			continue
		}
		if !st.requirementsMet(it, j, js) || !st.parentsDone(it, j, js) {
			continue
		}
		if js.Queued.IsZero() {
			js.Queued = st.now
			st.touch(it)
		}
		if free == 0 {
			st.wait(it, js, waitingSlot)
			continue
		}
		if x := st.stranger(bs, j); x != "" {
			st.wait(it, js, waitingCanary+x)
			continue
		}
		if st.acquire(it, j, true) {
			st.request(it, j, js)
			free--
		}
	}
}

// What jobs wait for; where something follows the colon, it is the names.
const (
	waitingSlot         = "parallel jobs"
	waitingCanary       = "canary pair: "
	waitingExecutor     = "executor"
	waitingDependencies = "dependencies: "
	waitingNodes        = "node request: "
	waitingSemaphores   = "semaphores: "
	waitingRequirements = "requirements: "
	waitingLock         = "lock: "
)

// wait notes why the job does not run yet.
func (st *stepper) wait(it *Item, js *JobState, why string) {
	if js.Waiting != why {
		js.Waiting = why
		st.touch(it)
	}
}

// slots is how many more jobs of the buildset may run or hold nodes; negative: any number. A paused job
// takes none, for its children could never run otherwise.
func (st *stepper) slots(bs *Buildset) int {
	limit := st.limit()
	if st.s.Settings.Repair && mending(bs) {
		limit = 1
	}
	if limit == 0 {
		return -1
	}
	used := 0
	for _, js := range bs.Jobs {
		if atWork(js) {
			used++
		}
	}
	return max(0, limit-used)
}

// atWork tells whether the job runs, or has or wants nodes.
func atWork(js *JobState) bool {
	if b := js.Build; b != nil {
		return b.Result == "" && !b.Paused
	}
	return js.NodesReady || js.NodeRequest != ""
}

// holding tells whether a job of the item, or of one ahead of it, that holds what follows has not
// succeeded yet.
func (st *stepper) holding(it *Item) bool {
	for ; it != nil && it.Live; it = st.ahead(it) {
		g := it.Buildset.Graph
		if g == nil {
			return false
		}
		for _, j := range g.Jobs {
			if !j.HoldFollowingChanges {
				continue
			}
			if b := it.Buildset.Jobs[j.ID].Build; b == nil || b.Result != Success {
				return true
			}
		}
	}
	return false
}

// parentsDone tells whether all that the job depends on, transitively, succeeded or is paused. What it
// depends on softly may have been skipped.
func (st *stepper) parentsDone(it *Item, j *job.Job, js *JobState) bool {
	bs := it.Buildset
	var open []string
	blocked := false
	hard := map[job.ID]bool{}
	for _, d := range j.Dependencies {
		if !d.Soft {
			hard[d.Job] = true
		}
	}
	for _, p := range bs.Graph.Parents(j.ID, true, true) {
		b := bs.Jobs[p].Build
		switch {
		case b == nil || (b.Result == "" && !b.Paused):
			open = append(open, string(p))
		case b.Paused || b.Result == Success:
		case b.Result == Skipped && !hard[p]:
		default:
			blocked = true
		}
	}
	if len(open) > 0 {
		st.wait(it, js, waitingDependencies+strings.Join(open, ", "))
	}
	return len(open) == 0 && !blocked
}

// request asks for the nodes of the job; a job without nodes is ready at once.
func (st *stepper) request(it *Item, j *job.Job, js *JobState) {
	st.touch(it)
	nodes := nodeset(j, js)
	if len(nodes.Nodes) == 0 {
		js.NodesReady = true
		return
	}
	js.NodeRequest, it.unasking = st.id(), false
	js.Waiting = waitingNodes + js.NodeRequest
	js.Relative = st.relativePriority(it)
	e := &RequestNodes{
		Item: it.ID, Buildset: it.Buildset.ID, Job: j.ID, JobName: j.Name, Request: js.NodeRequest,
		Nodeset: nodes, Priority: st.s.Settings.Priority(), Relative: js.Relative,
	}
	if c := st.s.Changes[ref(it, j)]; c != nil {
		e.Project = c.Project.Canonical()
	}
	for _, p := range it.Buildset.Graph.Parents(j.ID, true, true) {
		if ps := it.Buildset.Jobs[p]; ps.Build != nil && ps.Build.Paused {
			e.Priority = st.s.Settings.Priority() - 1
			if ps.Provider != "" {
				e.Provider, js.Provider = ps.Provider, ps.Provider
			}
		}
	}
	st.emit(e)
}

// nodeset is what the job asks for now: its nodeset, or the alternative that is being tried.
func nodeset(j *job.Job, js *JobState) job.Nodeset {
	if js.Alternative < len(j.Alternatives) {
		return j.Alternatives[js.Alternative]
	}
	return j.Nodeset
}

func (st *stepper) nodesReady(in *NodesReady) {
	it, bs := st.buildset(in.Item, in.Buildset)
	var js *JobState
	if it != nil {
		js = bs.Jobs[in.Job]
	}
	if js == nil || js.NodeRequest != in.Request || js.NodesReady {
		if js == nil || js.NodeRequest != in.Request {
			st.giveBack(in)
		}
		return
	}
	st.touch(it)
	if in.Failed {
		st.nodesFailed(it, bs.Graph.Job(in.Job), js, in)
		return
	}
	js.Nodes, js.NodesReady, js.Provider, js.Waiting = in.Nodes, true, in.Provider, ""
}

// giveBack returns nodes that nobody waits for any more. A withdrawn request may have been fulfilled at
// the same moment; those of a canceled build go back with its end.
func (st *stepper) giveBack(in *NodesReady) {
	for _, s := range st.s.Stopping {
		if s.Request == in.Request {
			return
		}
	}
	if len(in.Nodes) > 0 {
		st.emit(&ReturnNodes{Request: in.Request, Nodes: in.Nodes})
	}
}

// nodesFailed tries the next alternative; with none left the job fails.
func (st *stepper) nodesFailed(it *Item, j *job.Job, js *JobState, in *NodesReady) {
	js.NodeRequest = ""
	if js.Alternative+1 < len(j.Alternatives) {
		js.Alternative++
		st.request(it, j, js)
		return
	}
	why := "Node request " + in.Request + " failed"
	if in.Why != "" {
		why += ": " + in.Why
	}
	js.Build = st.noBuild(j, js, NodeFailure, why)
	st.releaseSemaphores(it, j)
	st.recordBuild(it, j, js.Build, true)
	st.consequences(it, j)
}

// noBuild is a result without anything having run.
func (st *stepper) noBuild(j *job.Job, js *JobState, r Result, detail string) *Build {
	return &Build{ID: BuildID(st.id()), Job: j.ID, Attempt: js.Tries, Started: st.now, Ended: st.now, Result: r, Detail: detail}
}

// run starts every job of the item whose nodes are there and whose semaphores can be had.
func (st *stepper) run(it *Item) {
	if st.s.Paused != "" || it.held {
		return
	}
	bs := it.Buildset
	for _, j := range st.strategy.Order(st.s, bs.Graph) {
		js := bs.Jobs[j.ID]
		if js.Build != nil || !js.NodesReady {
			continue
		}
		if !st.requirementsMet(it, j, js) {
			// Whoever makes what it requires, and the other jobs here, may need what it holds.
			st.releaseSemaphores(it, j)
			st.returnNodes(it, js)
			js.NodesReady = false
			st.touch(it)
			continue
		}
		if st.parentsDone(it, j, js) && st.acquire(it, j, false) {
			st.start(it, j, js)
		}
	}
}

// start makes the build. A noop job is done at once and never reaches an executor.
func (st *stepper) start(it *Item, j *job.Job, js *JobState) {
	st.touch(it)
	js.Tries++
	js.Waiting = waitingExecutor
	b := &Build{ID: BuildID(st.id()), Job: j.ID, Attempt: js.Tries, Requested: st.now}
	js.Build = b
	if j.Name == job.Noop {
		js.Waiting = ""
		b.Started, b.Ended, b.Result = st.now, st.now, Success
		st.settle(it, j)
		return
	}
	if st.s.running != nil {
		st.s.running[b.ID] = it.ID
	}
	bs := it.Buildset
	e := &Start{
		Item: it.ID, Buildset: bs.ID, Build: b.ID, Attempt: b.Attempt, Job: j,
		Own: it.Changes, Refs: j.Refs, Merge: bs.Merge, Operations: bs.Operations, Time: bs.Configured,
		Nodeset: nodeset(j, js), Nodes: js.Nodes, Request: js.NodeRequest, Event: it.Event, Layout: it.Layout,
		PostReview: st.s.Settings.PostReview, Observe: st.s.Settings.Observe, Priority: st.s.Settings.Priority(),
	}
	if e.View = st.s.Settings.View; e.View != nil {
		bs.Viewed = true
	}
	e.Changes = st.tested(bs)
	for _, c := range bs.Graph.Children(j.ID, false, true) {
		e.ChildJobs = append(e.ChildJobs, bs.Graph.Job(c).Name)
	}
	e.Artifacts = append(st.requiredArtifacts(it, j), st.ownArtifacts(it, j)...)
	e.ParentData, e.SecretData = parentData(bs, j)
	for _, n := range playbookSemaphores(j) {
		if d, ok := st.s.Tenant.Semaphores[n]; ok {
			if e.Semaphores == nil {
				e.Semaphores = map[string]Semaphore{}
			}
			e.Semaphores[n] = d
		}
	}
	st.emit(e)
}

// ref is the change that the job belongs to.
func ref(it *Item, j *job.Job) change.Key {
	if len(j.Refs) > 0 {
		return j.Refs[0]
	}
	return it.Changes[0]
}

// relativePriority orders node requests of one priority: by position in a dependent queue, by how many
// live items of the same queue of projects are before it elsewhere; exact below 10, then coarser.
func (st *stepper) relativePriority(it *Item) int {
	if !st.ranked {
		st.rank()
	}
	return it.relative
}

func (st *stepper) rank() {
	st.ranked = true
	ahead := map[string]int{}
	for _, q := range st.s.Queues {
		for i, it := range st.line(q) {
			it.relative = 0
			if st.s.Settings.Manager == Dependent {
				it.relative = coarse(i)
				continue
			}
			if !it.Live {
				continue
			}
			groups := st.groups(it)
			least := -1
			for _, g := range groups {
				if n := ahead[g]; least < 0 || n < least {
					least = n
				}
			}
			for _, g := range groups {
				ahead[g]++
			}
			it.relative = coarse(max(least, 0))
		}
	}
}

// groups are the shared queues, or the projects, of the item's changes.
func (st *stepper) groups(it *Item) []string {
	var out []string
	for _, c := range st.changes(it) {
		g := c.Project.Canonical()
		if p := st.s.Tenant.Projects[g]; p.Queue != "" {
			g = "queue " + p.Queue
		}
		if !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

func coarse(n int) int {
	switch {
	case n < 10:
		return n
	case n < 100:
		return n / 10 * 10
	}
	return n / 100 * 100
}

// reprioritize tells suppliers where outstanding requests have moved.
func (st *stepper) reprioritize() {
	if !st.moved {
		return
	}
	for _, q := range st.s.Queues {
		for _, it := range st.line(q) {
			bs := it.Buildset
			if it.unasking || bs.Phase != PhaseReady {
				continue
			}
			it.unasking = true
			for _, j := range bs.Graph.Jobs {
				js := bs.Jobs[j.ID]
				if js.NodeRequest == "" || js.NodesReady {
					continue
				}
				it.unasking = false
				if r := st.relativePriority(it); r != js.Relative {
					js.Relative = r
					st.emit(&Reprioritize{Request: js.NodeRequest, Relative: r})
					st.touch(it)
				}
			}
		}
	}
}
