package pipeline

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// LockState is who holds a lock, who waits for it, and how it was used lately. It is shared by the pipelines of a
// tenant, like semaphores, and written in the same transactions.
type LockState struct {
	Holder  *Holder  `json:"holder,omitempty"`
	Waiting []Waiter `json:"waiting,omitempty"`
	// Past are the last times that it was held, oldest first.
	Past []Held `json:"past,omitempty"`
}

// Waiter is a buildset that wants the lock.
type Waiter struct {
	Pipeline   string     `json:"pipeline"`
	Item       ItemID     `json:"item"`
	Buildset   BuildsetID `json:"buildset"`
	Since      time.Time  `json:"since"`
	Precedence string     `json:"precedence,omitempty"`
	Ageing     int        `json:"ageing,omitempty"`
}

// Held is one time that a lock was held.
type Held struct {
	Pipeline string    `json:"pipeline"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}

// maxPast bounds the memory of a lock.
const maxPast = 30

// rank orders waiters: the smaller goes first. Waiting for the length of ageing is worth one step of precedence.
func (w *Waiter) rank(now time.Time) float64 {
	r := map[string]float64{"high": 0, "low": 2}[w.Precedence]
	if w.Precedence == "" || w.Precedence == "normal" {
		r = 1
	}
	if w.Ageing > 0 {
		r -= now.Sub(w.Since).Seconds() / float64(w.Ageing)
	}
	return r
}

// Order lists the waiters as they would go if the lock became free now, the next one first.
func (l *LockState) Order(now time.Time) []Waiter {
	out := slices.Clone(l.Waiting)
	slices.SortStableFunc(out, func(a, b Waiter) int {
		return cmp.Or(cmp.Compare(a.rank(now), b.rank(now)), a.Since.Compare(b.Since), cmp.Compare(a.Item, b.Item))
	})
	return out
}

// Use is which part of the time since it was first held, as far as is remembered, the lock was held.
func (l *LockState) Use(now time.Time) float64 {
	var held, all time.Duration
	for _, h := range l.Past {
		held += h.To.Sub(h.From)
	}
	first := now
	if len(l.Past) > 0 {
		first = l.Past[0].From
	}
	if l.Holder != nil {
		held += now.Sub(l.Holder.Since)
		if l.Holder.Since.Before(first) {
			first = l.Holder.Since
		}
	}
	if all = now.Sub(first); all <= 0 {
		return 0
	}
	return min(1, held.Seconds()/all.Seconds())
}

// locked tells whether jobs of the item may begin, as far as the pipeline's lock goes. A buildset that could begin
// nothing, because all it has left waits for what others make, keeps nobody waiting.
func (st *stepper) locked(it *Item) bool {
	bs := it.Buildset
	if st.s.Settings.Lock == nil || complete(bs) {
		return true
	}
	var ready []*JobState
	atWork := false
	for _, j := range bs.Graph.Jobs {
		js := bs.Jobs[j.ID]
		switch {
		case js.Build != nil:
			atWork = atWork || js.Build.Result == ""
		case !st.requirementsMet(it, j, js):
		case js.NodesReady, js.NodeRequest != "":
			atWork = true
		case st.parentsDone(it, j, js):
			ready = append(ready, js)
		}
	}
	if !atWork && len(ready) == 0 {
		st.unlock(bs.ID)
		return false
	}
	if st.locks(it) {
		return true
	}
	for _, js := range ready {
		st.wait(it, js, waitingLock+st.s.Settings.Lock.Name)
	}
	// A job that got ready before there was a lock must not keep what the lock's holder may wait for.
	st.letGo(it)
	return false
}

// locks tells whether the item's buildset holds the lock of the pipeline; otherwise it stands in line now.
func (st *stepper) locks(it *Item) bool {
	set := st.s.Settings.Lock
	l := st.sem.Locks[set.Name]
	if l == nil {
		l = &LockState{}
		if st.sem.Locks == nil {
			st.sem.Locks = map[string]*LockState{}
		}
		st.sem.Locks[set.Name] = l
	}
	id := it.Buildset.ID
	if l.Holder != nil && l.Holder.Buildset == id {
		return true
	}
	if ahead := st.liveAhead(it); ahead != nil && !complete(ahead.Buildset) {
		return false // it may wait for what the one ahead makes
	}
	if !slices.ContainsFunc(l.Waiting, func(w Waiter) bool { return w.Buildset == id }) {
		l.Waiting = append(l.Waiting, Waiter{Pipeline: st.s.Settings.Name, Item: it.ID, Buildset: id, Since: st.now,
			Precedence: set.Precedence, Ageing: set.Ageing})
		st.touch(it)
	}
	if l.Holder == nil {
		st.handOver(l)
	}
	return l.Holder.Buildset == id
}

// handOver gives a free lock to the next in line at once, so that it is settled who has it whichever pipeline
// looks first. Other pipelines are woken.
func (st *stepper) handOver(l *LockState) {
	order := l.Order(st.now)
	if len(order) == 0 {
		return
	}
	w := order[0]
	l.Waiting = slices.DeleteFunc(l.Waiting, func(x Waiter) bool { return x.Buildset == w.Buildset })
	l.Holder = &Holder{Tenant: st.s.Tenant.Name, Pipeline: w.Pipeline, Item: w.Item, Buildset: w.Buildset, Since: st.now}
	if it := st.s.Items[w.Item]; it != nil {
		st.touch(it)
	}
	st.version++
}

// unlock takes the buildset out of every line, and lets go of what it holds. A lock is kept while canceled builds
// of the buildset have not ended: they still work on what it guards.
func (st *stepper) unlock(id BuildsetID) {
	for _, name := range slices.Sorted(maps.Keys(st.sem.Locks)) {
		l := st.sem.Locks[name]
		n := len(l.Waiting)
		l.Waiting = slices.DeleteFunc(l.Waiting, func(w Waiter) bool { return w.Buildset == id })
		if len(l.Waiting) != n {
			st.version++
		}
		if l.Holder != nil && l.Holder.Buildset == id && !st.stopping(id) {
			l.Past = append(l.Past, Held{Pipeline: l.Holder.Pipeline, From: l.Holder.Since, To: st.now})
			l.Past = l.Past[max(0, len(l.Past)-maxPast):]
			l.Holder = nil
			st.everything = true
			st.version++
			st.handOver(l)
			if !slices.Contains(st.released, name) {
				st.released = append(st.released, name)
			}
		}
	}
}

func (st *stepper) stopping(id BuildsetID) bool {
	for _, s := range st.s.Stopping {
		if s.Buildset == id {
			return true
		}
	}
	return false
}

// stopped lets go of the lock that only a canceled build kept, which has ended now.
func (st *stepper) stopped(id BuildsetID) {
	for _, it := range st.s.Items {
		if it.Buildset.ID == id && !complete(it.Buildset) {
			return
		}
	}
	st.unlock(id)
}

// stepAside has the pipeline's buildsets that began nothing yet leave the lines, since nothing here may start.
func (st *stepper) stepAside() {
	st.eachItem(func(_ *Queue, it *Item) bool {
		if !began(it.Buildset) {
			st.unlock(it.Buildset.ID)
			st.letGo(it)
		}
		return true
	})
}

// letGo gives back the semaphores of jobs that did not begin: whoever has the lock now may need them.
func (st *stepper) letGo(it *Item) {
	if it.Buildset.Graph == nil {
		return
	}
	for _, j := range it.Buildset.Graph.Jobs {
		if js := it.Buildset.Jobs[j.ID]; js != nil && js.Build == nil {
			st.releaseSemaphores(it, j)
		}
	}
}

func began(bs *Buildset) bool {
	for _, js := range bs.Jobs {
		if js.Tries > 0 {
			return true
		}
	}
	return false
}

// coalesce lets a newer run by the timer do for those of the same branch that still wait for the lock: they would
// deploy the same, one after the other, before everybody else.
func (st *stepper) coalesce(it *Item) {
	if st.s.Settings.Lock == nil || !it.Event.Timer || !it.Live {
		return
	}
	own := st.changes(it)
	st.eachItem(func(_ *Queue, x *Item) bool {
		if x != it && x.Live && x.Event.Timer && !began(x.Buildset) && !it.Enqueued.Before(x.Enqueued) {
			if cs := st.changes(x); len(cs) == 1 && len(own) == 1 && cs[0].Project == own[0].Project && cs[0].Branch == own[0].Branch {
				st.remove(x)
			}
		}
		return true
	})
}
