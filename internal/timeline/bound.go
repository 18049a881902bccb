package timeline

import (
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
	// Work is the sum of all durations over the slots; 0 where slots are not bounded.
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
		return fmt.Sprintf("%s (slots: all work over the slots there are)", Short(b.Total))
	}
	return fmt.Sprintf("%s (critical path: %s)", Short(b.Total), strings.Join(b.Chain, ", "))
}

// LowerBound computes max(critical path, work over slots, heaviest mutex clique with head and tail). It
// is an error if the plan has a cycle or a name twice.
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
		var sum time.Duration
		for _, j := range p.Jobs {
			sum += j.Duration
		}
		b.Work = ceilDiv(sum, p.Slots)
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
