package deps

import (
	"fmt"
	"slices"
	"strings"
)

// Pairs counts the pairs of jobs that share a pipeline, by what is known of them. Unknown is never
// independent.
type Pairs struct {
	All       int `json:"all"`
	Ordered   int `json:"ordered"`
	Exclusive int `json:"exclusive"`
	Unknown   int `json:"unknown"`
}

// Count counts the pairs of some pipelines, by enforced edges.
func (a *Analysis) Count(pipelines []string) Pairs {
	var p Pairs
	for i, x := range a.Jobs {
		for _, y := range a.Jobs[i+1:] {
			if !a.together(pipelines, x.Name, y.Name) {
				continue
			}
			p.All++
			kind := EdgeKind("")
			for _, e := range a.Between(x.Name, y.Name) {
				if e.Enforced() && kind != Order {
					kind = e.Kind
				}
			}
			switch kind {
			case Order:
				p.Ordered++
			case Mutex:
				p.Exclusive++
			default:
				p.Unknown++
			}
		}
	}
	return p
}

func (a *Analysis) together(pipelines []string, x, y string) bool {
	return slices.ContainsFunc(a.Pipelines, func(p Pipeline) bool {
		return slices.Contains(pipelines, p.Name) && p.Member(x) != nil && p.Member(y) != nil
	})
}

// Find is the job that a name means: itself, or the only one whose name ends with it. It is an error,
// with what there is, where there is none.
func (a *Analysis) Find(name string) (string, error) {
	if full := a.full(name); a.Job(full) != nil {
		return full, nil
	}
	var near []string
	for _, j := range a.Jobs {
		if strings.Contains(j.Name, name) {
			near = append(near, j.Name)
		}
	}
	if len(near) == 0 {
		for _, j := range a.Jobs {
			near = append(near, j.Name)
		}
	}
	return "", fmt.Errorf("no deployment job is called %q; there are: %s", name, list(near))
}

// Way is the shortest chain of declared dependencies from one job to another, both included; nil where
// there is none.
func (p *Pipeline) Way(from, to string) []string {
	return shortest(from, to, func(name string) []string {
		var out []string
		for _, m := range p.Members {
			if slices.ContainsFunc(m.After, func(d Dependency) bool { return d.Job == name }) && p.Member(name) != nil {
				out = append(out, m.Job)
			}
		}
		return out
	})
}

// Chain is the shortest chain of enforced order edges from one job to another; nil where there is none.
func (a *Analysis) Chain(from, to string) []Edge {
	way := shortest(from, to, func(name string) []string {
		var out []string
		for _, e := range a.Edges {
			if e.Kind == Order && e.Enforced() && e.First == name {
				out = append(out, e.Then)
			}
		}
		return out
	})
	var out []Edge
	for i := 1; i < len(way); i++ {
		for _, e := range a.Between(way[i-1], way[i]) {
			if e.Kind == Order && e.First == way[i-1] {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

// shortest is a breadth-first search.
func shortest(from, to string, next func(string) []string) []string {
	before := map[string]string{from: ""}
	todo := []string{from}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		for _, n := range next(at) {
			if _, seen := before[n]; seen {
				continue
			}
			before[n] = at
			if n == to {
				way := []string{n}
				for w := at; w != ""; w = before[w] {
					way = append(way, w)
				}
				slices.Reverse(way)
				return way
			}
			todo = append(todo, n)
		}
	}
	return nil
}
