package layout

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// Difference is one frozen job that two layouts have differently.
type Difference struct {
	Project  change.Project `json:"project"`
	Branch   string         `json:"branch"`
	Pipeline string         `json:"pipeline"`
	// Job is empty where the graph as a whole can be frozen in one layout only.
	Job string `json:"job,omitempty"`
	// Kind is added, removed, changed, broken or repaired.
	Kind string `json:"kind"`
	// Attributes are those that changed, by their names in the frozen job; Error, why a graph is broken.
	Attributes []string `json:"attributes,omitempty"`
	Error      string   `json:"error,omitempty"`
}

// Diff lists what becomes of the frozen jobs of every project, branch and pipeline when l takes the
// place of old: in load order, for a change of unknown files.
func (l *Layout) Diff(old *Layout) []Difference {
	var out []Difference
	for _, p := range union(old.projects, l.projects) {
		for _, branch := range branchUnion(old.names[p.canon], l.names[p.canon]) {
			c := &change.Change{Kind: change.KindChange, Project: p.in.Project, Branch: branch, Number: "1", Patchset: "1"}
			for _, name := range pipelineUnion(old, l) {
				for _, d := range diffGraph(old, l, c, name) {
					d.Project, d.Branch, d.Pipeline = p.in.Project, branch, name
					out = append(out, d)
				}
			}
		}
	}
	return out
}

func union(a, b []*project) []*project {
	out := slices.Clone(b)
	seen := map[string]bool{}
	for _, p := range b {
		seen[p.canon] = true
	}
	for _, p := range a {
		if !seen[p.canon] {
			out = append(out, p)
		}
	}
	return out
}

func branchUnion(projects ...*project) []string {
	var out []string
	for _, p := range projects {
		if p == nil {
			continue
		}
		for _, b := range p.branches {
			if !slices.Contains(out, b.Name) {
				out = append(out, b.Name)
			}
		}
	}
	return out
}

func pipelineUnion(layouts ...*Layout) []string {
	var out []string
	for _, l := range layouts {
		for _, p := range l.Pipelines {
			if !slices.Contains(out, p.Name) {
				out = append(out, p.Name)
			}
		}
	}
	return out
}

func diffGraph(old, l *Layout, c *change.Change, pipeline string) []Difference {
	in := FreezeInput{Pipeline: pipeline, Changes: []*change.Change{c}}
	a, b := old.Freeze(in), l.Freeze(in)
	switch {
	case len(b.Problems) > 0 && len(a.Problems) == 0:
		return []Difference{{Kind: "broken", Error: b.Problems[0].Short}}
	case len(a.Problems) > 0 && len(b.Problems) == 0:
		return []Difference{{Kind: "repaired"}}
	case len(b.Problems) > 0:
		return nil
	}
	var out []Difference
	for _, j := range jobsOf(b.Graph) {
		was := a.Graph.Job(j.ID)
		if was == nil {
			out = append(out, Difference{Job: j.Name, Kind: "added"})
		} else if attrs := changed(was, j); len(attrs) > 0 {
			out = append(out, Difference{Job: j.Name, Kind: "changed", Attributes: attrs})
		}
	}
	for _, j := range jobsOf(a.Graph) {
		if b.Graph.Job(j.ID) == nil {
			out = append(out, Difference{Job: j.Name, Kind: "removed"})
		}
	}
	return out
}

func jobsOf(g *job.Graph) []*job.Job {
	if g == nil {
		return nil
	}
	return g.Jobs
}

// changed names the fields in which two frozen jobs differ, where they were declared aside.
func changed(a, b *job.Job) []string {
	x, y := fields(a), fields(b)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(x)) {
		if y[k] != x[k] {
			out = append(out, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(y)) {
		if _, ok := x[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func fields(j *job.Job) map[string]string {
	c := *j
	c.PreRun, c.Run, c.PostRun = pathless(c.PreRun), pathless(c.Run), pathless(c.PostRun)
	var raw map[string]json.RawMessage
	b, err := json.Marshal(&c)
	if err == nil {
		err = json.Unmarshal(b, &raw)
	}
	if err != nil {
		panic("layout: a frozen job is plain data: " + err.Error())
	}
	out := make(map[string]string, len(raw))
	for k, v := range raw {
		switch k {
		case "path", "hash", "refs":
		default:
			out[k] = string(v)
		}
	}
	return out
}
