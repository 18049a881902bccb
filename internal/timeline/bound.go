package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Floor names what keeps a plan from being faster.
type Floor string

// What can set the lower bound of a makespan.
const (
	FloorPath  Floor = "critical path"
	FloorWork  Floor = "slots"
	FloorMutex Floor = "mutex"
)

// Bound is a time that no schedule of a plan can beat.
type Bound struct {
	// Total is the largest of Path, Work and Mutex; Floor says which, the path where they are equal.
	Total time.Duration `json:"total"`
	Floor Floor         `json:"floor"`
	// Path is the critical path, Chain its jobs.
	Path  time.Duration `json:"path"`
	Chain []string      `json:"chain,omitempty"`
	// Work is what the slots take for the jobs: all of them, or those that cannot begin before some time, or after
	// which some time must pass, with that time. 0 where slots are not bounded.
	Work time.Duration `json:"work"`
	// Mutex is the heaviest set of jobs that exclude each other, with the shortest way to the first of
	// them and the shortest way on from the last; Name says which mutex, Clique which jobs.
	Mutex  time.Duration `json:"mutex"`
	Name   string        `json:"name,omitempty"`
	Clique []string      `json:"clique,omitempty"`
}

// String says the bound in words: "4m10s (critical path: base, gitea, grafana)".
func (b Bound) String() string {
	switch b.Floor {
	case FloorMutex:
		return fmt.Sprintf("%s (mutex %s: %s)", Short(b.Total), b.Name, strings.Join(b.Clique, ", "))
	case FloorWork:
		return fmt.Sprintf("%s (slots: the work of the jobs over those there are)", Short(b.Total))
	}
	return fmt.Sprintf("%s (critical path: %s)", Short(b.Total), strings.Join(b.Chain, ", "))
}

// LowerBound computes max(critical path, work over slots with head and tail, heaviest mutex clique with head and
// tail). It is an error if the plan has a cycle or a name twice.
func LowerBound(p Plan) (Bound, error) {
	g, err := p.resolve()
	if err != nil {
		return Bound{}, err
	}
	var b Bound
	if b.Chain, b.Path, err = CriticalPath(p.Jobs); err != nil {
		return Bound{}, err
	}
	if p.Slots > 0 {
		b.Work = g.work(p.Slots)
	}
	g.cliques(p, &b)
	b.Total, b.Floor = b.Path, FloorPath
	if b.Work > b.Total {
		b.Total, b.Floor = b.Work, FloorWork
	}
	if b.Mutex > b.Total {
		b.Total, b.Floor = b.Mutex, FloorMutex
	}
	return b, nil
}

// work is what the slots take at least. Of the jobs that cannot begin before a time, and behind which another time
// must pass, the slots can share out the sum at best; and of any k slots and one jobs, two or more meet in a
// slot.
func (g *graph) work(slots int) time.Duration {
	heads, tails := g.heads(), g.tails()
	rest := make([]time.Duration, len(g.jobs))
	order := make([]int, len(g.jobs))
	for i := range g.jobs {
		rest[i], order[i] = tails[i]-g.jobs[i].Duration, i
	}
	// Those with most behind them first: each that is added lowers what must pass behind all.
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rest[b], rest[a]) })
	var best time.Duration
	var before []time.Duration
	for _, head := range heads {
		if slices.Contains(before, head) {
			continue
		}
		before = append(before, head)
		var sum time.Duration
		var took []time.Duration
		for _, i := range order {
			if heads[i] < head {
				continue
			}
			sum += g.jobs[i].Duration
			took = append(took, g.jobs[i].Duration)
			best = max(best, head+ceilDiv(sum, slots)+rest[i])
		}
		best = max(best, head+crowded(took, slots))
	}
	var took []time.Duration
	for n, i := range order {
		took = append(took, g.jobs[i].Duration)
		if n+1 == len(order) || rest[order[n+1]] < rest[i] {
			best = max(best, crowded(slices.Clone(took), slots)+rest[i])
		}
	}
	return best
}

// crowded is what the fullest slot takes at least: of the longest k times slots and one more, k+1 are in the same.
func crowded(took []time.Duration, slots int) time.Duration {
	slices.SortFunc(took, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	var best time.Duration
	for k := 1; k*slots < len(took); k++ {
		var sum time.Duration
		for _, d := range took[k*slots-k : k*slots+1] {
			sum += d
		}
		best = max(best, sum)
	}
	return best
}

func ceilDiv(d time.Duration, n int) time.Duration {
	return (d + time.Duration(n) - 1) / time.Duration(n)
}

// cliques finds the heaviest set of jobs of one mutex. Any subset of the holders is a clique; the ones
// worth trying are those with a head of at least h and a tail of at least t, for the heads and tails
// there are: leaving out an early or a late job raises what must come before or after the rest.
func (g *graph) cliques(p Plan, b *Bound) {
	heads, tails := g.heads(), g.tails()
	for _, name := range mutexes(p.Jobs) {
		var holders []int
		for i, j := range p.Jobs {
			if slices.Contains(j.Holds, name) {
				holders = append(holders, i)
			}
		}
		capacity := max(1, p.Capacity[name])
		for _, a := range holders {
			for _, z := range holders {
				head, rest := heads[a], tails[z]-g.jobs[z].Duration
				var sum time.Duration
				var members []string
				for _, i := range holders {
					if heads[i] >= head && tails[i]-g.jobs[i].Duration >= rest {
						sum += g.jobs[i].Duration
						members = append(members, g.jobs[i].Name)
					}
				}
				if total := head + ceilDiv(sum, capacity) + rest; len(members) > 1 && total > b.Mutex {
					b.Mutex, b.Name, b.Clique = total, name, members
				}
			}
		}
	}
}

// mutexes are the names of all mutexes of the jobs, in order of first mention.
func mutexes(jobs []Job) []string {
	var out []string
	for _, j := range jobs {
		for _, m := range j.Holds {
			if !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}
