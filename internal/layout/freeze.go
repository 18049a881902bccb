package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
)

// FreezeInput is what a job graph is frozen for.
type FreezeInput struct {
	Pipeline string
	// Changes of the item. Their Files count for file matchers (nil or empty: every job matches), the
	// ContainingBranches of tags for branch matchers.
	Changes []*change.Change
	// Trigger is the event that enqueued the item.
	Trigger event.Ref
	// Ahead is the layout of the item ahead (or the live one): jobs whose file matchers fail still run
	// where they differ from it. Nil: file matchers alone decide.
	Ahead *Layout
}

// Frozen is what freezing comes to.
type Frozen struct {
	// Graph is nil where there are Problems, or where the item is not in the pipeline.
	Graph *job.Graph
	// NotInPipeline: no project of the item has a section for the pipeline.
	NotInPipeline bool
	Problems      []config.Problem
}

// Freeze makes the job graph of an item. The same input always gives the same graph.
func (l *Layout) Freeze(in FreezeInput) Frozen {
	f, _ := l.freeze(in)
	return f
}

// freeze gives the jobs of the graph also as they were frozen, in its order.
func (l *Layout) freeze(in FreezeInput) (Frozen, []*candidate) {
	return (&freezer{l: l, in: in}).run()
}

func (z *freezer) run() (Frozen, []*candidate) {
	l, in := z.l, z.in
	z.debugged()
	settings := l.Pipeline(in.Pipeline)
	postReview := settings != nil && settings.PostReview
	graph := &job.Graph{}
	found := false
	for _, c := range in.Changes {
		section, ok := l.section(c, in.Pipeline)
		if !ok {
			continue
		}
		found = true
		if section.failFast.Set {
			graph.FailFast = section.failFast.Value
		}
		if err := z.change(c, section, postReview); err != nil {
			return Frozen{Problems: []config.Problem{err.problem()}}, nil
		}
	}
	if !found {
		return Frozen{NotInPipeline: true}, nil
	}
	if err := z.finish(graph); err != nil {
		return Frozen{Problems: []config.Problem{err.problem()}}, nil
	}
	if z.remarks != nil {
		graph.Debug = *z.remarks
	}
	return Frozen{Graph: graph}, z.candidates
}

// freezer holds the state of one Freeze.
type freezer struct {
	l          *Layout
	in         FreezeInput
	candidates []*candidate
	remarks    *remarks
	// everything: file matchers have no say.
	everything bool
	// before is the graph of the layout ahead, made when it is asked for.
	before *freezer
	broken bool // it cannot be made
}

// candidate is a job that may come into the graph.
type candidate struct {
	*frozen
	change *change.Change
	// matches: its file matchers want it, or a job that needs it does.
	matches bool
	pending *freezeError
	// merged are the changes of equal jobs that it stands for too.
	merged []*change.Change
}

// change freezes the jobs of one change.
func (z *freezer) change(c *change.Change, s *section, postReview bool) *freezeError {
	for _, name := range s.names {
		f, err := z.l.freezeJob(c, name, s, z.remarks)
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		if len(z.in.Trigger.Images) > 0 && !slices.Contains(z.in.Trigger.Images, f.ImageBuildName) {
			continue
		}
		cand := &candidate{frozen: f, change: c}
		cand.matches = z.everything || f.matchesFiles(c) || z.altered(f, c)
		if !cand.matches {
			z.remarks.add("  Job %s did not match the changed files", name)
		}
		cand.pending = f.pending(c, postReview, z.in.Pipeline)
		z.candidates = append(z.candidates, cand)
	}
	return nil
}

