package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
)

// world is everybody around the core: the forge with its branches, the merger, the layout, the launcher,
// executors and the reporter. Effects pile up in todo until somebody (a story, chance) has one carried out;
// their outcomes are steps like any other input.
//
// A commit is the sequence of everything that was merged: "0 A/1 B/1". So what a build ran on, what a branch
// is at and what landed before it can be compared as texts.
type world struct {
	s   *State
	sem *Semaphores
	now time.Time
	// inputs counts steps; it is their seed.
	inputs int
	// jobs makes the job graph of an item.
	jobs func(changes []*change.Change) *job.Graph
	// conflicts are pairs of changes that git cannot merge on top of each other.
	conflicts map[[2]string]bool

	forge map[string]*change.Change // by number: the newest patch set
	heads map[string]string         // by project and branch
	todo  []Effect
	runs  []*run
	nodes map[string]bool // handed out, not given back
	// stepped sees every input with its effects.
	stepped func(in Input, effects []Effect, touched []ItemID)
	// landed lists what was merged by the pipeline, in order.
	landed []landing
}

// run is a build that an executor has.
type run struct {
	*Start
	canceled, paused bool
}

// landing is one change that got merged, as which commit, and what its branch was at just before.
type landing struct {
	number, commit, before string
	report                 *Report
}

func newWorld(settings Settings, tenant Tenant) *world {
	w := &world{s: &State{}, sem: &Semaphores{}, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		conflicts: map[[2]string]bool{}, forge: map[string]*change.Change{}, heads: map[string]string{}, nodes: map[string]bool{}}
	w.jobs = func([]*change.Change) *job.Graph { return &job.Graph{} }
	w.step(&Reconfigure{Settings: settings, Tenant: tenant})
	return w
}

// step gives the core an input, and takes its effects in.
func (w *world) step(in Input) {
	w.inputs++
	w.now = w.now.Add(time.Second)
	effects, touched := Step(w.s, w.sem, w.meta(), in)
	for _, e := range effects {
		w.take(e)
	}
	if w.stepped != nil {
		w.stepped(in, effects, touched)
	}
}

func (w *world) meta() Meta { return Meta{Now: w.now, Seed: fmt.Sprint("seed ", w.inputs)} }

// take notes what is to be done now.
func (w *world) take(e Effect) {
	switch e := e.(type) {
	case *Start:
		w.runs = append(w.runs, &run{Start: e})
	case *Cancel:
		if r := w.run(e.Build); r != nil {
			r.canceled, r.paused = true, false
		}
	case *Resume:
		if r := w.run(e.Build); r != nil {
			r.paused = false
		}
	case *ReturnNodes:
		w.todo = slices.DeleteFunc(w.todo, func(x Effect) bool {
			r, ok := x.(*RequestNodes)
			return ok && r.Request == e.Request
		})
		for _, n := range e.Nodes {
			delete(w.nodes, n)
		}
	case *Merge, *Configure, *RepoState, *RequestNodes, *Refetch, *Requeue, *FindArtifacts, *FindHazards:
		w.todo = append(w.todo, e)
	case *Report:
		if e.Merge {
			w.todo = append(w.todo, e)
		}
	}
}

func (w *world) run(id BuildID) *run {
	i := slices.IndexFunc(w.runs, func(r *run) bool { return r.Build == id })
	if i < 0 {
		return nil
	}
	return w.runs[i]
}

// drop forgets an effect that was carried out.
func (w *world) drop(e Effect) {
	w.todo = slices.DeleteFunc(w.todo, func(x Effect) bool { return x == e })
}

// outcome carries an effect out as it is meant to be; the caller steps what comes of it (several inputs for
// a Requeue).
func (w *world) outcome(e Effect) []Input {
	switch e := e.(type) {
	case *Merge:
		return []Input{w.merge(e)}
	case *Configure:
		return []Input{&Configured{Item: e.Item, Buildset: e.Buildset, Layout: w.s.Tenant.Layout, Graph: w.jobs(e.Changes),
			NotInPipeline: !slices.ContainsFunc(e.Changes, func(c *change.Change) bool {
				return w.s.Tenant.Projects[c.Project.Canonical()].InPipeline
			})}}
	case *RepoState:
		return []Input{&RepoStated{Item: e.Item, Buildset: e.Buildset, RepoState: "state"}}
	case *RequestNodes:
		in := &NodesReady{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Request: e.Request, Provider: "cloud"}
		for i := range e.Nodeset.Nodes {
			n := fmt.Sprint(e.Request, "-", i)
			w.nodes[n] = true
			in.Nodes = append(in.Nodes, n)
		}
		return []Input{in}
	case *Refetch:
		return []Input{&Refresh{Changes: w.closure(e.Keys...), Token: e.Token}}
	case *Requeue:
		var out []Input
		for _, k := range e.Keys {
			if c := w.at(k); c != nil {
				out = append(out, &Enqueue{Key: c.Key(), Changes: w.closure(c.Key()), Event: e.Event})
			}
		}
		return out
	case *FindArtifacts:
		return []Input{&Provided{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Token: e.Token}}
	case *FindHazards:
		return []Input{&HazardsFound{Item: e.Item, Buildset: e.Buildset, Token: e.Token}}
	case *Report:
		return []Input{w.land(e, nil)}
	}
	panic(fmt.Sprintf("nobody carries out %T", e))
}

