package pipeline

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

// graph is who needs whom among unmerged changes, in the order in which the changes were met: the
// order of the tests of cycles depends on it.
type graph struct {
	nodes []change.Key
	needs map[change.Key][]change.Key
}

func (g *graph) has(k change.Key) bool { _, ok := g.needs[k]; return ok }

// needed tells whether any change of the graph needs this one.
func (g *graph) needed(k change.Key) bool {
	return slices.ContainsFunc(g.nodes, func(n change.Key) bool { return slices.Contains(g.needs[n], k) })
}

// explore adds what c needs, transitively.
func (st *stepper) explore(g *graph, c *change.Change) {
	if !c.IsChange() || st.ignoresDependencies() {
		return
	}
	if g.needs == nil {
		g.needs = map[change.Key][]change.Key{}
	}
	st.visit(g, c.Key(), c, map[change.Key]bool{})
}

func (st *stepper) visit(g *graph, k change.Key, c *change.Change, seen map[change.Key]bool) {
	seen[k] = true
	for _, n := range st.needs(c) {
		if !g.has(k) {
			g.nodes = append(g.nodes, k)
		}
		if !slices.Contains(g.needs[k], n) {
			g.needs[k] = append(g.needs[k], n)
		}
		if !seen[n] {
			st.visit(g, n, st.s.Changes[n], seen)
		}
	}
}

// needs are the keys of the unmerged changes that c needs, as far as they are known.
func (st *stepper) needs(c *change.Change) []change.Key {
	if len(c.GitNeeds)+len(c.CompatNeeds)+len(c.FooterNeeds)+len(c.TopicNeeds) == 0 {
		return nil
	}
	return slices.DeleteFunc(c.Needs(true), func(k change.Key) bool {
		n := st.s.Changes[k]
		return n == nil || n.Merged
	})
}

// ignoresDependencies: the pipeline takes each change for itself.
func (st *stepper) ignoresDependencies() bool {
	switch st.s.Settings.Manager {
	case Independent:
		return st.s.Settings.IgnoreDependencies
	case Dependent:
		return false
	}
	return true
}

// tooLarge tells whether more changes of the graph need others than the tenant allows.
func (st *stepper) tooLarge(g *graph) bool {
	limit := st.s.Tenant.MaxDependencies
	return limit > 0 && len(g.nodes) > limit
}

// missing are the changes that the given ones need and that are not ahead of it (nil: not in the queue
// at all yet). abort: no enqueueing could help; the reasons that people should know are added to warn.
func (st *stepper) missing(own []*change.Change, q *Queue, it *Item, warn *[]string) (missing []*change.Change, abort bool) {
	if st.ignoresDependencies() {
		return nil, false
	}
	add := func(c *change.Change) {
		if !slices.Contains(missing, c) {
			missing = append(missing, c)
		}
	}
	for _, c := range own {
		for _, need := range st.needs(c) {
			n := st.s.Changes[need]
			if st.s.Settings.Manager == Dependent {
				if !st.sharesQueue(n, q) {
					*warn = append(*warn, "Change "+n.Number+" in project "+n.Project.Name+
						" does not share a change queue with "+c.Number+" in project "+c.Project.Name)
					add(n)
					abort = true
				}
				if !n.Current {
					add(n)
					abort = true
				}
			}
			if containsChange(own, need) || st.aheadInQueue(need, q, it) {
				continue
			}
			add(n)
			if st.s.Settings.Manager == Dependent && !st.canMerge(n) {
				abort = true
			}
		}
	}
	return missing, abort
}

// sharesQueue tells whether the change belongs into the queue.
func (st *stepper) sharesQueue(c *change.Change, q *Queue) bool {
	name, branch, ok := st.sharedName(c)
	if !ok {
		return q.Dynamic && slices.Contains(q.Projects, c.Project.Canonical())
	}
	return !q.Dynamic && q.Name == name && q.Branch == branch
}

// aheadInQueue tells whether an item of the queue, ahead of it (nil: any), has the change.
func (st *stepper) aheadInQueue(k change.Key, q *Queue, it *Item) bool {
	for _, x := range st.line(q) {
		if x == it {
			return false
		}
		if slices.Contains(x.Changes, k) {
			return true
		}
	}
	return false
}

func containsChange(list []*change.Change, k change.Key) bool {
	return slices.ContainsFunc(list, func(c *change.Change) bool { return c.Key() == k })
}

// canMerge tells whether the forge would merge the change, given the votes that success here brings.
// Only dependent pipelines care.
func (st *stepper) canMerge(c *change.Change) bool {
	if st.s.Settings.Manager != Dependent {
		return true
	}
	if st.allowed == nil {
		st.allowed = successVotes(&st.s.Settings)
	}
	ok, _ := c.CanMerge(st.allowed)
	return ok
}

// successVotes are the labels that the reporters of success vote on.
func successVotes(s *Settings) []string {
	out := []string{}
	for _, r := range s.Reporters[ReportSuccess] {
		out = append(out, r.Labels...)
	}
	return out
}

// failingNeeds tells whether an item with a change that this one needs is failing.
func (st *stepper) failingNeeds(it *Item) bool {
	if st.s.Settings.Manager != Dependent {
		return false
	}
	for _, c := range st.changes(it) {
		for _, n := range st.needs(c) {
			if x := st.liveItem(n); x != nil && x != it && len(x.Failing) > 0 {
				return true
			}
		}
	}
	return false
}

// liveItem is the live item with the change at this patch set, in any queue.
func (st *stepper) liveItem(k change.Key) *Item {
	for _, q := range st.s.Queues {
		for _, it := range st.line(q) {
			if it.Live && slices.Contains(it.Changes, k) {
				return it
			}
		}
	}
	return nil
}
