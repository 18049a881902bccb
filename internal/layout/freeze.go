package layout

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

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

// remarks tell people how the jobs were chosen. A nil *remarks takes none.
type remarks []string

func (r *remarks) add(format string, args ...any) {
	if r != nil {
		*r = append(*r, fmt.Sprintf(format, args...))
	}
}

// variant tells whether a definition holds for the change.
func (r *remarks) variant(kind string, v *Variant, c *change.Change, matched bool) {
	if r == nil {
		return
	}
	word := "did not match"
	if matched {
		word = "matched"
	}
	at := v.File.Source.Path
	if v.Span.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, v.Span.Line)
	}
	if p := v.File.Source.Project.Name; p != "" {
		at = fmt.Sprintf("%s/%s@%s", p, at, v.File.Source.Branch)
	}
	r.add("  %s variant %s (%s) %s %s", kind, v.Name, at, word, c.ID())
}

// leftOut are the remarks that say why something does not count.
func (r remarks) leftOut() []string {
	var out []string
	for _, s := range r {
		if strings.Contains(s, "did not match") || strings.Contains(s, "No matching") || strings.Contains(s, "is not defined") {
			out = append(out, strings.TrimSpace(s))
		}
	}
	return out
}

// debugged has remarks taken where the project of some change asks for them.
func (z *freezer) debugged() {
	for _, c := range z.in.Changes {
		if s, ok := z.l.section(c, z.in.Pipeline); ok && s.debug {
			z.remarks = &remarks{}
			return
		}
	}
}

// section is what all stanzas and templates of a project say of one pipeline for one change.
type section struct {
	names []string
	uses  map[string][]*Variant
	vars  map[string]any
	// varsOf are the stanzas and templates that vars come from, in order.
	varsOf   []*stanza
	failFast config.Setting[bool]
	debug    bool
}

// section walks the project's stanzas in load order. Not ok: nothing mentions the pipeline.
func (l *Layout) section(c *change.Change, pipeline string) (*section, bool) {
	p := l.names[c.Project.Canonical()]
	if p == nil {
		return nil, false
	}
	s := &section{uses: map[string][]*Variant{}}
	found := false
	for _, st := range p.stanzas {
		if !matchesBranch(st.branches, c, "") {
			continue
		}
		for _, t := range st.templates {
			for _, tv := range t.variants {
				if tv.Pipeline(pipeline) == nil || !matchesBranch(tv.branches, c, "") {
					continue
				}
				found = true
				s.add(tv, pipeline)
				s.addVars(tv)
			}
		}
		s.addVars(st)
		if st.Pipeline(pipeline) != nil {
			found = true
			s.add(st, pipeline)
		}
	}
	return s, found
}

// Runs tells whether a project of the changes has something to do with a pipeline.
func (l *Layout) Runs(pipeline string, changes []*change.Change) bool {
	return slices.ContainsFunc(changes, func(c *change.Change) bool {
		_, ok := l.section(c, pipeline)
		return ok
	})
}

func (s *section) addVars(st *stanza) {
	if len(st.Vars) > 0 {
		s.vars = deepMerge(s.vars, st.Vars)
		s.varsOf = append(s.varsOf, st)
	}
}

// add merges the job list of one stanza or template.
func (s *section) add(st *stanza, pipeline string) {
	for i := range st.Pipelines {
		pp := &st.Pipelines[i]
		if pp.Pipeline != pipeline {
			continue
		}
		if !s.failFast.Set {
			s.failFast = pp.FailFast
		}
		s.debug = s.debug || pp.Debug
		for _, v := range st.uses[i] {
			list, known := s.uses[v.Name]
			if !known {
				s.names = append(s.names, v.Name)
			}
			if !slices.ContainsFunc(list, func(o *Variant) bool { return sameVariant(o, v) }) {
				s.uses[v.Name] = append(list, v)
			}
		}
	}
}

