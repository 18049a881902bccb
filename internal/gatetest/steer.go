package gatetest

import (
	"cmp"
	"slices"

	"github.com/gozer-ci/gozer/internal/store"
)

// Hold keeps builds from going on at a stage, from now on; Unhold does not any more. Builds that wait to be
// released go on waiting, those that were accepted go on.
func (x *Builds) Hold(s Stage) { x.setHold(s, true) }

func (x *Builds) Unhold(s Stage) { x.setHold(s, false) }

func (x *Builds) setHold(s Stage, hold bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hold[s] = hold
	for _, b := range x.all {
		if s == Accepted && !hold && b.stage == Accepted {
			b.waits = false
		}
	}
	x.wake()
}

// Release lets builds go on that wait at a stage; requests start in the order in which they are given.
func (x *Builds) Release(builds ...*Build) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var places []int
	for _, b := range builds {
		if b.stage == Accepted {
			continue // Unhold lets it go on
		}
		b.waits = false
		if b.stage == Requested {
			places = append(places, slices.Index(x.all, b))
		}
	}
	slices.Sort(places)
	for _, b := range builds {
		if b.stage == Requested {
			x.all[places[0]], places = b, places[1:]
		}
	}
	x.wake()
}

// Mark says how a running build will end when it is released: failed, aborted, unreachable or no-result.
func (x *Builds) Mark(b *Build, how string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b.mark = how
}

// Lose takes the executor of a build away.
func (x *Builds) Lose(b *Build) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b.mark, b.waits, b.resume = "lost", false, true
	x.wake()
}

// Fail has builds of a job fail for which holds is true; with lost they end without a result instead,
// times times (0: always).
func (x *Builds) Fail(job string, lost bool, times int, holds func(*Build) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rules = append(x.rules, &rule{job: job, lost: lost, left: times, forever: times == 0, holds: holds})
}

// ClearFailures forgets what Fail said.
func (x *Builds) ClearFailures() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rules = nil
}

// Return gives builds of a job whose own change or ref is ref something to return.
func (x *Builds) Return(job, ref string, data map[string]any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.data[[2]string{job, ref}] = data
}

// Queue lists the builds that are requested and not started, soonest first; Running those that run, are
// held (also before they have a workspace) or paused, in the order in which they started; Ended those that ended, in that order.
func (x *Builds) Queue() []*Build {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []*Build
	for _, b := range x.all {
		if b.Start != nil && b.stage == Requested {
			out = append(out, b)
		}
	}
	slices.SortStableFunc(out, func(a, b *Build) int { return cmp.Compare(a.Priority, b.Priority) })
	return out
}

// Running: see Queue.
func (x *Builds) Running() []*Build {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []*Build
	for _, b := range x.all {
		if b.stage != Requested {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *Build) int { return cmp.Compare(a.begun, b.begun) })
	return out
}

// Ended: see Queue.
func (x *Builds) Ended() []*Build {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.ended)
}

// parked lists the requests that wait for the script; with free, also those of builds that may end. A word to
// go on that was heard is listed, too: it stays in the store as long as its build does.
func (x *Builds) parked(into map[string]bool, free bool) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range x.all {
		if b.Start == nil {
			continue // it is not known yet what was asked for
		}
		if b.resume {
			into[signalKey(store.KindBuild, b.task.Request.ID, store.SignalResume)] = true
		}
		waits := b.waits || (b.Paused && !b.resume)
		if (waits && !b.cancel) || (free && b.free()) {
			into[requestKey(store.KindBuild, b.task.Request.ID)] = true
		}
	}
	return x.moves
}
