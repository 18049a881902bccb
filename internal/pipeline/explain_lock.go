package pipeline

import (
	"fmt"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
)

// lock is why the item's buildset does not have the lock of the pipeline: who has it, until when as far as can be
// told, and which place in the line is its own.
func (e *explainer) lock(name string) string {
	out := "It waits for lock " + name
	l := e.sem.Locks[name]
	if l == nil || l.Holder == nil {
		if ahead := e.ahead(); ahead != nil {
			return out + ", for which " + e.called(ahead) + " ahead goes first."
		}
		return out + ", which is free: it is taken in a moment."
	}
	if h := l.Holder; e.s.Items[h.Item] != nil {
		out += ", which is held by " + e.called(e.s.Items[h.Item]) + clock(" since ", h.Since) + e.until(e.s.Items[h.Item])
	} else {
		out += ", which is held by a buildset of pipeline " + h.Pipeline + clock(" since ", h.Since)
	}
	line := l.Order(l.latest())
	switch i := slices.IndexFunc(line, func(w Waiter) bool { return w.Buildset == e.bs.ID }); {
	case i == 0:
		out += "; it is next"
	case i > 0:
		out += fmt.Sprintf("; %d of %d in line go before it", i, len(line))
	}
	return out + "."
}

// latest is the last moment that the lock knows of: explanations have no clock.
func (l *LockState) latest() time.Time {
	t := l.Holder.Since
	for _, w := range l.Waiting {
		if w.Since.After(t) {
			t = w.Since
		}
	}
	return t
}

// until is when the item's jobs will have ended by the estimates, at the earliest.
func (e *explainer) until(it *Item) string {
	g := it.Buildset.Graph
	if g == nil || len(e.s.Estimates) == 0 {
		return ""
	}
	var end func(j *job.Job) time.Time
	ends := map[job.ID]time.Time{}
	end = func(j *job.Job) time.Time {
		if t, ok := ends[j.ID]; ok {
			return t
		}
		var from time.Time
		for _, d := range j.Dependencies {
			if p := g.Job(d.Job); p != nil && end(p).After(from) {
				from = end(p)
			}
		}
		switch b := it.Buildset.Jobs[j.ID].Build; {
		case b != nil && b.Result != "":
			ends[j.ID] = b.Ended
			return b.Ended
		case b != nil && !b.Started.IsZero():
			from = b.Started
		}
		ends[j.ID] = from.Add(e.s.Estimates[j.Name])
		return ends[j.ID]
	}
	var last time.Time
	for _, j := range g.Jobs {
		if end(j).After(last) {
			last = end(j)
		}
	}
	return clock(", until about ", last)
}

// width is why no more jobs of a buildset run at once.
func (e *explainer) width() string {
	st := &stepper{s: e.s}
	out := fmt.Sprintf("%d jobs of its buildset run, which is as many as may run at once", st.limit())
	if st.limit() == 1 {
		out = "Another job of its buildset runs, and one at a time may"
	}
	switch {
	case mending(e.bs):
		return "Jobs of its buildset run once more, one at a time."
	case e.s.Settings.Shadow:
		return out + fmt.Sprintf(": with shadow off, %d could.", e.s.Settings.MaxParallel)
	case e.s.SteppedBack != "":
		return out + ": the pipeline was stepped back, because " + e.s.SteppedBack + "."
	}
	return out + "."
}