// at is the change with the key, if that is still its newest patch set.
func (w *world) at(k change.Key) *change.Change {
	for _, c := range w.forge {
		if c.Key() == k {
			return c
		}
	}
	return nil
}

// read is what the forge tells of the change with the key, at that patch set.
func (w *world) read(k change.Key) *change.Change {
	_, _, number, patchset, _ := k.Parts()
	c := w.forge[number]
	if c == nil || c.Patchset == patchset {
		return c
	}
	d := *c
	d.Patchset, d.Ref, d.Current = patchset, "refs/changes/"+number+"/"+patchset, false
	return &d
}

func (w *world) head(c *change.Change) string {
	if h := w.heads[branchOf(c)]; h != "" {
		return h
	}
	return "0"
}

func branchOf(c *change.Change) string { return c.Project.Name + " " + c.Branch }

// merge makes the speculative commits, each operation on top of the one before on its branch.
func (w *world) merge(e *Merge) *Merged {
	in := &Merged{Item: e.Item, Buildset: e.Buildset}
	r := &MergeResult{}
	heads := map[string]string{}
	for _, op := range e.Operations {
		c := &change.Change{Project: op.Project, Branch: op.Branch}
		base := heads[branchOf(c)]
		if base == "" {
			base = w.head(c)
		}
		commit := base
		if !contains(base, op.Number, op.Patchset) {
			commit = base + " " + op.Number + "/" + op.Patchset
		}
		for _, x := range strings.Fields(base) {
			other, _, _ := strings.Cut(x, "/")
			if w.conflicts[[2]string{other, op.Number}] || w.conflicts[[2]string{op.Number, other}] {
				in.Conflict = "Error merging " + string(op.Key)
				return in
			}
		}
		heads[branchOf(c)] = commit
		r.Commits = append(r.Commits, Commit{Project: op.Project, Branch: op.Branch, Commit: commit, Base: base, Change: op.Key})
	}
	in.Result = r
	for _, k := range e.Files {
		if in.Files == nil {
			in.Files = map[change.Key][]string{}
		}
		in.Files[k] = []string{"README"}
	}
	return in
}

// contains tells whether a commit has a change at its patch set.
func contains(commit, number, patchset string) bool {
	return slices.Contains(strings.Fields(commit), number+"/"+patchset)
}

// land does what a forge and the reporter do: the tested commit becomes the head of its branch, if the
// branch is still at what it was made upon. no are changes whose merge the forge refuses.
func (w *world) land(e *Report, no func(number string) bool) *Reported {
	out := &Reported{Item: e.Item, Buildset: e.Buildset, Report: e.ID, Merged: map[change.Key]bool{}, Why: map[change.Key]string{}}
	if w.torn(e) {
		for _, c := range e.Changes {
			out.Merged[c.Key()], out.Why[c.Key()] = false, "not all changes of the cycle can be merged"
		}
		return out
	}
	for _, c := range e.Changes {
		f := w.forge[c.Number]
		switch i := slices.IndexFunc(e.Commits, func(m Commit) bool { return m.Change == c.Key() }); {
		case f.Merged && contains(w.head(c), c.Number, c.Patchset):
			out.Merged[c.Key()] = true
			continue
		case !f.Open || f.Patchset != c.Patchset:
			out.Why[c.Key()] = "it is not open at this patch set"
		case no != nil && no(c.Number):
			out.Why[c.Key()] = "the forge says no"
		case i < 0:
			out.Why[c.Key()] = "there is no tested commit"
		case e.Commits[i].Base != w.head(c):
			out.Moved = true
			out.Why[c.Key()] = "the branch is at " + w.head(c)
		default:
			w.landed = append(w.landed, landing{c.Number, e.Commits[i].Commit, w.head(c), e})
			w.heads[branchOf(c)] = e.Commits[i].Commit
			w.close(c.Number, true)
			out.Merged[c.Key()] = true
			continue
		}
		out.Merged[c.Key()] = false
		break
	}
	return out
}

