package pipeline

import (
	"cmp"
	"maps"
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
// path first, as estimated; equals go in the order of the configuration. What was never seen to end counts as
// much as the others do in the median, so that without any estimate the longest chain of jobs goes first.
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
	unknown := time.Second
	if slices.ContainsFunc(g.Jobs, func(j *job.Job) bool { return s.Estimates[j.Name] == 0 }) && len(s.Estimates) > 0 {
		known := slices.Sorted(maps.Values(s.Estimates))
		unknown = known[len(known)/2]
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
		rest[j.ID] = longest + cmp.Or(s.Estimates[j.Name], unknown)
		return rest[j.ID]
	}
	for _, j := range g.Jobs {
		path(j)
	}
	out := slices.Clone(g.Jobs)
	slices.SortStableFunc(out, func(a, b *job.Job) int { return cmp.Compare(rest[b.ID], rest[a.ID]) })
	return out
}
