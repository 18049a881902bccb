package pipeline

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// trigger takes an event in: semantics 2.2.
func (st *stepper) trigger(in *Trigger) {
	st.learn(in.Changes)
	c := st.s.Changes[in.Key]
	if c == nil {
		return
	}
	switch {
	case in.Event.PatchsetCreated():
		st.removeOldPatchset(c)
	case in.Event.Abandoned():
		st.removeAbandoned(c)
	}
	if in.Match {
		st.add(addition{c: c, event: eventRef(&in.Event, c), live: true, force: in.Event.Forced})
	}
}

func eventRef(e *event.Event, c *change.Change) event.Ref {
	r := event.Ref{ID: e.ID, At: e.At, Key: c.Key(), Stable: c.Stable(), Images: e.Images, Timer: e.Driver == "timer"}
	if r.At.IsZero() {
		r.At = e.Received
	}
	return r
}

// removeOldPatchset removes the live item with an older patch set of the change; the other members of a
// cycle come in again.
func (st *stepper) removeOldPatchset(c *change.Change) {
	if !st.s.Settings.DequeueOnNewPatchset {
		return
	}
	st.eachItem(func(_ *Queue, it *Item) bool {
		if !it.Live {
			return true
		}
		i := slices.IndexFunc(st.changes(it), func(o *change.Change) bool {
			return o.Stable() == c.Stable() && o.Key() != c.Key() && newer(c, o)
		})
		if i < 0 || it.Merging != "" {
			return true
		}
		st.remove(it)
		st.requeue(it, slices.Delete(slices.Clone(it.Changes), i, i+1))
		return false
	})
}

// newer tells whether a patch set came after another one of the same change; news of the older may be late.
func newer(c, than *change.Change) bool {
	a, err := strconv.Atoi(c.Patchset)
	b, berr := strconv.Atoi(than.Patchset)
	if err != nil || berr != nil {
		return c.Current // where patch sets are named by their commits
	}
	return a > b
}

// removeAbandoned removes live items with the change, and live items of the same queue that need what
// was removed.
func (st *stepper) removeAbandoned(c *change.Change) {
	for _, q := range slices.Clone(st.s.Queues) {
		gone := map[change.Key]bool{}
		for _, it := range st.line(q) {
			if it.left() || !it.Live || it.Merging != "" {
				continue
			}
			switch {
			case slices.Contains(it.Changes, c.Key()):
				note(gone, it)
				st.reset(it)
				if len(it.Changes) > 1 {
					it.Blocked = "Dependency cycle change " + c.URL + " abandoned."
					st.fail(q, it)
					continue
				}
				st.dequeue(it)
			case st.needsAny(it, gone):
				note(gone, it)
				st.reset(it)
				it.Blocked = "Change " + c.URL + " is needed."
				st.fail(q, it)
			}
		}
	}
}

func note(gone map[change.Key]bool, it *Item) {
	for _, k := range it.Changes {
		gone[k] = true
	}
}

func (st *stepper) needsAny(it *Item, gone map[change.Key]bool) bool {
	return slices.ContainsFunc(st.changes(it), func(c *change.Change) bool {
		return slices.ContainsFunc(c.Needs(true), func(k change.Key) bool { return gone[k] })
	})
}

// enqueueInput adds a change without an event.
func (st *stepper) enqueueInput(in *Enqueue) {
	st.learn(in.Changes)
	if c := st.s.Changes[in.Key]; c != nil {
		ev := in.Event
		if ev.Key == "" {
			ev.Key, ev.Stable = c.Key(), c.Stable()
		}
		st.add(addition{c: c, event: ev, live: true, force: in.Force, enqueued: in.Enqueued})
	}
}

// dequeueInput removes the first live item with the change, or with the ref at whatever revision.
func (st *stepper) dequeueInput(in *Dequeue) {
	ref := refOf(in.Key)
	st.eachItem(func(_ *Queue, it *Item) bool {
		if !it.Live || !slices.ContainsFunc(it.Changes, func(k change.Key) bool { return k == in.Key || (ref != "" && refOf(k) == ref) }) {
			return true
		}
		st.remove(it)
		return false
	})
}

// refOf is the key of a branch, tag or other ref without its revision; empty for changes.
func refOf(k change.Key) string {
	space, at := strings.LastIndexByte(string(k), ' '), strings.LastIndexByte(string(k), '@')
	if at < space || !strings.HasPrefix(string(k[space+1:]), "refs/") {
		return ""
	}
	return string(k[:at])
}

// promote puts changes to the front of their queues: semantics 2.14. Items at the front that are there
// already in the wanted order are left alone; all others of the queue come in anew, quietly.
func (st *stepper) promote(in *Promote) {
	st.learn(in.Changes)
	byQueue := map[*Queue][]*Item{}
	var queues []*Queue
	for _, k := range in.Keys {
		it := st.liveItem(k)
		if it == nil {
			return
		}
		q := st.queueOf(it)
		if byQueue[q] == nil {
			queues = append(queues, q)
		}
		if !slices.Contains(byQueue[q], it) {
			byQueue[q] = append(byQueue[q], it)
		}
	}
	for _, q := range queues {
		st.reorder(q, byQueue[q])
	}
	if len(queues) > 0 {
		rest := slices.DeleteFunc(st.s.Queues, func(q *Queue) bool { return slices.Contains(queues, q) })
		st.s.Queues = append(slices.Clone(queues), rest...)
		st.ranked, st.moved = false, true
		st.version++
	}
}

func (st *stepper) reorder(q *Queue, first []*Item) {
	if st.s.Settings.Manager == Independent {
		return
	}
	// What is about to merge leaves by itself.
	var now []*Item
	for _, it := range st.line(q) {
		if it.Live && it.Merging == "" {
			now = append(now, it)
		}
	}
	order := slices.DeleteFunc(slices.Clone(first), func(it *Item) bool { return it.Merging != "" })
	for _, it := range now {
		if !slices.Contains(order, it) {
			order = append(order, it)
		}
	}
	start := 0
	for start < len(order) && now[start] == order[start] {
		start++
	}
	order = order[start:]
	for _, it := range order {
		it.Quiet = true
		st.remove(it)
	}
	if !slices.Contains(st.s.Queues, q) {
		st.addQueue(q)
	}
	for _, it := range order {
		if c := st.s.Changes[it.Changes[0]]; c != nil {
			st.add(addition{c: c, event: it.Event, live: true, force: true, quiet: true, enqueued: it.Enqueued})
		}
	}
}

// pause stops the pipeline from starting anything, or lets it go on, at its full width again.
func (st *stepper) pause(in *Pause) {
	st.s.Paused, st.everything = in.Reason, true
	if in.Reason == "" {
		st.forward()
		return
	}
	st.stepAside()
}
