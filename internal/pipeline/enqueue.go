package pipeline

import (
	"slices"
	"strconv"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// addition is one change on its way into the pipeline, with what goes for all changes that come in
// with it.
type addition struct {
	c     *change.Change
	event event.Ref
	// force: requirements are ignored. live, quiet: as in Item. enqueued: an earlier time.
	force, live, quiet bool
	enqueued           time.Time
	// queue is where the change in front of which this one goes will be; nil at first.
	queue *Queue
	// history are the changes that wait for this one to be enqueued.
	history []change.Key
	// derived: another change's enqueueing brought it; it is not reported on if it cannot be enqueued.
	derived bool
	// again: a reordering enqueues it once more, so its being there already does not count.
	again bool
	graph *graph
	// warnings are collected for the report on the first change.
	warnings *[]string
}

// add brings a change into the pipeline, with what it needs and what waits for it: semantics 2.3. It
// tells whether the change is in the pipeline now.
func (st *stepper) add(a addition) bool {
	if a.live && !a.again && st.liveItem(a.c.Key()) != nil {
		return true
	}
	if !st.s.Settings.AllowOtherConnections &&
		!slices.Contains(st.s.Settings.Connections, a.c.Project.Connection) {
		return false
	}
	if a.graph == nil {
		a.graph = &graph{}
	}
	if a.warnings == nil {
		a.warnings = &[]string{}
	}
	st.explore(a.graph, a.c)
	if st.tooLarge(a.graph) {
		return false
	}
	q := a.queue
	if q == nil || st.s.Settings.Manager == Dependent {
		q = st.queueFor(a.c)
	}
	defer st.dropEmpty(q)
	return st.addTo(q, a)
}

func (st *stepper) addTo(q *Queue, a addition) bool {
	members := st.cycle(a.graph, a.c)
	if !a.force && !st.meetsRequirements(members) {
		return false
	}
	if slices.ContainsFunc(members, func(c *change.Change) bool { return !st.canMerge(c) }) {
		return false
	}
	if len(members) > 1 {
		for _, c := range members {
			if !st.allowsCycle(c) {
				st.warnOff(q, a, "Dependency cycle detected and project "+c.Project.Name+
					" doesn't allow circular dependencies")
				return false
			}
		}
	}
	if why := st.tooMany(len(members) + len(a.history)); why != "" {
		st.warnOff(q, a, why)
		return false
	}
	if !st.addAhead(q, a, members) {
		if len(*a.warnings) > 0 {
			st.warnOff(q, a, "")
		}
		return false
	}
	if !a.again && st.aheadInQueue(a.c.Key(), q, nil) {
		return true
	}
	st.place(q, a, members)
	return true
}

// place puts the item at the tail of its queue and lets others know.
func (st *stepper) place(q *Queue, a addition, members []*change.Change) {
	keys := make([]change.Key, len(members))
	for i, c := range members {
		keys[i] = c.Key()
	}
	it := st.append(q, keys, a.live, a.event)
	it.Quiet = a.quiet
	if !a.enqueued.IsZero() {
		it.Enqueued = a.enqueued
	}
	if it.Live {
		st.reportOn(it, ReportEnqueue)
	}
	for _, c := range members {
		st.addBehind(q, a, c, keys)
	}
	st.announce(it, members)
	st.coalesce(it)
	if st.s.Settings.Manager == Supercedent {
		st.keepFirstAndLast(q)
	}
}

// meetsRequirements asks every requirement of the pipeline about every change.
func (st *stepper) meetsRequirements(members []*change.Change) bool {
	for i := range st.s.Settings.Requirements {
		for _, c := range members {
			if ok, _ := st.s.Settings.Requirements[i].Match(c, st.now); !ok {
				return false
			}
		}
	}
	return true
}

// tooMany says why n more changes would be too many for the tenant; empty where they would not.
func (st *stepper) tooMany(n int) string {
	limit := st.s.Tenant.MaxChanges
	if limit == 0 {
		return ""
	}
	if n > limit {
		return "Unable to enqueue change: " + strconv.Itoa(n) +
			" changes to enqueue greater than pipeline max of " + strconv.Itoa(limit)
	}
	total := n
	for _, it := range st.s.Items {
		total += len(it.Changes)
	}
	if total > limit {
		return "Unable to enqueue change: " + strconv.Itoa(n) +
			" additional changes would exceed pipeline max of " + strconv.Itoa(limit) +
			" under current conditions"
	}
	return ""
}

// addAhead enqueues what the members need: live in a dependent pipeline, as context elsewhere.
func (st *stepper) addAhead(q *Queue, a addition, members []*change.Change) bool {
	needed, abort := st.missing(members, q, nil, a.warnings)
	if abort {
		return false
	}
	history := slices.Clone(a.history)
	for _, c := range members {
		history = append(history, c.Key())
	}
	for _, n := range needed {
		if slices.Contains(history, n.Key()) && !gitNeeded(members, n.Key()) {
			continue
		}
		b := a
		b.c, b.queue, b.history, b.again, b.derived = n, q, history, false, true
		if st.s.Settings.Manager == Independent {
			b.live, b.quiet = false, true
		}
		if !st.add(b) {
			return false
		}
	}
	return true
}

func gitNeeded(members []*change.Change, k change.Key) bool {
	return slices.ContainsFunc(members, func(c *change.Change) bool { return slices.Contains(c.GitNeeds, k) })
}

// addBehind enqueues what waits for c to be tested, in a dependent pipeline: what needs it, belongs into
// the same queue and could merge.
func (st *stepper) addBehind(q *Queue, a addition, c *change.Change, members []change.Key) {
	if st.s.Settings.Manager != Dependent || a.again {
		return
	}
	var next []*change.Change
	for _, k := range c.NeededBy() {
		n := st.s.Changes[k]
		if n == nil || n.Merged || slices.Contains(members, k) || !st.sharesQueue(n, q) || !st.canMerge(n) {
			continue
		}
		next = append(next, n)
	}
	for _, n := range next {
		b := a
		b.c, b.queue, b.warnings, b.enqueued, b.derived = n, q, nil, time.Time{}, true
		st.add(b)
	}
}

// announce tells other pipelines that the item's changes were enqueued here.
func (st *stepper) announce(it *Item, members []*change.Change) {
	if st.s.Tenant.WantParentEnqueued {
		for _, c := range members {
			st.announceChildren(c, it.Event)
		}
	}
	if !it.Live || len(st.s.Settings.Supercedes) == 0 {
		return
	}
	for _, c := range members {
		st.emit(&Supersede{Pipelines: st.s.Settings.Supercedes, Key: c.Key()})
	}
}

func (st *stepper) announceChildren(c *change.Change, cause event.Ref) {
	for _, k := range c.NeededBy() {
		n := st.s.Changes[k]
		if n == nil || n.Merged {
			continue
		}
		st.emit(&Emit{Event: event.Event{
			ID: cause.ID, Connection: "zuul", Driver: "zuul", Type: "parent-change-enqueued",
			Project: n.Project, Branch: n.Branch, Ref: n.Ref, Number: n.Number, Patchset: n.Patchset,
			Tenant: st.s.Tenant.Name, Pipeline: st.s.Settings.Name, At: st.now, Received: st.now, Change: n,
		}})
	}
}

// keepFirstAndLast removes what newer items of a supercedent queue have made pointless.
func (st *stepper) keepFirstAndLast(q *Queue) {
	for len(q.Items) > 2 {
		st.remove(st.s.Items[q.Items[1]])
	}
}

// warnOff reports on a change that cannot be enqueued, with all warnings so far and this one. A change
// that was only enqueued for another's sake is not reported on: its warnings go with the other's.
func (st *stepper) warnOff(q *Queue, a addition, warning string) {
	if warning != "" {
		*a.warnings = append(*a.warnings, warning)
	}
	if a.derived {
		return
	}
	it := st.append(q, []change.Key{a.c.Key()}, a.live, a.event)
	it.Buildset.Warnings = *a.warnings
	it.Buildset.Result = Failure
	if st.s.Tenant.Projects[a.c.Project.Canonical()].InPipeline {
		st.send(it, ReportFailure, st.s.Settings.Reporters[ReportFailure])
	}
	st.recordEnd(it, true)
	st.forget(it)
}
