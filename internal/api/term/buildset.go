package term

import (
	"fmt"
	"io"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/timeline"
)

// Buildset draws a buildset in time: a Gantt chart, a table with what each job waited for, and the figures.
// width 0 is 100 columns.
func Buildset(w io.Writer, g *api.Graph, width int) error {
	s, err := schedule(g)
	if err != nil {
		return fmt.Errorf("lay out buildset %s in time: %w", g.Buildset, err)
	}
	if len(s.Runs) == 0 {
		_, err := fmt.Fprintln(w, "No job of this buildset has run.")
		return err
	}
	if width <= 0 {
		width = 100
	}
	if err := timeline.Gantt(w, s, timeline.TextOptions{Width: width}); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := timeline.Table(w, s); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s\n", s.Summary())
	return err
}

// Agreement lays a buildset that has ended beside the simulation of its jobs on so many slots.
func Agreement(g *api.Graph, slots int) (*timeline.Agreement, error) {
	plan, builds := ran(g)
	plan.Slots = slots
	a, err := timeline.Agree(plan, builds)
	if err != nil {
		return nil, fmt.Errorf("compare buildset %s with its simulation: %w", g.Buildset, err)
	}
	return a, nil
}

func schedule(g *api.Graph) (*timeline.Schedule, error) {
	plan, builds := ran(g)
	return timeline.Analyse(plan, builds, g.Now)
}

// ran is the graph in timeline's words. Jobs that never ran take no place in it.
func ran(g *api.Graph) (timeline.Plan, []timeline.Build) {
	var plan timeline.Plan
	var builds []timeline.Build
	for i := range g.Jobs {
		j := &g.Jobs[i]
		if j.Started.IsZero() {
			continue
		}
		t := timeline.Job{Name: j.ID, Duration: time.Duration(j.EstimateMS) * time.Millisecond, Holds: j.Semaphores}
		for _, d := range j.Depends {
			t.After = append(t.After, d.Job)
		}
		plan.Jobs = append(plan.Jobs, t)
		builds = append(builds, timeline.Build{Job: j.ID, Queued: j.Queued, Start: j.Started, End: j.Ended, Estimate: t.Duration})
	}
	return plan, builds
}
