// Package timeline answers questions about time for a set of jobs with durations, dependencies and
// mutual exclusions on a number of slots: how long it takes at least, in which order to start the
// jobs, what was waited for, what is critical, and when it will be done. It works on plans (estimates)
// and on what really happened (actual starts and ends) with the same figures, so that a simulation, a
// running buildset and a finished one can be laid side by side. The dispatch rule here, longest
// remaining path first, is the one that the pipeline uses.
//
// It is pure: times come in as values, nothing is read from a clock or drawn at random. What jobs are
// and why they depend on each other is the business of job and deps; this package sees names only.
package timeline

import (
	"fmt"
	"slices"
	"time"
)

// Job is one job of a plan. After names jobs that must end before it starts; names that are not in the
// plan are ignored, as a soft dependency on an absent job is. Holds names mutexes: of two jobs that
// hold the same one, only one runs at a time, or as many as Plan.Capacity says.
type Job struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration"`
	After    []string      `json:"after,omitempty"`
	Holds    []string      `json:"holds,omitempty"`
}

// Plan is a set of jobs with unique names and the room they have. Slots 0 is no bound. Capacity tells
// how many holders a mutex allows at once; a mutex that is not in it allows one.
type Plan struct {
	Jobs     []Job          `json:"jobs"`
	Slots    int            `json:"slots"`
	Capacity map[string]int `json:"capacity,omitempty"`
}

// graph is a plan with names resolved to indices.
type graph struct {
	jobs     []Job
	index    map[string]int
	parents  [][]int
	children [][]int
	// order is a topological order, parents first.
	order []int
}

// resolve checks the plan: names must be unique and there must be no cycle.
func (p *Plan) resolve() (*graph, error) {
	g := &graph{jobs: p.Jobs, index: map[string]int{}}
	for i, j := range p.Jobs {
		if _, twice := g.index[j.Name]; twice {
			return nil, fmt.Errorf("job %s is in the plan twice", j.Name)
		}
		if j.Duration < 0 {
			return nil, fmt.Errorf("job %s has the duration %s", j.Name, j.Duration)
		}
		g.index[j.Name] = i
	}
	g.parents = make([][]int, len(p.Jobs))
	g.children = make([][]int, len(p.Jobs))
	for i, j := range p.Jobs {
		for _, name := range j.After {
			k, ok := g.index[name]
			if !ok || slices.Contains(g.parents[i], k) {
				continue
			}
			g.parents[i] = append(g.parents[i], k)
			g.children[k] = append(g.children[k], i)
		}
	}
	return g, g.sort()
}

// sort finds the topological order, or names the jobs of a cycle.
func (g *graph) sort() error {
	open := make([]int, len(g.jobs))
	var ready []int
	for i := range g.jobs {
		open[i] = len(g.parents[i])
		if open[i] == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		g.order = append(g.order, i)
		for _, k := range g.children[i] {
			if open[k]--; open[k] == 0 {
				ready = append(ready, k)
			}
		}
	}
	if len(g.order) == len(g.jobs) {
		return nil
	}
	var left []string
	for i, n := range open {
		if n > 0 {
			left = append(left, g.jobs[i].Name)
		}
	}
	return fmt.Errorf("the dependencies have a cycle among or before: %v", left)
}

// tails gives for each job the time from its start to the end of the longest chain behind it, itself
// included: its priority.
func (g *graph) tails() []time.Duration {
	t := make([]time.Duration, len(g.jobs))
	for _, i := range slices.Backward(g.order) {
		for _, k := range g.children[i] {
			t[i] = max(t[i], t[k])
		}
		t[i] += g.jobs[i].Duration
	}
	return t
}

// heads gives for each job the earliest start that the chains before it allow.
func (g *graph) heads() []time.Duration {
	h := make([]time.Duration, len(g.jobs))
	for _, i := range g.order {
		for _, k := range g.parents[i] {
			h[i] = max(h[i], h[k]+g.jobs[k].Duration)
		}
	}
	return h
}

// Tails gives for each job, by name, the longest remaining path: the time from its start to the end of
// the longest chain of jobs behind it, itself included. Dispatch prefers the longest.
func Tails(jobs []Job) (map[string]time.Duration, error) {
	g, err := (&Plan{Jobs: jobs}).resolve()
	if err != nil {
		return nil, err
	}
	out := map[string]time.Duration{}
	for i, t := range g.tails() {
		out[jobs[i].Name] = t
	}
	return out, nil
}

// CriticalPath is the longest chain of jobs, first job first, and how long it takes. Where chains are
// equally long, the one of jobs that come first in the list is taken.
func CriticalPath(jobs []Job) ([]string, time.Duration, error) {
	g, err := (&Plan{Jobs: jobs}).resolve()
	if err != nil || len(jobs) == 0 {
		return nil, 0, err
	}
	tails := g.tails()
	longest := func(among []int) int {
		best := among[0]
		for _, i := range among {
			if tails[i] > tails[best] || tails[i] == tails[best] && i < best {
				best = i
			}
		}
		return best
	}
	at := longest(g.order)
	total := tails[at]
	path := []string{jobs[at].Name}
	for len(g.children[at]) > 0 {
		at = longest(g.children[at])
		path = append(path, jobs[at].Name)
	}
	return path, total, nil
}