// pending is what forbids the job, should it come to run.
func (f *frozen) pending(c *change.Change, postReview bool, pipeline string) *freezeError {
	switch {
	case f.abstract:
		return &freezeError{text: fmt.Sprintf("Job %s is abstract and may not be directly run", f.Name)}
	case f.limited && !f.ignoreAllowed && !slices.Contains(f.allowed, c.Project.Name):
		return &freezeError{text: fmt.Sprintf("Project %s is not allowed to run job %s", c.Project.Name, f.Name)}
	case f.PostReview && !postReview:
		return &freezeError{text: fmt.Sprintf("Pre-review pipeline %s does not allow post-review job %s", pipeline, f.Name)}
	case len(f.Run) == 0 && f.Name != job.Noop:
		return &freezeError{text: fmt.Sprintf("Job %s does not specify a run playbook", f.Name)}
	}
	return nil
}

// freezeJob applies all definitions that hold for the change; nil where some ancestor or the
// project-pipeline has none.
func (l *Layout) freezeJob(c *change.Change, name string, s *section, say *remarks) (*frozen, *freezeError) {
	say.add("Freezing job %s for %s", name, c.ID())
	uses := make([]*Variant, 0, len(s.uses[name]))
	seed := overrides{}
	for _, v := range s.uses[name] {
		if matchesBranch(v.Branches, c, "") {
			uses = append(uses, v)
			l.noteOverrides(seed, v)
		}
	}
	walk := collector{l: l, change: c, say: say}
	matched, err := walk.collect(name, seed, nil)
	if err != nil {
		if len(s.uses[name]) > 0 && err.variant == nil {
			err.variant = s.uses[name][0]
		}
		return nil, err
	}
	if !matched {
		say.add("  No matching variants for job %s", name)
		return nil, nil
	}
	f := newFrozen(l, name)
	f.attached = s.uses[name][0]
	for _, v := range walk.found {
		if err := f.apply(v); err != nil {
			return nil, err
		}
	}
	f.Vars = deepMerge(s.vars, f.Vars)
	f.AnsibleVersion = cmp.Or(f.AnsibleVersion, l.tenant.DefaultAnsibleVersion)
	for _, v := range s.uses[name] {
		say.variant("Pipeline", v, c, slices.Contains(uses, v))
	}
	if len(uses) == 0 {
		say.add("  No matching pipeline variants for job %s", name)
		return nil, nil
	}
	for _, v := range uses {
		if err := f.apply(v); err != nil {
			return nil, err
		}
	}
	f.PostRun = slices.Concat(f.PostRun, f.cleanup)
	f.cleanup = nil
	f.Hash = f.hash()
	return f, nil
}

// commitMessage is the pseudo file that Gerrit lists with each change.
const commitMessage = "/COMMIT_MSG"

// matchesFiles holds the file matchers against the files of the change. Where no file is known, they
// have no say.
func (f *frozen) matchesFiles(c *change.Change) bool {
	files := slices.DeleteFunc(slices.Clone(c.Files), func(s string) bool { return s == commitMessage })
	if len(files) == 0 {
		return true
	}
	if len(f.files) > 0 && !slices.ContainsFunc(files, func(s string) bool { return anyMatch(f.files, s) }) {
		return false
	}
	return len(f.irrelevant) == 0 || slices.ContainsFunc(files, func(s string) bool { return !anyMatch(f.irrelevant, s) })
}

func anyMatch(ps []change.Pattern, s string) bool {
	return slices.ContainsFunc(ps, func(p change.Pattern) bool { return p.Match(s) })
}

// altered tells whether the job differs from what it is in the layout ahead, and runs for that reason
// although its file matchers fail. Where the graph ahead cannot be made, they have the last word.
func (z *freezer) altered(f *frozen, c *change.Change) bool {
	ahead := z.in.Ahead
	if !f.matchConfig || ahead == nil || ahead.ID == z.l.ID {
		return false
	}
	if z.before == nil {
		in := z.in
		in.Ahead = nil
		z.before = &freezer{l: ahead, in: in, everything: true}
		was, _ := z.before.run()
		z.broken = len(was.Problems) > 0
	}
	if z.broken {
		return false
	}
	old := z.before.find(f.Name, c)
	return old == nil || old.Hash != f.Hash
}
