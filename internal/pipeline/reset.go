package pipeline

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/job"
)

// reset starts the item and everything behind it over: builds are canceled, and a new buildset begins.
func (st *stepper) reset(it *Item) {
	if it.Merging != "" {
		return
	}
	old := it.Buildset
	if old.Phase != PhaseNew {
		st.stop(it)
		if old.Started && old.Result == "" {
			old.Result = Dequeued
			st.recordEnd(it, false)
		}
		st.dropView(old)
		it.Buildset = &Buildset{ID: BuildsetID(st.id()), Files: old.Files}
		it.Layout, it.Blocked, it.MissingRequirements, it.Refetching = "", "", false, ""
		if len(it.Failing) > 0 {
			it.Failing = nil
			st.rouseDependents(it)
		}
		st.touch(it)
	}
	st.resetBehind(it)
}

func (st *stepper) resetBehind(it *Item) {
	for _, id := range slices.Clone(it.Behind) {
		st.reset(st.s.Items[id])
	}
}

// remove takes an item out that has no result, wherever it stands; what is behind starts over. An item
// whose merge is under way stays: it leaves with the outcome.
func (st *stepper) remove(it *Item) {
	if it.Merging != "" {
		return
	}
	st.reset(it)
	st.dequeue(it)
}

// dequeue ends the item's stay. One without a result is reported as dequeued.
func (st *stepper) dequeue(it *Item) {
	if it.Live && it.Buildset.Result == "" {
		st.stop(it)
		it.Buildset.Result = Dequeued
		if it.ReportedStart && !it.Quiet {
			st.reportOn(it, ReportDequeue)
		}
		st.recordEnd(it, false)
	}
	st.forget(it)
}

// forget removes the item from its queue, and the queue if it was made for it.
func (st *stepper) forget(it *Item) {
	q := st.queueOf(it)
	st.unlink(it)
	st.dropView(it.Buildset)
	it.Dequeued = st.now
	st.rouseDependents(it)
	delete(st.s.Items, it.ID)
	st.ranked, st.moved = false, true
	if q != nil {
		q.Items, q.line = without(q.Items, it.ID), nil
		st.dropEmpty(q)
	}
}

// cancelAll ends the builds of the item and of those behind for good, without a new buildset: the item
// is about to leave.
func (st *stepper) cancelAll(it *Item) {
	st.cancelJobs(it)
	for _, id := range it.Behind {
		st.cancelAll(st.s.Items[id])
	}
}

// cancelJobs gives every job of the item that has no result yet the result CANCELED.
func (st *stepper) cancelJobs(it *Item) {
	if it.Buildset.Graph == nil || it.Merging != "" {
		return
	}
	for _, j := range it.Buildset.Graph.Jobs {
		st.cancelJob(it, j)
	}
}

func (st *stepper) cancelJob(it *Item, j *job.Job) {
	js := it.Buildset.Jobs[j.ID]
	if js.Build != nil && js.Build.Result != "" {
		return
	}
	st.stopJob(it, j)
	if js.Build == nil {
		js.Build = st.noBuild(j, js, Canceled, "")
	}
	js.Waiting = ""
	st.touch(it)
}

// stop ends the outstanding work of the item's buildset: merges and layouts that are under way are
// ignored when they come.
func (st *stepper) stop(it *Item) {
	defer st.unlock(it.Buildset.ID)
	if it.Buildset.Graph == nil {
		return
	}
	for _, j := range it.Buildset.Graph.Jobs {
		st.stopJob(it, j)
	}
}

// stopJob cancels a running build, withdraws a node request, gives nodes and semaphores back.
func (st *stepper) stopJob(it *Item, j *job.Job) {
	js := it.Buildset.Jobs[j.ID]
	st.releaseSemaphores(it, j)
	b := js.Build
	if b == nil || b.Result != "" {
		st.returnNodes(it, js)
		return
	}
	b.Result, b.Canceled, b.Paused, b.Ended = Canceled, true, false, st.now
	delete(st.s.running, b.ID)
	st.emit(&Cancel{Build: b.ID})
	if st.s.Stopping == nil {
		st.s.Stopping = map[BuildID]Stopping{}
	}
	st.s.Stopping[b.ID] = Stopping{Buildset: it.Buildset.ID, Request: js.NodeRequest, Nodes: js.Nodes, Viewed: it.Buildset.Viewed}
	js.NodeRequest, js.Nodes = "", nil
	st.recordBuild(it, j, b, false)
	st.touch(it)
}

// returnNodes gives up what the job asked for or got.
func (st *stepper) returnNodes(it *Item, js *JobState) {
	if js.NodeRequest == "" {
		return
	}
	st.emit(&ReturnNodes{Request: js.NodeRequest, Nodes: js.Nodes})
	js.NodeRequest, js.Nodes, js.NodesReady = "", nil, false
	st.touch(it)
}

// standBack gives up what jobs that did not begin hold: the item fell out of the window, and those inside it may need
// that. What runs goes on, and what was asked for stays in line, behind the requests of those inside.
func (st *stepper) standBack(it *Item) {
	if it.Buildset.Graph == nil {
		return
	}
	for _, j := range it.Buildset.Graph.Jobs {
		if js := it.Buildset.Jobs[j.ID]; js.Build == nil {
			st.releaseSemaphores(it, j)
			if js.NodeRequest != "" && !js.NodesReady {
				continue
			}
			st.returnNodes(it, js)
			st.wait(it, js, "")
		}
	}
}
