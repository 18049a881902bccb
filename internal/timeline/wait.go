package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Cause is what a job waited for.
type Cause string

// The causes, in the order in which a job meets them.
const (
	WaitDependency Cause = "dependency"
	WaitMutex      Cause = "semaphore"
	WaitSlot       Cause = "slot"
	WaitNodes      Cause = "nodes"
)

// Wait is one stretch of waiting. By is the job that was in the way: the dependency that ended last,
// the holder of the mutex, or the run that left the slot; empty where none is known. Name is the mutex.
type Wait struct {
	Cause Cause         `json:"cause"`
	By    string        `json:"by,omitempty"`
	Name  string        `json:"name,omitempty"`
	From  time.Duration `json:"from"`
	Until time.Duration `json:"until"`
}

// String says it in words: "semaphore pads01-proxy held by paste, 4s".
func (w Wait) String() string {
	d := Short(w.Until - w.From)
	switch {
	case w.Cause == WaitDependency:
		return fmt.Sprintf("dependency %s, %s", w.By, d)
	case w.Cause == WaitMutex:
		return fmt.Sprintf("semaphore %s held by %s, %s", w.Name, w.By, d)
	case w.Cause == WaitSlot && w.By != "":
		return fmt.Sprintf("a slot, used by %s, %s", w.By, d)
	case w.Cause == WaitSlot:
		return "a slot, " + d
	}
	return "nodes, " + d
}

// explain fills in the waits of all runs, and the chain that made the makespan.
func explain(p Plan, s *Schedule) {
	runs := map[string]*Run{}
	for i := range s.Runs {
		runs[s.Runs[i].Job] = &s.Runs[i]
	}
	for _, j := range p.Jobs {
		if r := runs[j.Name]; r != nil {
			r.Waits = waits(p, j, r, s.Runs, runs)
		}
	}
	s.Critical = chain(s.Runs, runs)
}

// waits explains the time before a run: first the dependency that ended last, then the mutexes, in the
// order in which they came free, then the slots, and what is left is put down to nodes.
func waits(p Plan, j Job, r *Run, all []Run, runs map[string]*Run) []Wait {
	var out []Wait
	at := time.Duration(0)
	if d := lastDependency(j, runs); d != nil && d.End > 0 {
		at = min(d.End, r.Start)
		out = append(out, Wait{Cause: WaitDependency, By: d.Job, Until: at})
	}
	at = max(at, min(r.Queued, r.Start))
	for _, m := range j.Holds {
		if h := lastBefore(all, r, at, func(o *Run) bool { return holds(p, o.Job, m) }); h != nil && full(p, m, all, h.End) {
			out = append(out, Wait{Cause: WaitMutex, Name: m, By: h.Job, From: at, Until: h.End})
			at = h.End
		}
	}
	if at >= r.Start {
		return out
	}
	if p.Slots > 0 {
		if h := lastBefore(all, r, at, func(*Run) bool { return true }); h != nil && busy(all, h.End) >= p.Slots {
			out = append(out, Wait{Cause: WaitSlot, By: h.Job, From: at, Until: h.End})
			at = h.End
		}
	}
	if at < r.Start {
		out = append(out, Wait{Cause: WaitNodes, From: at, Until: r.Start})
	}
	return out
}

func lastDependency(j Job, runs map[string]*Run) *Run {
	var last *Run
	for _, name := range j.After {
		if d := runs[name]; d != nil && (last == nil || d.End > last.End) {
			last = d
		}
	}
	return last
}

// lastBefore finds the run that ended last before r started, but after from, and fits.
func lastBefore(all []Run, r *Run, from time.Duration, fits func(*Run) bool) *Run {
	var last *Run
	for i := range all {
		o := &all[i]
		if o.Job == r.Job || o.End > r.Start || o.End <= from || o.Start >= r.Start || !fits(o) {
			continue
		}
		if last == nil || o.End > last.End {
			last = o
		}
	}
	return last
}

// busy counts the runs that were on just before t.
func busy(all []Run, t time.Duration) int {
	n := 0
	for i := range all {
		if all[i].Start < t && all[i].End >= t {
			n++
		}
	}
	return n
}

// full reports whether a mutex had no room just before t.
func full(p Plan, mutex string, all []Run, t time.Duration) bool {
	n := 0
	for i := range all {
		if all[i].Start < t && all[i].End >= t && holds(p, all[i].Job, mutex) {
			n++
		}
	}
	return n >= max(1, p.Capacity[mutex])
}

func holds(p Plan, job, mutex string) bool {
	for i := range p.Jobs {
		if p.Jobs[i].Name == job {
			return slices.Contains(p.Jobs[i].Holds, mutex)
		}
	}
	return false
}

// chain follows the last wait of each run back from the one that ended last.
func chain(all []Run, runs map[string]*Run) []string {
	if len(all) == 0 {
		return nil
	}
	last := slices.MaxFunc(all, func(a, b Run) int { return cmp.Compare(a.End, b.End) })
	at := runs[last.Job]
	var out []string
	for at != nil && !slices.Contains(out, at.Job) {
		out = append(out, at.Job)
		by := ""
		for _, w := range slices.Backward(at.Waits) {
			if w.By != "" {
				by = w.By
				break
			}
		}
		at = runs[by]
	}
	slices.Reverse(out)
	return out
}
