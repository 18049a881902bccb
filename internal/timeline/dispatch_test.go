package timeline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// deployment draws a graph of jobs as deployments have them: durations with a long tail, few
// dependencies each, some mutexes.
func deployment(r *rand.Rand, n int) Plan {
	var p Plan
	for i := range n {
		seconds := 30 * math.Exp(r.NormFloat64()*0.8+1)
		j := Job{Name: fmt.Sprint("job", i), Duration: time.Duration(seconds * float64(time.Second)).Round(time.Second)}
		for range r.IntN(3) {
			if i > 0 {
				j.After = append(j.After, fmt.Sprint("job", r.IntN(i)))
			}
		}
		if r.IntN(5) == 0 {
			j.Holds = []string{fmt.Sprint("mutex", r.IntN(4))}
		}
		p.Jobs = append(p.Jobs, j)
	}
	return p
}

// TestDispatchIsNearItsBound: longest remaining path first comes within 1.05 of what no schedule can
// beat, with 4 slots, in the median of random graphs of 30 jobs. With other slots it is printed.
func TestDispatchIsNearItsBound(t *testing.T) {
	const graphs, jobs = 500, 30
	for _, slots := range []int{1, 2, 4, 8, 16} {
		var ratios []float64
		for seed := range uint64(graphs) {
			p := deployment(rand.New(rand.NewPCG(seed, 7)), jobs)
			p.Slots = slots
			s, err := Simulate(p)
			if err != nil {
				t.Fatal(err)
			}
			if s.Ratio < 1-1e-9 {
				t.Fatalf("seed %d: %.3f times the lower bound: the bound is none", seed, s.Ratio)
			}
			ratios = append(ratios, s.Ratio)
		}
		slices.Sort(ratios)
		median := ratios[graphs/2]
		t.Logf("%2d slots: makespan over lower bound, median %.3f, 9 of 10 below %.3f, worst %.3f (%d graphs of %d jobs)",
			slots, median, ratios[graphs*9/10], ratios[graphs-1], graphs, jobs)
		if slots == 4 && median > 1.05 {
			t.Errorf("with 4 slots the median is %.3f times the lower bound, more than 1.05", median)
		}
	}
}
