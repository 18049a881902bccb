package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// finish makes the graph of the candidates: jobs that others need are forced, the others that do not match
// go, equal jobs of several changes become one, and edges are settled.
func (z *freezer) finish(g *job.Graph) *freezeError {
	z.force()
	z.candidates = slices.DeleteFunc(z.candidates, func(c *candidate) bool { return !c.matches })
	z.deduplicate()
	z.name()
	for _, c := range z.candidates {
		if err := z.resolve(c); err != nil {
			return err
		}
	}
	for _, c := range z.candidates {
		if c.pending != nil {
			return c.pending.at(c.attached, "")
		}
	}
	for _, c := range z.candidates {
		j := c.Job
		g.Jobs = append(g.Jobs, &j)
	}
	if err := g.Check(); err != nil {
		i := slices.IndexFunc(z.candidates, func(c *candidate) bool { return len(c.Dependencies) > 0 })
		return &freezeError{z.candidates[i].attached, "dependencies", sentence(err.Error())}
	}
	g.Projects = z.projects(g)
	return nil
}

// deduplicate lets one job stand for the equal ones of other changes.
func (z *freezer) deduplicate() {
	if len(z.in.Changes) < 2 {
		return
	}
	var kept []*candidate
	for _, c := range z.candidates {
		i := slices.IndexFunc(kept, func(k *candidate) bool { return k.combines(c) })
		if i < 0 {
			kept = append(kept, c)
			continue
		}
		k := kept[i]
		if z.triggered(c.change) && !z.triggered(k.change) {
			// The job of the change that the event was about survives, at the place of the first.
			c.merged = append([]*change.Change{k.change}, k.merged...)
			kept[i] = c
			continue
		}
		k.merged = append(k.merged, c.change)
	}
	z.candidates = kept
}

func (z *freezer) triggered(c *change.Change) bool {
	t := z.in.Trigger
	return t.Key != "" && t.Key == c.Key() || t.Stable != "" && t.Stable == c.Stable()
}

// combines tells whether two jobs of different changes may be one.
func (k *candidate) combines(c *candidate) bool {
	if k.Name != c.Name || k.change == c.change {
		return false
	}
	if k.Name == job.Noop {
		return true
	}
	if k.Deduplicate == "false" || c.Deduplicate == "false" {
		return false
	}
	if k.Deduplicate == "auto" && len(k.RequiredProjects) == 0 && k.change.Project != c.change.Project {
		return false
	}
	return k.same(c.frozen)
}

// covers tells whether the job runs for the change.
func (c *candidate) covers(ch *change.Change) bool {
	return c.change == ch || slices.Contains(c.merged, ch)
}

// find is the job of a name that runs for the change.
func (z *freezer) find(name string, ch *change.Change) *candidate {
	for _, c := range z.candidates {
		if c.Name == name && c.covers(ch) {
			return c
		}
	}
	return nil
}

func (c *candidate) changes() []*change.Change {
	return append([]*change.Change{c.change}, c.merged...)
}

// force lets hard dependencies of jobs that run, run too, whatever their file matchers say.
func (z *freezer) force() {
	var todo []*candidate
	for _, c := range z.candidates {
		if c.matches {
			todo = append(todo, c)
		}
	}
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		for _, d := range c.deps {
			if d.Soft {
				continue
			}
			for _, ch := range c.changes() {
				if parent := z.find(d.Name, ch); parent != nil && !parent.matches {
					parent.matches = true
					z.remarks.add("Job %s runs because job %s depends on it", d.Name, c.Name)
					todo = append(todo, parent)
				}
			}
		}
	}
}

// name gives the jobs their ids and refs.
func (z *freezer) name() {
	count := map[string]int{}
	for _, c := range z.candidates {
		count[c.Name]++
	}
	for _, c := range z.candidates {
		c.ID = job.ID(c.Name)
		if count[c.Name] > 1 {
			c.ID = job.ID(c.Name + " " + string(c.change.Key()))
		}
		c.Refs = nil
		for _, ch := range c.changes() {
			c.Refs = append(c.Refs, ch.Key())
		}
	}
}

// resolve turns the names that a job depends on into edges of the graph.
func (z *freezer) resolve(c *candidate) *freezeError {
	for _, d := range c.deps {
		if known := z.l.jobs[d.Name]; d.Soft && (known == nil || len(known.variants) == 0) {
			return &freezeError{c.attached, "dependencies", fmt.Sprintf("Job %s not defined, on which job %s depends", d.Name, c.Name)}
		}
		for _, ch := range c.changes() {
			parent := z.find(d.Name, ch)
			if parent == nil {
				if d.Soft {
					continue
				}
				return &freezeError{c.attached, "dependencies", fmt.Sprintf("Job %s depends on %s which was not run", c.Name, d.Name)}
			}
			edge := job.Dependency{Job: parent.ID, Soft: d.Soft}
			if !slices.Contains(c.Dependencies, edge) {
				c.Dependencies = append(c.Dependencies, edge)
			}
		}
	}
	return nil
}

// projects are the repositories that the jobs need beyond the item's own.
func (z *freezer) projects(g *job.Graph) []change.Project {
	seen := map[change.Project]bool{{}: true}
	for _, c := range z.in.Changes {
		seen[c.Project] = true
	}
	var out []change.Project
	add := func(p change.Project) {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	for _, j := range g.Jobs {
		for _, r := range j.RequiredProjects {
			add(r.Project)
		}
		for _, iv := range j.IncludeVars {
			add(iv.Project)
		}
		for _, books := range [][]job.Playbook{j.PreRun, j.Run, j.PostRun} {
			for _, b := range books {
				add(b.Source.Project)
				for _, r := range b.Roles {
					add(r.Project)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b change.Project) int { return cmp.Compare(a.Canonical(), b.Canonical()) })
	return out
}

// sentence begins with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
