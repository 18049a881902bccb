package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/timeline"
)

// Simulation writes what a pipeline would take, with a chart that is width columns wide.
func Simulation(w io.Writer, s *deps.Simulation, at, width int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline %s: %s, %s of work\n", s.Pipeline, count(s.Jobs, "job"), timeline.Short(s.Chart.Serial))
	switch {
	case s.Guessed == s.Jobs:
		fmt.Fprintf(&b, "durations: none are known, every job is taken to last %s; figures are only as good as that\n", timeline.Short(s.Durations.Default))
	case s.Guessed > 0:
		fmt.Fprintf(&b, "durations: %s; %s without any taken to last %s\n", s.Durations.Source, count(s.Guessed, "job"), timeline.Short(s.Durations.Default))
	default:
		fmt.Fprintf(&b, "durations: %s\n", s.Durations.Source)
	}
	fmt.Fprintf(&b, "\nslots  makespan  at least  ratio  with what is missing  bottleneck\n")
	for _, st := range s.Steps {
		fmt.Fprintf(&b, "%5d  %8s  %8s  %5.2f  %20s  %s\n", st.Slots, timeline.Short(st.Schedule.Makespan), timeline.Short(st.Schedule.Bound.Total),
			st.Schedule.Ratio, timeline.Short(st.Safe), bottleneck(st.Schedule))
	}
	if len(s.Gains) > 0 {
		fmt.Fprintf(&b, "\nwhat a change would gain\n")
		for _, g := range s.Gains {
			word := "saves"
			d := g.Gain
			if d < 0 {
				word, d = "costs", -d
			}
			fmt.Fprintf(&b, "  %s %8s  %s\n", word, timeline.Short(d), g.Text)
		}
	}
	fmt.Fprintf(&b, "\n%d at a time\n", at)
	if err := timeline.Gantt(&b, s.Chart, timeline.TextOptions{Width: width}); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// bottleneck says in words what keeps a schedule from being shorter.
func bottleneck(s *timeline.Schedule) string {
	switch s.Bound.Floor {
	case timeline.FloorMutex:
		return fmt.Sprintf("the semaphore %s", s.Bound.Name)
	case timeline.FloorWork:
		return "slots"
	}
	chain := s.Bound.Chain
	if len(chain) > 4 {
		chain = append(append([]string{}, chain[:2]...), append([]string{"..."}, chain[len(chain)-1])...)
	}
	return "critical path: " + strings.Join(chain, ", ")
}
