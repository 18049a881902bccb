package pipeline

import (
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

// Reasons why items behind do not build on an item.
const (
	failingNeed     = "a needed change is failing"
	failingConflict = "it has a merge conflict"
	failingConfig   = "it has an invalid configuration"
	failingJob      = "at least one job failed"
	failingContext  = "is a non-live item with no items behind"
)

// process looks at every item, queue by queue and front first, until a pass changes nothing: semantics
// 2.5. A pass takes each item on top of the nearest non-failing item ahead (nnfi).
func (st *stepper) process() {
	st.rouse(st.learned)
	limit := 10*len(st.s.Items) + 100
	for range limit {
		before := st.version
		for _, q := range slices.Clone(st.s.Queues) {
			st.processQueue(q)
		}
		if st.version == before {
			st.reprioritize()
			st.tellReleased()
			return
		}
	}
	panic(fmt.Sprintf("pipeline %s does not settle after %d passes", st.s.Settings.Name, limit))
}

func (st *stepper) processQueue(q *Queue) {
	var nnfi *Item
	position := 0
	for _, it := range st.line(q) {
		if it.left() {
			continue
		}
		if st.rests(q, it, position, nnfi) {
			position++
			if len(it.Failing) == 0 {
				nnfi = it
			}
			continue
		}
		it.rests = true // unless it is touched
		nnfi = st.processItem(q, it, position, nnfi)
		if !it.left() {
			position++
			it.rests = it.rests && st.mayRest(it)
		}
	}
}

// processItem takes one item as far as it can go now, and tells what is the nearest non-failing item for
// those behind.
func (st *stepper) processItem(q *Queue, it *Item, position int, nnfi *Item) *Item {
	if it.Merging != "" {
		return it
	}
	if st.leaves(q, it) {
		return nnfi
	}
	if active := st.strategy.Active(q, position); it.Active != active {
		it.Active = active
		st.touch(it)
	}
	if !it.Active {
		st.standBack(it)
	}
	failing, ready := st.advance(it, nnfi)
	if ready {
		st.run(it)
	}
	looking := it.Live && complete(it.Buildset) && st.looking(it)
	if len(st.sem.Locks) > 0 && complete(it.Buildset) && !looking {
		st.unlock(it.Buildset.ID)
	}
	if anyJobFailed(it.Buildset) {
		failing = append(failing, failingJob)
	}
	if !it.Live && len(it.Behind) == 0 {
		st.dequeue(it)
		return nnfi
	}
	if st.liveAhead(it) == nil && it.Live && complete(it.Buildset) && !looking {
		return st.conclude(q, it, nnfi)
	}
	st.setFailing(it, failing)
	if len(failing) == 0 && it.Live {
		return it
	}
	return nnfi
}

func (st *stepper) setFailing(it *Item, failing []string) {
	if !slices.Equal(it.Failing, failing) {
		it.Failing = failing
		st.touch(it)
		st.rouseDependents(it)
	}
}

// liveAhead is the item that this one waits for; context does not count.
func (st *stepper) liveAhead(it *Item) *Item {
	if a := st.ahead(it); a != nil && a.Live {
		return a
	}
	return nil
}

// leaves takes the item out if it may not stay: its dependency graph became too large, its cycle is
// another one now, the forge would not merge it any more, or what it needs is not ahead of it.
func (st *stepper) leaves(q *Queue, it *Item) bool {
	own := st.changes(it)
	if st.s.Tenant.MaxDependencies > 0 {
		var g graph
		for _, c := range own {
			st.explore(&g, c)
		}
		if st.tooLarge(&g) {
			st.remove(it)
			return true
		}
	}
	if st.cycleChanged(it) {
		st.remove(it)
		st.requeue(it, it.Changes)
		return true
	}
	var warn []string
	needed, _ := st.missing(own, q, it, &warn)
	mergeable := !slices.ContainsFunc(own, func(c *change.Change) bool { return !c.Merged && !st.canMerge(c) })
	if mergeable && len(needed) == 0 {
		return false
	}
	st.reset(it)
	if !mergeable {
		it.MissingRequirements = true
	} else {
		it.Blocked = neededText(needed)
	}
	st.fail(q, it)
	return true
}

// fail reports a live item that was taken out of consideration, which narrows the window like every item that did
// not succeed, and dequeues it.
func (st *stepper) fail(q *Queue, it *Item) {
	if it.Live {
		st.report(it)
		st.narrow(q)
	}
	st.dequeue(it)
}

// requeue asks for changes of an item that left to be enqueued anew. They met the requirements before, so
// they need not meet them again.
func (st *stepper) requeue(it *Item, keys []change.Key) {
	if it.Live && len(keys) > 0 {
		st.emit(&Requeue{Keys: keys, Event: it.Event, Force: true})
	}
}

// advance prepares the item on top of nnfi and asks for nodes. ready: its jobs may run.
func (st *stepper) advance(it *Item, nnfi *Item) (failing []string, ready bool) {
	if st.failingNeeds(it) {
		st.cancelAll(it)
		return []string{failingNeed}, false
	}
	if ahead := st.liveAhead(it); ahead != nnfi && !(ahead != nil && st.allMerged(ahead)) {
		st.move(it, nnfi)
		st.reset(it)
	}
	if !it.Active {
		return nil, false
	}
	ready = st.prepare(it) && !preparing(st.liveAhead(it))
	bs := it.Buildset
	if ready && len(bs.Graph.Jobs) > 0 && !it.ReportedStart && !it.Quiet {
		st.reportStart(it)
	}
	if bs.Conflict != "" {
		failing = append(failing, failingConflict)
	}
	if len(bs.Problems) > 0 {
		failing = append(failing, failingConfig)
	}
	if ready {
		st.provision(it)
	}
	return failing, ready
}

// preparing tells whether the item is still being prepared. What is behind it starts nothing before: the one ahead
// is served first with semaphores and nodes.
func preparing(it *Item) bool {
	return it != nil && it.Buildset.Phase != PhaseReady && it.Buildset.Phase != PhaseProblem
}

func (st *stepper) allMerged(it *Item) bool {
	return !slices.ContainsFunc(st.changes(it), func(c *change.Change) bool { return !c.Merged })
}

// conclude reports an item that has come to its end, and dequeues it, unless a cycle must be looked at
// once more, or merges are awaited.
func (st *stepper) conclude(q *Queue, it *Item, nnfi *Item) *Item {
	if st.s.Settings.Manager == Dependent && len(it.Changes) > 1 && succeeded(it.Buildset) {
		if it.Refetched != it.Buildset.ID {
			st.refetch(it)
			st.setFailing(it, nil)
			return it
		}
		if slices.ContainsFunc(st.changes(it), func(c *change.Change) bool { return !st.canMerge(c) }) {
			it.MissingRequirements = true
			st.resetBehind(it)
			st.fail(q, it)
			return nnfi
		}
	}
	if st.report(it) {
		return it
	}
	st.finish(q, it, nil)
	return nnfi
}

// refetch asks the forges about all members of a cycle, so that a merge of only some of them is less
// likely.
func (st *stepper) refetch(it *Item) {
	if it.Refetching != "" {
		return
	}
	it.Refetching = st.id()
	st.emit(&Refetch{Keys: it.Changes, Token: it.Refetching})
	st.touch(it)
}

func (st *stepper) refresh(in *Refresh) {
	st.learn(in.Changes)
	if in.Token == "" {
		return
	}
	st.eachItem(func(_ *Queue, it *Item) bool {
		if it.Refetching != in.Token {
			return true
		}
		it.Refetching, it.Refetched = "", it.Buildset.ID
		st.touch(it)
		return false
	})
}

// anyJobFailed tells whether a voting job failed or is known to fail.
func anyJobFailed(bs *Buildset) bool {
	if bs.Graph == nil {
		return false
	}
	for _, j := range bs.Graph.Jobs {
		if b := bs.Jobs[j.ID].Build; j.Voting && b != nil && b.failed() {
			return true
		}
	}
	return false
}

func (b *Build) failed() bool {
	return b.PreFail || (b.Result != "" && b.Result != Success && b.Result != Skipped)
}

// complete tells whether nothing more will happen to the buildset: every job has a result, or no job can
// run.
func complete(bs *Buildset) bool {
	if bs.Phase == PhaseProblem {
		return true
	}
	if bs.Phase != PhaseReady {
		return false
	}
	for _, j := range bs.Graph.Jobs {
		if b := bs.Jobs[j.ID].Build; b == nil || b.Result == "" {
			return false
		}
	}
	return true
}

// succeeded tells whether every voting job has SUCCESS or was skipped, and not all were skipped.
func succeeded(bs *Buildset) bool {
	if bs.Phase != PhaseReady {
		return false
	}
	ran := false
	for _, j := range bs.Graph.Jobs {
		b := bs.Jobs[j.ID].Build
		if b != nil && b.Result != Skipped {
			ran = true
		}
		if j.Voting && (b == nil || (b.Result != Success && b.Result != Skipped)) {
			return false
		}
	}
	return ran
}
