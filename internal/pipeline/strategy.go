package pipeline

import (
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
)

// Strategy is what may be chosen about the order of work without touching what is correct: which items
// of a queue are worked on, and which of a buildset's jobs goes first. Both are pure functions.
type Strategy struct {
	// Active tells whether the item at this position of the queue (0: its head) is worked on.
	Active func(q *Queue, position int) bool
	// Order gives the jobs of a graph in the order in which they are considered for nodes, semaphores
	// and executors.
	Order func(s *State, g *job.Graph) []*job.Job
}

// ZuulStrategy works on what is in the window, and takes jobs as they stand in the configuration.
func ZuulStrategy() Strategy { return Strategy{Active: inWindow, Order: configOrder} }

// LongestPathStrategy works on what is in the window, and takes the job with the longest remaining
// path first, as estimated; equals go in the order of the configuration.
func LongestPathStrategy() Strategy { return Strategy{Active: inWindow, Order: longestPath} }

// StrategyFor is the strategy that the settings ask for.
func StrategyFor(s *Settings) Strategy {
	if s.Dispatch == DispatchLongestPath {
		return LongestPathStrategy()
	}
	return ZuulStrategy()
}

// The values of Settings.Dispatch.
const (
	DispatchConfigOrder = "config-order"
	DispatchLongestPath = "longest-path"
)

func inWindow(q *Queue, position int) bool { return q.Window == 0 || position < q.Window }

func configOrder(_ *State, g *job.Graph) []*job.Job { return g.Jobs }

func longestPath(s *State, g *job.Graph) []*job.Job {
	children := map[job.ID][]*job.Job{}
	for _, j := range g.Jobs {
		for _, d := range j.Dependencies {
			children[d.Job] = append(children[d.Job], j)
		}
	}
	rest := map[job.ID]time.Duration{}
	var path func(*job.Job) time.Duration
	path = func(j *job.Job) time.Duration {
		if d, ok := rest[j.ID]; ok {
			return d
		}
		var longest time.Duration
		for _, c := range children[j.ID] {
			longest = max(longest, path(c))
		}
		rest[j.ID] = longest + s.Estimates[j.Name]
		return rest[j.ID]
	}
	for _, j := range g.Jobs {
		path(j)
	}
	out := slices.Clone(g.Jobs)
	slices.SortStableFunc(out, func(a, b *job.Job) int { return -cmpDuration(rest[a.ID], rest[b.ID]) })
	return out
}

func cmpDuration(a, b time.Duration) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
