package simulate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// forgery is a forge with repositories that hold nothing but the list of changes that were merged: a
// commit is the hash of it.
type forgery struct {
	w       *world
	changes map[change.Key]*change.Change
	order   []change.Key
	// content is what a commit holds, oldest first.
	content map[string][]change.Key
	heads   map[string]string // by project
	// bad changes fail alone; a change clashes with others when they are tested together, or cannot be
	// merged beside them.
	bad      map[change.Key]bool
	clash    map[change.Key][]change.Key
	conflict map[change.Key][]change.Key
	// approved were let into the gate; excused are those of which nobody need hear any more.
	approved map[change.Key]bool
	excused  map[change.Key]bool
	said     map[change.Key][]string // by change: pipeline and action
	done     map[string]forge.Outcome
	landed   []change.Key
	by       *proc // who reports now
}

var projects = []change.Project{
	{Connection: "forge", Host: "forge.example.com", Name: "one"},
	{Connection: "forge", Host: "forge.example.com", Name: "two"},
}

func newForgery(w *world) *forgery {
	f := &forgery{
		w: w, changes: map[change.Key]*change.Change{}, content: map[string][]change.Key{}, heads: map[string]string{},
		bad: map[change.Key]bool{}, clash: map[change.Key][]change.Key{}, conflict: map[change.Key][]change.Key{},
		approved: map[change.Key]bool{}, excused: map[change.Key]bool{}, said: map[change.Key][]string{}, done: map[string]forge.Outcome{},
	}
	for _, p := range projects {
		f.heads[p.Name] = f.commit("", p.Name, nil)
	}
	return f
}

// commit makes a commit out of its parent, what makes it differ, and what it holds.
func (f *forgery) commit(parent, what string, content []change.Key) string {
	sum := sha256.Sum256([]byte(parent + "\x00" + what))
	c := hex.EncodeToString(sum[:8])
	f.content[c] = content
	return c
}

func (*forgery) Name() string   { return "forge" }
func (*forgery) Driver() string { return "forge" }
func (*forgery) Host() string   { return "forge.example.com" }

// Change reads a change.
func (f *forgery) Change(_ context.Context, p change.Project, number, patchset string) (*change.Change, error) {
	if c := f.changes[change.ChangeKey(p, number, patchset)]; c != nil {
		d := *c
		return &d, nil
	}
	return nil, forge.ErrNotFound
}

// Resolve knows no URLs: dependencies are in the changes.
func (f *forgery) Resolve(context.Context, string) (*change.Change, bool, error) {
	return nil, false, nil
}

// Dependents is empty: dependencies are in the changes.
func (f *forgery) Dependents(context.Context, *change.Change) ([]change.Key, error) { return nil, nil }

// Branches tells the one branch.
func (f *forgery) Branches(_ context.Context, p change.Project) ([]forge.Branch, error) {
	return []forge.Branch{{Name: "main", Commit: f.heads[p.Name]}}, nil
}

// Remote is nowhere: nobody fetches.
func (f *forgery) Remote(change.Project) forge.Remote { return forge.Remote{} }

// Report says something about a change, or merges it: where the branch is at the commit that the report
// names, and the same report once only.
func (f *forgery) Report(_ context.Context, r forge.Report) (forge.Outcome, error) {
	if o, ok := f.done[r.ID]; ok {
		return o, nil
	}
	k := r.Change.Key()
	var o forge.Outcome
	if r.Merge {
		o = f.land(k, r)
	} else {
		f.said[k] = append(f.said[k], r.Pipeline+" "+r.Action)
		f.w.trace("the forge hears from %s: %s of %s", r.Pipeline, r.Action, k)
	}
	f.done[r.ID] = o
	if !f.w.calm && f.w.odds(40) {
		f.w.faults["died after a report"]++
		panic(crash{f.by})
	}
	return o, nil
}

func (f *forgery) land(k change.Key, r forge.Report) forge.Outcome {
	c := f.changes[k]
	name := r.Change.Project.Name
	switch {
	case c.Merged:
		return forge.Outcome{Merged: true}
	case !c.Open:
		return forge.Outcome{Why: "it is closed"}
	case f.heads[name] != r.Base:
		return forge.Outcome{Moved: true, Why: "the branch moved"}
	}
	for _, n := range c.Needs(true) {
		if !f.changes[n].Merged && !slices.Contains(f.changes[n].Needs(true), k) {
			f.w.fail("%s landed before %s, which it needs", k, n)
		}
	}
	for _, j := range f.w.graphs[r.Buildset].Jobs {
		if passed := f.w.passed[r.Buildset+"/"+string(j.ID)]; j.Voting && !passed[r.Result] {
			f.w.fail("%s landed as %s, on which job %s of its buildset %s did not pass (it did on %v)", k, r.Result, j.ID, r.Buildset, passed)
		}
	}
	f.heads[name] = r.Result
	f.landed = append(f.landed, k)
	f.close(k, true)
	f.w.trace("%s lands as %s", k, r.Result)
	f.w.pushed(r.Change.Project, r.Base, r.Result)
	return forge.Outcome{Merged: true}
}

func (f *forgery) close(k change.Key, merged bool) {
	d := *f.changes[k]
	d.Open, d.Merged = false, merged
	f.changes[k] = &d
}

// merge is the merger: what conflicts is told, everything else has a commit that depends on nothing but
// the operations and their base.
func (f *forgery) merge(_ *store.Store, e *pipeline.Merge) (pipeline.Input, error) {
	out := &pipeline.Merged{Item: e.Item, Buildset: e.Buildset}
	if e.Refs {
		out.Result = &pipeline.MergeResult{}
		for _, op := range e.Operations {
			out.Result.Commits = append(out.Result.Commits, pipeline.Commit{Project: op.Project, Branch: op.Branch, Commit: op.NewRev, Base: op.NewRev, Change: op.Key})
		}
		return out, nil
	}
	heads := map[string]string{}
	res := &pipeline.MergeResult{}
	for _, op := range e.Operations {
		base := heads[op.Project.Name]
		if base == "" {
			base = f.heads[op.Project.Name]
		}
		have := f.content[base]
		for _, x := range f.conflict[op.Key] {
			if slices.Contains(have, x) {
				out.Conflict = fmt.Sprintf("%s conflicts with %s", op.Key, x)
				return out, nil
			}
		}
		c := base
		if !slices.Contains(have, op.Key) {
			c = f.commit(base, string(op.Key)+op.Time.String(), append(slices.Clone(have), op.Key))
		}
		heads[op.Project.Name] = c
		res.Commits = append(res.Commits, pipeline.Commit{Project: op.Project, Branch: op.Branch, Commit: c, Base: base, Tree: c, Change: op.Key})
	}
	out.Result = res
	return out, nil
}

// closure reads changes with all that they need and that needs them.
func (f *forgery) closure(keys ...change.Key) []*change.Change {
	var out []*change.Change
	seen := map[change.Key]bool{}
	for len(keys) > 0 {
		k := keys[0]
		keys = keys[1:]
		c := f.changes[k]
		if c == nil || seen[k] {
			continue
		}
		seen[k] = true
		d := *c
		out = append(out, &d)
		keys = append(append(keys, c.Needs(true)...), c.NeededBy()...)
	}
	return out
}
