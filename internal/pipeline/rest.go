package pipeline

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
)

// A queue may have hundreds of items, of which an input concerns one or two. So process leaves an item alone
// where its last look at it ended with nothing more to do, and nothing happened since that could alter that.
// What could is listed here; whoever makes an item depend on more must add to it. The item is looked at
// again, and found as it was, where that is not known, as after the state was read back; so resting can
// never change what a step does, and the properties hold it to that.

// rests tells whether a look at the item would change nothing.
func (st *stepper) rests(q *Queue, it *Item, position int, nnfi *Item) bool {
	return it.rests && !st.everything && it.Active == st.strategy.Active(q, position) && it.on(nnfi)
}

// on tells whether the item is directly behind x; nil: behind none.
func (it *Item) on(x *Item) bool { return x == nil && it.Ahead == "" || x != nil && it.Ahead == x.ID }

// rouse has every item looked at whose changes the input brought news of.
func (st *stepper) rouse() {
	if len(st.learned) == 0 {
		return
	}
	st.eachItem(func(_ *Queue, it *Item) bool {
		it.rests = it.rests && !slices.ContainsFunc(it.Changes, func(k change.Key) bool { return st.learned[k] })
		return true
	})
}

// mayRest tells whether only news about the item itself, its change or its place could give it something to
// do now. Items with dependencies may be concerned by any other item; what waits for a semaphore or for
// artifacts, by other pipelines and items ahead.
func (st *stepper) mayRest(it *Item) bool {
	if !it.Live || len(it.Changes) != 1 || it.held {
		return false
	}
	c := st.s.Changes[it.Changes[0]]
	if c == nil || len(c.GitNeeds)+len(c.CompatNeeds)+len(c.FooterNeeds)+len(c.TopicNeeds) > 0 {
		return false
	}
	bs := it.Buildset
	switch bs.Phase {
	case PhaseNew:
		return !it.Active
	case PhaseLayout:
		return bs.Asked
	case PhaseReady:
		if preparing(st.liveAhead(it)) {
			return false
		}
		for _, js := range bs.Jobs {
			if js.Build == nil && (strings.HasPrefix(js.Waiting, waitingSemaphores) || strings.HasPrefix(js.Waiting, waitingRequirements)) {
				return false
			}
		}
	}
	return true
}

// running is the item of a build that has no result yet.
func (st *stepper) running(id BuildID) *Item {
	if st.s.running == nil {
		st.s.running = map[BuildID]ItemID{}
		for _, it := range st.s.Items {
			for _, js := range it.Buildset.Jobs {
				if b := js.Build; b != nil && b.Result == "" {
					st.s.running[b.ID] = it.ID
				}
			}
		}
	}
	return st.item(st.s.running[id])
}