// sameVariant tells whether two definitions are equal, place in the file aside.
func sameVariant(a, b *Variant) bool {
	if a == b || a.Job == b.Job && a.File == b.File {
		return true
	}
	if a.Name != b.Name || a.File.Source != b.File.Source || len(a.Attrs) != len(b.Attrs) || a.Granted != b.Granted {
		return false
	}
	x, y := *a.Job, *b.Job
	x.Object, y.Object = config.Object{}, config.Object{}
	return reflect.DeepEqual(&x, &y)
}

// matchesBranch tells whether one of the patterns (none: always) matches the change, or the branch that
// overrides it.
func matchesBranch(ps []change.Pattern, c *change.Change, override string) bool {
	if len(ps) == 0 {
		return true
	}
	for _, p := range ps {
		switch {
		case override != "":
			if p.Match(override) {
				return true
			}
		case c.Branch != "":
			if p.Match(c.Branch) {
				return true
			}
		default:
			if p.Match(c.Ref) || slices.ContainsFunc(c.ContainingBranches, p.Match) {
				return true
			}
		}
	}
	return false
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

// overrides are checkouts that replace the change's branch when variants are chosen: by canonical
// project name, the empty name for all projects.
type overrides map[string]string

func (l *Layout) noteOverrides(o overrides, v *Variant) {
	if v.OverrideCheckout.Value != "" {
		o[""] = v.OverrideCheckout.Value
	}
	for _, r := range v.RequiredProjects.Value {
		if p := l.names[r.Project]; p != nil && r.OverrideCheckout != "" {
			o[p.canon] = r.OverrideCheckout
		}
	}
}

// collector gathers the definitions of a job and its ancestors, base first.
type collector struct {
	l       *Layout
	change  *change.Change
	found   []*Variant
	visited map[string]bool
	say     *remarks
}

// collect adds the definitions of one name, each after those of its parent. Not matched: the name, or
// an ancestor, has none that holds for the change, or none at all, which is an error of the layout and none of
// the change.
func (w *collector) collect(name string, outer overrides, stack []string) (matched bool, err *freezeError) {
	d := w.l.jobs[name]
	if d == nil || len(d.variants) == 0 {
		w.say.add("  Job %s is not defined", name)
		return false, nil
	}
	if w.visited == nil {
		w.visited = map[string]bool{}
	}
	w.visited[name] = true
	stack = append(slices.Clip(stack), name)
	local := maps.Clone(outer)
	for _, v := range d.variants {
		// What a variant overrides counts for its parents, not for its siblings.
		ok := matchesBranch(v.Branches, w.change, w.override(v, outer))
		w.say.variant("Job", v, w.change, ok)
		if !ok {
			continue
		}
		parent := v.Parent.Value
		if !v.Parent.Set && len(w.found) == 0 {
			parent = w.l.tenant.DefaultParent
		}
		w.l.noteOverrides(local, v)
		if parent != "" {
			if slices.Contains(stack, parent) {
				return false, &freezeError{v, "parent", fmt.Sprintf("Job inheritance cycle: %v", append(stack, parent))}
			}
			if !w.visited[parent] {
				ok, err := w.collect(parent, local, stack)
				if err != nil {
					return false, err.at(v, "parent")
				}
				if !ok {
					return false, nil
				}
			}
		}
		matched = true
		if !slices.ContainsFunc(w.found, func(o *Variant) bool { return sameVariant(o, v) }) {
			w.found = append(w.found, v)
		}
	}
	return matched, nil
}

func (e *freezeError) at(v *Variant, attr string) *freezeError {
	if e.variant == nil {
		e.variant, e.attr = v, attr
	}
	return e
}

// override is the branch that replaces the change's for a definition; empty, where none does. It counts
// only where the definition's project has that branch.
func (w *collector) override(v *Variant, o overrides) string {
	if v.project == nil {
		return ""
	}
	branch, ok := o[v.project.canon]
	if !ok {
		branch = o[""]
	}
	if branch != "" && v.project.hasBranch(branch) {
		return branch
	}
	return ""
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
