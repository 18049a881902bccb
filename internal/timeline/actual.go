package timeline

import (
	"math"
	"slices"
	"time"
)

// Build is what is known of one build: zero times are not known yet. Queued is when the job was
// waiting for nothing but room (its dependencies had ended), if that was recorded.
type Build struct {
	Job    string
	Queued time.Time
	Start  time.Time
	End    time.Time
	// Estimate is what the job takes usually; it stands in for an end that is not known.
	Estimate time.Duration
}

// Analyse looks at builds that have run, as Simulate does at a plan: the durations of the plan's jobs
// are replaced by what was seen. Builds that have not ended are counted up to now; those that have not
// started are left out of the runs, but not of the bound, where their estimate counts. The origin is
// the earliest time that any build has.
func Analyse(p Plan, builds []Build, now time.Time) (*Schedule, error) {
	origin := now
	for _, b := range builds {
		for _, t := range []time.Time{b.Queued, b.Start} {
			if !t.IsZero() && t.Before(origin) {
				origin = t
			}
		}
	}
	seen := map[string]time.Duration{}
	var runs []Run
	for _, b := range builds {
		if b.Start.IsZero() {
			seen[b.Job] = b.Estimate
			continue
		}
		end := b.End
		if end.IsZero() {
			end = now
		}
		r := Run{Job: b.Job, Start: b.Start.Sub(origin), End: end.Sub(origin)}
		if !b.Queued.IsZero() {
			r.Queued = b.Queued.Sub(origin)
		}
		seen[b.Job] = r.End - r.Start
		runs = append(runs, r)
	}
	q := p
	q.Jobs = slices.Clone(p.Jobs)
	for i := range q.Jobs {
		if d, ok := seen[q.Jobs[i].Name]; ok {
			q.Jobs[i].Duration = d
		}
	}
	assignSlots(runs)
	return measure(q, runs)
}

// assignSlots gives each run the first slot that is free at its start.
func assignSlots(runs []Run) {
	slices.SortStableFunc(runs, func(a, b Run) int { return int(a.Start - b.Start) })
	var free []time.Duration
	for i := range runs {
		slot := slices.IndexFunc(free, func(end time.Duration) bool { return end <= runs[i].Start })
		if slot < 0 {
			slot = len(free)
			free = append(free, 0)
		}
		free[slot], runs[i].Slot = runs[i].End, slot
	}
}

// Forecast is when jobs will be done, by name, and when the last will be.
type Forecast struct {
	Jobs map[string]time.Time
	Done time.Time
}

// Predict tells when the jobs of a plan that is being carried out will be done: running ones after
// what is left of their estimate (an overdue one is expected to end now, growing by a tenth of what it
// has used), waiting ones as a simulation from now on has it.
func Predict(p Plan, builds []Build, now time.Time) (Forecast, error) {
	q := Plan{Slots: p.Slots, Capacity: p.Capacity}
	f := Forecast{Jobs: map[string]time.Time{}, Done: now}
	state := map[string]Build{}
	for _, b := range builds {
		state[b.Job] = b
	}
	var running, waiting []Job
	for _, j := range p.Jobs {
		b := state[j.Name]
		if b.Estimate > 0 {
			j.Duration = b.Estimate
		}
		switch {
		case !b.End.IsZero():
			f.Jobs[j.Name] = b.End
		case !b.Start.IsZero():
			used := now.Sub(b.Start)
			if j.Duration -= used; j.Duration < 0 {
				j.Duration = used / 10
			}
			// It runs already, whatever it waited for.
			j.After = nil
			running = append(running, j)
		default:
			waiting = append(waiting, j)
		}
	}
	q.Jobs = append(running, waiting...)
	s, err := simulateFrom(q, len(running))
	if err != nil {
		return Forecast{}, err
	}
	for _, r := range s.Runs {
		f.Jobs[r.Job] = now.Add(r.End)
	}
	f.Done = now.Add(s.Makespan)
	return f, nil
}

// simulateFrom is Simulate with the first n jobs running at the start, even where that is more than
// the slots or mutexes allow by now.
func simulateFrom(p Plan, n int) (*Schedule, error) {
	g, err := p.resolve()
	if err != nil {
		return nil, err
	}
	s := &simulation{graph: g, plan: p, tails: g.tails(), held: map[string]int{}}
	s.open, s.queued = make([]int, len(g.jobs)), make([]time.Duration, len(g.jobs))
	for i := range g.jobs {
		switch s.open[i] = len(g.parents[i]); {
		case i < n:
			s.start(i)
		case s.open[i] == 0:
			s.ready = append(s.ready, i)
		}
	}
	s.startAll()
	for len(s.running) > 0 {
		s.advance()
	}
	return s.finish()
}

// Stats are what past durations of a job come to. Typical is what to expect: the median. Low and High
// are the quartiles; where there are fewer than four durations they are widened, since little is known.
type Stats struct {
	Count              int
	Typical, Low, High time.Duration
}

// Recent is how many of the latest durations count.
const Recent = 20

// Durations makes statistics of the durations of successful builds, oldest first; only the last Recent
// ones count.
func Durations(past []time.Duration) Stats {
	if len(past) > Recent {
		past = past[len(past)-Recent:]
	}
	if len(past) == 0 {
		return Stats{}
	}
	d := slices.Sorted(slices.Values(past))
	s := Stats{Count: len(d), Typical: quantile(d, 0.5), Low: quantile(d, 0.25), High: quantile(d, 0.75)}
	if len(d) < 4 {
		wide := s.Typical / time.Duration(1+len(d))
		s.Low, s.High = min(s.Low, s.Typical-wide), max(s.High, s.Typical+wide)
	}
	return s
}

// quantile interpolates between the two nearest of sorted values.
func quantile(d []time.Duration, q float64) time.Duration {
	at := q * float64(len(d)-1)
	low := math.Floor(at)
	i := int(low)
	if i+1 >= len(d) {
		return d[len(d)-1]
	}
	return d[i] + time.Duration((at-low)*float64(d[i+1]-d[i]))
}
