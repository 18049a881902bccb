package web

import (
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/timeline"
)

// plan puts the jobs of one item into timeline's words.
type plan struct {
	plan   timeline.Plan
	builds []timeline.Build
	// unknown: the duration of a job that is not done is not known; left: there is such a job.
	unknown, left bool
}

func newPlan(jobs []api.Job) *plan {
	p := &plan{}
	for i := range jobs {
		j := &jobs[i]
		usual := time.Duration(j.EstimateMS) * time.Millisecond
		b := timeline.Build{Job: j.ID, Queued: j.Queued, Start: j.Started, End: j.Ended, Estimate: usual}
		if j.Result != "" && j.Started.IsZero() { // skipped, or no node: it took no time and takes none
			continue
		}
		if j.Result == "" {
			p.left, p.unknown = true, p.unknown || usual == 0
		}
		t := timeline.Job{Name: j.ID, Duration: usual, Holds: j.Semaphores}
		for _, d := range j.Depends {
			t.After = append(t.After, d.Job)
		}
		p.plan.Jobs = append(p.plan.Jobs, t)
		p.builds = append(p.builds, b)
	}
	return p
}

// ends is when the last job will be done; zero where nobody can tell, or nothing is left to do.
func (p *plan) ends(now time.Time) time.Time {
	if p.unknown || !p.left {
		return time.Time{}
	}
	f, err := timeline.Predict(p.plan, p.builds, now)
	if err != nil {
		return time.Time{}
	}
	return f.Done
}

// analyse adds figures, the critical path and what was waited for to a graph. Jobs of a frozen graph have
// no cycle and unique names; a graph of the past is made so too.
func (p *plan) analyse(g *api.Graph) error {
	s, err := timeline.Analyse(p.plan, p.builds, g.Now)
	if err != nil {
		return err
	}
	g.SerialMS, g.ParallelMS, g.LowerBoundMS = s.Serial.Milliseconds(), s.Makespan.Milliseconds(), s.Bound.Total.Milliseconds()
	g.Bound = s.Bound.String()
	if g.EdgesKnown {
		g.Critical = s.Critical
	}
	waits := map[string][]string{}
	for _, r := range s.Runs {
		for _, w := range r.Waits {
			waits[r.Job] = append(waits[r.Job], w.String())
		}
	}
	for i := range g.Jobs {
		// With the edges known the schedule names who was in the way; what was recorded only says for how long.
		if j := &g.Jobs[i]; !j.Started.IsZero() && (j.Waiting == "" || g.EdgesKnown && len(waits[j.ID]) > 0) {
			j.Waiting = strings.Join(waits[j.ID], "; ")
		}
	}
	return nil
}
