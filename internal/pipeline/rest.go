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
	return it.rests && !st.everything && it.Active == st.strategy.Active(q, position) && st.liveAhead(it) == nnfi
}

// rouse has every item looked at that is about one of the changes, or needs one of them, directly or not: there is
// news of them, or of the item that has them.
func (st *stepper) rouse(keys []change.Key) {
	if len(keys) == 0 {
		return
	}
	concerned := map[change.Key]bool{}
	for todo := slices.Clone(keys); len(todo) > 0; todo = todo[1:] {
		if k := todo[0]; !concerned[k] {
			concerned[k] = true
			todo = append(todo, st.dependentsOf(k)...)
		}
	}
	st.rouseEach(concerned)
}

// rouseDependents has the items looked at that need a change of this one directly, of which there is news: it fails or
// not, or is gone. What that does to them is news for those that need them.
func (st *stepper) rouseDependents(it *Item) {
	concerned := map[change.Key]bool{}
	for _, k := range it.Changes {
		for _, d := range st.dependentsOf(k) {
			concerned[d] = true
		}
	}
	st.rouseEach(concerned)
}

func (st *stepper) rouseEach(concerned map[change.Key]bool) {
	if len(concerned) == 0 {
		return
	}
	st.eachItem(func(_ *Queue, it *Item) bool {
		it.rests = it.rests && !slices.ContainsFunc(it.Changes, func(k change.Key) bool { return concerned[k] })
		return true
	})
}

// dependentsOf are the known changes that need a change directly.
func (st *stepper) dependentsOf(k change.Key) []change.Key {
	if st.dependents == nil {
		st.dependents = map[change.Key][]change.Key{}
		for n, c := range st.s.Changes {
			for _, needs := range [][]change.Key{c.GitNeeds, c.CompatNeeds, c.FooterNeeds, c.TopicNeeds} {
				for _, k := range needs {
					st.dependents[k] = append(st.dependents[k], n)
				}
			}
		}
	}
	return st.dependents[k]
}

// mayRest tells whether only news about the item itself, its change and those that it needs, or its place could give
// it something to do now. What waits for a semaphore may be concerned by other pipelines; what requires artifacts, by
// whoever makes them, who may come, go or fail.
func (st *stepper) mayRest(it *Item) bool {
	if !it.Live || len(it.Changes) != 1 || it.held || st.s.Changes[it.Changes[0]] == nil {
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
		for _, j := range bs.Graph.Jobs {
			if js := bs.Jobs[j.ID]; js.Build == nil && (len(j.Requires) > 0 || strings.HasPrefix(js.Waiting, waitingSemaphores)) {
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
