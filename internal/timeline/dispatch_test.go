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

// shapes are graphs as deployments have them, of n jobs.
var shapes = map[string]func(r *rand.Rand, n int) Plan{
	"few edges, some mutexes": deployment,
	"no edges":                func(r *rand.Rand, n int) Plan { return shaped(r, n, func(int) []int { return nil }) },
	"all behind one":          func(r *rand.Rand, n int) Plan { return shaped(r, n, func(int) []int { return []int{0} }) },
	"set-up, base, certificates, services": func(r *rand.Rand, n int) Plan {
		return shaped(r, n, func(i int) []int {
			if i < 4 {
				return []int{i - 1}
			}
			return []int{1 + r.IntN(3)}
		})
	},
	"layers": func(r *rand.Rand, n int) Plan {
		return shaped(r, n, func(i int) []int {
			if i < 6 {
				return nil
			}
			first := (i/6 - 1) * 6
			return []int{first + r.IntN(6), first + r.IntN(6)}
		})
	},
	"chains side by side": func(r *rand.Rand, n int) Plan {
		return shaped(r, n, func(i int) []int {
			if i < 6 {
				return nil
			}
			return []int{i - 6}
		})
	},
	"a tree": func(r *rand.Rand, n int) Plan { return shaped(r, n, func(i int) []int { return []int{(i - 1) / 2} }) },
	"fans in and out": func(r *rand.Rand, n int) Plan {
		return shaped(r, n, func(i int) []int {
			if i%6 == 0 {
				return []int{i - 1, i - 2, i - 3, i - 4, i - 5}
			}
			return []int{i - i%6}
		})
	},
	"one very long": func(r *rand.Rand, n int) Plan {
		p := deployment(r, n)
		p.Jobs[r.IntN(n)].Duration = 40 * time.Minute
		return p
	},
	"all as long": func(r *rand.Rand, n int) Plan {
		p := deployment(r, n)
		for i := range p.Jobs {
			p.Jobs[i].Duration = time.Minute
		}
		return p
	},
	"a third has one mutex": func(r *rand.Rand, n int) Plan {
		p := deployment(r, n)
		for i := range p.Jobs {
			p.Jobs[i].Holds = nil
			if i%3 == 0 {
				p.Jobs[i].Holds = []string{"package-manager"}
			}
		}
		return p
	},
	"two mutexes each": func(r *rand.Rand, n int) Plan {
		p := shaped(r, n, func(int) []int { return nil })
		for i := range p.Jobs {
			if r.IntN(2) == 0 {
				p.Jobs[i].Holds = []string{fmt.Sprint("a", r.IntN(5)), fmt.Sprint("b", r.IntN(5))}
			}
		}
		return p
	},
}

// shaped is a graph of jobs with durations that have a long tail; before names those that each comes after, below
// zero for none.
func shaped(r *rand.Rand, n int, before func(i int) []int) Plan {
	var p Plan
	for i := range n {
		seconds := 30 * math.Exp(r.NormFloat64()*0.8+1)
		j := Job{Name: fmt.Sprint("job", i), Duration: time.Duration(seconds * float64(time.Second)).Round(time.Second)}
		for _, k := range before(i) {
			name := fmt.Sprint("job", k)
			if k >= 0 && k < i && !slices.Contains(j.After, name) {
				j.After = append(j.After, name)
			}
		}
		p.Jobs = append(p.Jobs, j)
	}
	return p
}

// TestDispatchIsNearItsBound: longest remaining path first comes within 1.05 of what no schedule can
// beat, with 4 slots, in the median of random graphs of 30 jobs, whatever their shape. With other slots it is printed.
func TestDispatchIsNearItsBound(t *testing.T) {
	const graphs, jobs = 200, 30
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			for _, slots := range []int{1, 2, 4, 8, 16} {
				var ratios []float64
				for seed := range uint64(graphs) {
					p := shape(rand.New(rand.NewPCG(seed, 7)), jobs)
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
		})
	}
}
