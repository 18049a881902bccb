package pipeline

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

// cycle is all changes that must be tested and merged together with c, git parents first: c alone, or
// the strongly connected component of the graph that it is in.
func (st *stepper) cycle(g *graph, c *change.Change) []*change.Change {
	if k := c.Key(); g.has(k) && g.needed(k) {
		for _, comp := range components(g) {
			if len(comp) > 1 && slices.Contains(comp, k) {
				return st.parentsFirst(comp)
			}
		}
	}
	return []*change.Change{c}
}

// components are the strongly connected components of g after Tarjan, each in the order in which its
// nodes come off the stack.
func components(g *graph) [][]change.Key {
	t := tarjan{g: g, index: map[change.Key]int{}, low: map[change.Key]int{}, onStack: map[change.Key]bool{}}
	for _, k := range g.nodes {
		if _, seen := t.index[k]; !seen {
			t.connect(k)
		}
	}
	return t.out
}

type tarjan struct {
	g          *graph
	index, low map[change.Key]int
	onStack    map[change.Key]bool
	stack      []change.Key
	out        [][]change.Key
}

func (t *tarjan) connect(k change.Key) {
	t.index[k], t.low[k] = len(t.index), len(t.index)
	t.stack = append(t.stack, k)
	t.onStack[k] = true
	for _, n := range t.g.needs[k] {
		if _, seen := t.index[n]; !seen {
			t.connect(n)
			t.low[k] = min(t.low[k], t.low[n])
		} else if t.onStack[n] {
			t.low[k] = min(t.low[k], t.index[n])
		}
	}
	if t.low[k] != t.index[k] {
		return
	}
	var comp []change.Key
	for {
		last := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.onStack[last] = false
		comp = append(comp, last)
		if last == k {
			break
		}
	}
	t.out = append(t.out, comp)
}

// parentsFirst orders the members so that git parents precede their children, and leaves the order
// alone otherwise.
func (st *stepper) parentsFirst(comp []change.Key) []*change.Change {
	var out []*change.Change
	placed := map[change.Key]bool{}
	var place func(change.Key)
	place = func(k change.Key) {
		c := st.s.Changes[k]
		if c == nil || placed[k] {
			return
		}
		placed[k] = true
		for _, p := range c.GitNeeds {
			if slices.Contains(comp, p) {
				place(p)
			}
		}
		out = append(out, c)
	}
	for _, k := range comp {
		place(k)
	}
	return out
}

// allowsCycle tells whether the project's queue lets changes need each other.
func (st *stepper) allowsCycle(c *change.Change) bool {
	return st.s.Tenant.Projects[c.Project.Canonical()].AllowCircular
}

// cycleChanged tells whether the changes that must go together are others than those of the item.
// Merged members do not count.
func (st *stepper) cycleChanged(it *Item) bool {
	var open []change.Key
	for _, k := range it.Changes {
		if c := st.s.Changes[k]; c != nil && !c.Merged {
			open = append(open, k)
		}
	}
	if st.ignoresDependencies() {
		return len(open) > 1
	}
	if len(open) == 0 || len(open) == 1 && len(st.needs(st.s.Changes[open[0]])) == 0 {
		return false
	}
	now := st.cycleOf(open[0])
	if len(now) == 0 {
		return len(open) > 1
	}
	return len(now) != len(open) || slices.ContainsFunc(now, func(k change.Key) bool { return !slices.Contains(open, k) })
}

// cycleOf are the changes of the cycle that a change is in, in no order; none where it is in no cycle. All cycles among
// the known changes are found at once, and remembered until there is news of a change: to look at the whole of a long
// stack for each change in it would be too much.
func (st *stepper) cycleOf(k change.Key) []change.Key {
	if st.s.cycles == nil {
		st.s.cycles = map[change.Key][]change.Key{}
		g := graph{needs: map[change.Key][]change.Key{}}
		seen := map[change.Key]bool{}
		for k, c := range st.s.Changes {
			if c.IsChange() && !c.Merged && !seen[k] {
				st.visit(&g, k, c, seen)
			}
		}
		for _, comp := range components(&g) {
			for _, k := range comp {
				if len(comp) > 1 {
					st.s.cycles[k] = comp
				}
			}
		}
	}
	return st.s.cycles[k]
}
