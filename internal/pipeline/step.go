package pipeline

import (
	"reflect"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
)

// Step applies one input to the pipeline and its tenant's semaphores, and says what must be done now.
// It does no I/O and reads no clock: the same state, semaphores and input always give the same effects.
// touched lists the items that the step changed, made or removed, so that the caller writes only those.
// Effects are in the order in which they are to be carried out.
func Step(s *State, sem *Semaphores, m Meta, in Input) (effects []Effect, touched []ItemID) {
	st := newStepper(s, sem, m)
	st.apply(in)
	st.process()
	st.prune()
	return st.effects, st.touched
}

// stepper is what one step needs beside the state: the input's time and seed, what came of it so far,
// and things worked out once a step.
type stepper struct {
	s   *State
	sem *Semaphores
	now time.Time

	seed string
	ids  int

	effects []Effect
	touched []ItemID
	marked  map[ItemID]bool

	strategy Strategy
	// ranked: the relative priorities of items are worked out, and no item moved since.
	ranked bool
	// moved: items came, went or changed places. everything: the input may concern every item; learned are
	// the changes of which it brought news.
	moved, everything bool
	learned           []change.Key
	// dependents are the changes that need a change directly, nil until asked for.
	dependents map[change.Key][]change.Key
	// told is the buildset of the last build that the step started, and toldOf the changes that it was told of: other
	// builds of the buildset are told the same.
	told   *Buildset
	toldOf []*change.Change
	// released are semaphores that became free; allowed, the votes that success here brings.
	released []string
	allowed  []string
	// version counts changes, so that process knows when a pass made none.
	version int
}

func newStepper(s *State, sem *Semaphores, m Meta) *stepper {
	if s.Items == nil {
		s.Items = map[ItemID]*Item{}
	}
	if s.Changes == nil {
		s.Changes = map[change.Key]*change.Change{}
	}
	if sem.Holders == nil {
		sem.Holders = map[string][]Holder{}
	}
	return &stepper{
		s: s, sem: sem, now: m.Now.Round(0).UTC(), seed: m.Seed,
		marked: map[ItemID]bool{}, strategy: StrategyFor(&s.Settings),
	}
}

// apply takes the input in; what follows from it for the queues is the business of process.
func (st *stepper) apply(in Input) {
	switch in := in.(type) {
	case *Trigger:
		st.trigger(in)
	case *Enqueue:
		st.enqueueInput(in)
	case *Refresh:
		st.refresh(in)
	case *Dequeue:
		st.dequeueInput(in)
	case *Promote:
		st.promote(in)
	case *Pause:
		st.pause(in)
	case *Reconfigure:
		st.reconfigure(in)
	case *Wake:
	case *Merged:
		st.merged(in)
	case *Configured:
		st.configured(in)
	case *RepoStated:
		st.repoStated(in)
	case *NodesReady:
		st.nodesReady(in)
	case *BuildStarted:
		st.buildStarted(in)
	case *BuildPaused:
		st.buildPaused(in)
	case *BuildFailing:
		st.buildFailing(in)
	case *BuildEnded:
		st.buildEnded(in)
	case *Reported:
		st.reported(in)
	case *Provided:
		st.provided(in)
	case *Estimated:
		st.estimated(in)
	case *HazardsFound:
		st.hazardsFound(in)
	}
}

func (st *stepper) emit(e Effect) { st.effects = append(st.effects, e) }

// touch notes that the step changed the item.
func (st *stepper) touch(it *Item) {
	st.version++
	it.rests = false
	if !st.marked[it.ID] {
		st.marked[it.ID] = true
		st.touched = append(st.touched, it.ID)
	}
}

// learn takes in what the forges say of changes now. What was read before a change merged is old news.
func (st *stepper) learn(list []*change.Change) {
	for _, c := range list {
		if c == nil {
			continue
		}
		k := c.Key()
		old := st.s.Changes[k]
		if old != nil && old.Merged && !c.Merged {
			continue
		}
		st.s.Changes[k] = c
		if old == nil || !reflect.DeepEqual(old, c) {
			st.learned, st.dependents, st.s.cycles = append(st.learned, k), nil, nil
		}
	}
}

// prune forgets changes that no item is about or depends on, now and then: when more is known than
// items could make use of.
func (st *stepper) prune() {
	if len(st.s.Changes) <= 4*len(st.s.Items)+16 {
		return
	}
	used := map[change.Key]bool{}
	var use func(change.Key)
	use = func(k change.Key) {
		c := st.s.Changes[k]
		if c == nil || used[k] {
			return
		}
		used[k] = true
		for _, n := range c.Needs(true) {
			use(n)
		}
	}
	for _, it := range st.s.Items {
		for _, k := range it.Changes {
			use(k)
		}
		for _, op := range it.Buildset.Operations {
			use(op.Key)
		}
	}
	for k := range st.s.Changes {
		if !used[k] {
			delete(st.s.Changes, k)
			st.s.cycles = nil
		}
	}
}

// changes are the item's changes, as far as they are known.
func (st *stepper) changes(it *Item) []*change.Change { return changesOf(st.s, it) }

func changesOf(s *State, it *Item) []*change.Change {
	out := make([]*change.Change, 0, len(it.Changes))
	for _, k := range it.Changes {
		if c := s.Changes[k]; c != nil {
			out = append(out, c)
		}
	}
	return out
}

// ahead is the item ahead of one; nil where there is none. It is kept beside its id, for long chains are followed.
func (st *stepper) ahead(it *Item) *Item {
	if it.Ahead == "" {
		return nil
	}
	if it.ahead == nil || it.ahead.ID != it.Ahead {
		it.ahead = st.s.Items[it.Ahead]
	}
	return it.ahead
}

func (st *stepper) item(id ItemID) *Item {
	if id == "" {
		return nil
	}
	return st.s.Items[id]
}

// eachItem calls f for all items, queue by queue, front first, until it returns false. f may remove the
// item that it is given.
func (st *stepper) eachItem(f func(q *Queue, it *Item) bool) {
	for _, q := range slices.Clone(st.s.Queues) {
		for _, it := range st.line(q) {
			if !it.left() && !f(q, it) {
				return
			}
		}
	}
}
