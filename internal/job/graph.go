package job

import (
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

// Graph is the frozen jobs of one item, in configuration order, with their edges checked: every
// dependency is in the graph, and there is no cycle.
type Graph struct {
	Jobs []*Job `json:"jobs"`
	// FailFast of the project-pipeline: the first failure of a voting job cancels the rest.
	FailFast bool `json:"fail_fast,omitempty"`
	// Debug lists remarks of freezing for people ("job x: no matching variants"), kept where the
	// project-pipeline asks for debug.
	Debug []string `json:"debug,omitempty"`
	// Projects are the repositories that the jobs need beyond the item's own changes.
	Projects []change.Project `json:"projects,omitempty"`
}

// Job finds a job by ID; nil where there is none.
func (g *Graph) Job(id ID) *Job {
	if g == nil {
		return nil
	}
	for _, j := range g.Jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}

// Parents are the jobs that id depends on, in configuration order: directly, or with all their
// ancestors; soft edges are followed where soft is set.
func (g *Graph) Parents(id ID, all, soft bool) []ID {
	return g.walk(id, all, func(j *Job) []Dependency { return j.Dependencies }, soft)
}

// Children are the jobs that depend on id, in configuration order: directly, or with all their
// descendants; soft edges are followed where soft is set.
func (g *Graph) Children(id ID, all, soft bool) []ID {
	return g.walk(id, all, func(j *Job) []Dependency {
		var out []Dependency
		for _, k := range g.Jobs {
			for _, d := range k.Dependencies {
				if d.Job == j.ID {
					out = append(out, Dependency{k.ID, d.Soft})
				}
			}
		}
		return out
	}, soft)
}

func (g *Graph) walk(id ID, all bool, next func(*Job) []Dependency, soft bool) []ID {
	found := map[ID]bool{}
	todo := []ID{id}
	for len(todo) > 0 {
		j := g.Job(todo[0])
		todo = todo[1:]
		if j == nil {
			continue
		}
		for _, d := range next(j) {
			if (d.Soft && !soft) || found[d.Job] || d.Job == id {
				continue
			}
			found[d.Job] = true
			if all {
				todo = append(todo, d.Job)
			}
		}
	}
	var out []ID
	for _, j := range g.Jobs {
		if found[j.ID] {
			out = append(out, j.ID)
		}
	}
	return out
}

// Check tells what is wrong with the edges: a dependency that is not in the graph, or a cycle, with
// its members in order.
func (g *Graph) Check() error {
	for _, j := range g.Jobs {
		for _, d := range j.Dependencies {
			if g.Job(d.Job) == nil {
				return fmt.Errorf("job %s depends on %s, which is not in the graph", j.ID, d.Job)
			}
		}
	}
	done := map[ID]bool{}
	for _, j := range g.Jobs {
		if c := g.cycle(j.ID, nil, done); c != nil {
			return fmt.Errorf("dependency cycle detected in job %s: %v", c[0], c)
		}
	}
	return nil
}

func (g *Graph) cycle(id ID, path []ID, done map[ID]bool) []ID {
	if i := slices.Index(path, id); i >= 0 {
		return append(slices.Clone(path[i:]), id)
	}
	if done[id] {
		return nil
	}
	path = append(path, id)
	for _, d := range g.Job(id).Dependencies {
		if c := g.cycle(d.Job, path, done); c != nil {
			return c
		}
	}
	done[id] = true
	return nil
}
