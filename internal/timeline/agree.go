package timeline

import (
	"fmt"
	"time"
)

// Agreement lays what was seen of a plan beside the simulation of the same jobs.
type Agreement struct {
	// Actual is how long it took; Simulated, how long the simulation takes with the durations that were seen and with
	// the hand-overs: the time in which a job had all that it needed but did not run yet, because it was given a node
	// and an executor. Bare is the simulation without them.
	Actual, Simulated, Bare time.Duration
	// HandOver is the longest of them.
	HandOver time.Duration
	// Ratio is Actual over Simulated: 1 where jobs were started in as good an order, and slots used as well.
	Ratio float64
}

// String says it in words.
func (a *Agreement) String() string {
	return fmt.Sprintf("it took %s, simulated with the same durations %s (%.2f times that); the longest hand-over took %s, and without any it would be %s",
		Short(a.Actual), Short(a.Simulated), a.Ratio, Short(a.HandOver), Short(a.Bare))
}

// Agree compares builds that have all ended with a simulation of the plan, whose durations do not count. Slots of
// the plan are those that were there.
func Agree(p Plan, builds []Build) (*Agreement, error) {
	var last time.Time
	for _, b := range builds {
		if b.Start.IsZero() || b.End.IsZero() {
			return nil, fmt.Errorf("job %s has not ended", b.Job)
		}
		if b.End.After(last) {
			last = b.End
		}
	}
	seen, err := Analyse(p, builds, last)
	if err != nil {
		return nil, err
	}
	took := map[string]*Run{}
	for i := range seen.Runs {
		took[seen.Runs[i].Job] = &seen.Runs[i]
	}
	out := &Agreement{Actual: seen.Makespan}
	bare, with := p, p
	bare.Jobs, with.Jobs = nil, nil
	for _, j := range p.Jobs {
		r := took[j.Name]
		if r == nil {
			continue // it never ran, and kept nobody
		}
		j.Duration = r.End - r.Start
		bare.Jobs = append(bare.Jobs, j)
		var hand time.Duration
		for _, w := range r.Waits {
			if w.Cause == WaitNodes {
				hand += w.Until - w.From
			}
		}
		out.HandOver = max(out.HandOver, hand)
		j.Duration += hand
		with.Jobs = append(with.Jobs, j)
	}
	for _, s := range []struct {
		plan Plan
		into *time.Duration
	}{{bare, &out.Bare}, {with, &out.Simulated}} {
		sim, err := Simulate(s.plan)
		if err != nil {
			return nil, err
		}
		*s.into = sim.Makespan
	}
	if out.Simulated > 0 {
		out.Ratio = float64(out.Actual) / float64(out.Simulated)
	}
	return out, nil
}