// torn tells whether a cycle, none of which is merged, could only be merged in part: the reporter looks before it
// begins.
func (w *world) torn(e *Report) bool {
	gone := 0
	for _, c := range e.Changes {
		f := w.forge[c.Number]
		if f.Merged {
			return false
		}
		if !f.Open || f.Patchset != c.Patchset {
			gone++
		}
	}
	return len(e.Changes) > 1 && gone > 0
}

// close takes a change out of the open ones.
func (w *world) close(number string, merged bool) {
	c := *w.forge[number]
	c.Open, c.Merged, c.Status = false, merged, "ABANDONED"
	if merged {
		c.Status = "MERGED"
	}
	w.forge[number] = &c
}

// push moves a branch behind the pipeline's back.
func (w *world) push(project, branch string) {
	c := &change.Change{Project: change.Project{Name: project}, Branch: branch}
	w.heads[branchOf(c)] = fmt.Sprint(w.head(c), " push/", w.inputs)
}

// propose makes a change known to the forge.
func (w *world) propose(p change.Project, branch, number string, needs ...string) *change.Change {
	c := &change.Change{Kind: change.KindChange, Project: p, Branch: branch, Number: number, Patchset: "1",
		Ref: "refs/changes/" + number + "/1", Files: []string{"README"}, Open: true, Current: true, Status: "NEW",
		URL: "https://review.example.com/" + number}
	w.forge[number] = c
	w.depend(number, needs...)
	return w.forge[number]
}

// depend sets the footers of a change.
func (w *world) depend(number string, needs ...string) {
	c := *w.forge[number]
	c.FooterNeeds = nil
	for _, n := range needs {
		if f := w.forge[n]; f != nil {
			c.FooterNeeds = append(c.FooterNeeds, f.Key())
		}
	}
	w.forge[number] = &c
}

// patchset makes a new patch set; footers of others that named the change name it still.
func (w *world) patchset(number string) *change.Change {
	old := w.forge[number]
	c := *old
	n := 0
	_, _ = fmt.Sscan(c.Patchset, &n)
	c.Patchset = fmt.Sprint(n + 1)
	c.Ref = "refs/changes/" + number + "/" + c.Patchset
	w.forge[number] = &c
	for k, o := range w.forge {
		if i := slices.Index(o.FooterNeeds, old.Key()); i >= 0 {
			d := *o
			d.FooterNeeds = slices.Clone(o.FooterNeeds)
			d.FooterNeeds[i] = c.Key()
			w.forge[k] = &d
		}
	}
	return &c
}

// closure is what the scheduler reads of changes: what they need and what needs them, transitively.
func (w *world) closure(keys ...change.Key) []*change.Change {
	var out []*change.Change
	seen := map[change.Key]bool{}
	numbers := w.numbers()
	for todo := slices.Clone(keys); len(todo) > 0; todo = todo[1:] {
		c := w.read(todo[0])
		if c == nil || seen[todo[0]] {
			continue
		}
		seen[todo[0]] = true
		d := *c
		d.FooterNeededBy, d.GitNeededBy = nil, nil
		for _, n := range numbers {
			o := w.forge[n]
			if o.Open && slices.Contains(o.FooterNeeds, c.Key()) {
				d.FooterNeededBy = append(d.FooterNeededBy, o.Key())
			}
			if o.Open && slices.Contains(o.GitNeeds, c.Key()) {
				d.GitNeededBy = append(d.GitNeededBy, o.Key())
			}
		}
		out = append(out, &d)
		if !c.Merged {
			for _, more := range [][]change.Key{d.GitNeeds, d.FooterNeeds, d.GitNeededBy, d.FooterNeededBy} {
				todo = append(todo, more...)
			}
		}
	}
	return out
}

// numbers are those of all changes, in order.
func (w *world) numbers() []string {
	out := make([]string, 0, len(w.forge))
	for n := range w.forge {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// tell is an event about a change; match: a trigger wants it.
func (w *world) tell(kind, number string, match bool) *Trigger {
	c := w.forge[number]
	return &Trigger{
		Event: event.Event{ID: fmt.Sprint("e", w.inputs), Driver: "gerrit", Type: kind, Project: c.Project, Number: number, Patchset: c.Patchset},
		Key:   c.Key(), Changes: w.closure(c.Key()), Match: match,
	}
}

// end takes a build from its executor.
func (w *world) end(r *run, result Result) *BuildEnded {
	w.runs = slices.DeleteFunc(w.runs, func(x *run) bool { return x == r })
	return &BuildEnded{Build: r.Build, Result: result, At: w.now}
}
