package pipeline

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// trigger takes an event in: semantics 2.2, second stage.
func (st *stepper) trigger(in *Trigger) {
	st.learn(in.Changes)
	c := st.s.Changes[in.Key]
	if c == nil {
		return
	}
	e := &in.Event
	ref := event.Ref{ID: e.ID, At: e.At, Key: in.Key, Stable: c.Stable(), Images: e.Images}
	if e.PatchsetCreated() && st.s.Settings.DequeueOnNewPatchset {
		st.dropOld(c)
	}
	if e.Abandoned() {
		st.abandoned(c)
	}
	if in.Match {
		st.add(addition{c: c, event: ref, live: true, force: e.Forced})
	}
}

// dropOld removes the live item with an older patch set of the change; the other members of its cycle are
// enqueued anew.
func (st *stepper) dropOld(c *change.Change) {
	st.eachItem(func(_ *Queue, it *Item) bool {
		for _, old := range st.changes(it) {
			if !it.Live || old.Stable() != c.Stable() || old.Key() == c.Key() {
				continue
			}
			var rest []change.Key
			for _, k := range it.Changes {
				if k != old.Key() {
					rest = append(rest, k)
				}
			}
			st.remove(it)
			st.requeue(it, rest)
			return false
		}
		return true
	})
}

// abandoned removes live items with the change, and in the same queue those that need it.
func (st *stepper) abandoned(c *change.Change) {
	st.eachItem(func(_ *Queue, it *Item) bool {
		own := st.changes(it)
		if !it.Live || it.Merging != "" || !slices.ContainsFunc(own, func(x *change.Change) bool { return x.Stable() == c.Stable() }) {
			return true
		}
		if len(own) > 1 {
			it.Blocked = "Dependency cycle change " + c.URL + " abandoned.\n"
			st.dropCycle(it)
			return true
		}
		st.remove(it)
		return true
	})
}

// dropCycle reports a cycle that lost a member, and removes it.
func (st *stepper) dropCycle(it *Item) {
	why := it.Blocked
	st.reset(it)
	it.Blocked = why
	st.report(st.queueOf(it), it)
	st.dequeue(it)
}

func (st *stepper) enqueueInput(in *Enqueue) {
	st.learn(in.Changes)
	if c := st.s.Changes[in.Key]; c != nil {
		st.add(addition{c: c, event: in.Event, live: true, force: in.Force, enqueued: in.Enqueued})
	}
}

// dequeueInput removes the first item with the change, or with the ref whatever its revision.
func (st *stepper) dequeueInput(in *Dequeue) {
	st.eachItem(func(_ *Queue, it *Item) bool {
		if !it.Live || !slices.ContainsFunc(it.Changes, func(k change.Key) bool { return k == in.Key || st.sameRef(k, in.Key) }) {
			return true
		}
		st.remove(it)
		return false
	})
}

// sameRef tells whether a key is of the ref that the wanted one names without a revision.
func (st *stepper) sameRef(k, want change.Key) bool {
	c := st.s.Changes[k]
	if c == nil || c.IsChange() {
		return false
	}
	bare := *c
	bare.NewRev = ""
	return bare.Key() == want
}

// promote puts changes to the front of their queues, in the given order: semantics 2.14. What already
// stands in that order at the front is left alone.
func (st *stepper) promote(in *Promote) {
	st.learn(in.Changes)
	wanted := map[*Queue][]change.Key{}
	var order []*Queue
	for _, k := range in.Keys {
		it := st.liveItem(k)
		if it == nil {
			return
		}
		q := st.queueOf(it)
		if wanted[q] == nil {
			order = append(order, q)
		}
		wanted[q] = append(wanted[q], k)
	}
	for _, q := range slices.Backward(order) {
		st.promoteIn(q, wanted[q])
		if i := slices.Index(st.s.Queues, q); i > 0 {
			st.s.Queues = slices.Insert(slices.Delete(st.s.Queues, i, i+1), 0, q)
			st.version++
		}
	}
}

func (st *stepper) promoteIn(q *Queue, keys []change.Key) {
	var live []*Item
	for _, id := range q.Items {
		if it := st.s.Items[id]; it.Live {
			live = append(live, it)
		}
	}
	var sorted []*Item
	for _, k := range keys {
		it := st.liveItem(k)
		if !slices.Contains(sorted, it) {
			sorted = append(sorted, it)
		}
	}
	for _, it := range live {
		if !slices.Contains(sorted, it) {
			sorted = append(sorted, it)
		}
	}
	same := 0
	for same < len(live) && live[same] == sorted[same] {
		same++
	}
	for _, it := range slices.Backward(live[same:]) {
		st.remove(it)
	}
	for _, it := range sorted[same:] {
		if c := st.s.Changes[it.Changes[0]]; c != nil {
			st.add(addition{c: c, event: it.Event, live: true, force: true, quiet: true, enqueued: it.Enqueued})
		}
	}
}
