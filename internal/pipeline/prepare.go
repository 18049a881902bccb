package pipeline

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// severityWarning marks problems that are shown and keep nothing from running.
const severityWarning = "warning"

// prepare takes the item's buildset through its phases: files and merge, layout and job graph, state of
// further repositories. It tells whether jobs may run.
func (st *stepper) prepare(it *Item) bool {
	bs := it.Buildset
	if bs.Phase != PhaseReady && bs.Phase != PhaseProblem && st.brokenAhead(it) {
		st.spoil(bs)
		bs.Problems = []Problem{{Text: "This change depends on a change with an invalid configuration.\n"}}
		st.touch(it)
	}
	if a := st.ahead(it); a != nil && !a.Live && a.Buildset.Conflict != "" && bs.Phase != PhaseReady && bs.Phase != PhaseProblem {
		// Nobody would ever tell of the context's layout: what does not merge by now blocks what needs it.
		st.spoil(bs)
		bs.Conflict = a.Buildset.Conflict
		st.touch(it)
	}
	if bs.Phase == PhaseNew {
		st.configure(it)
	}
	if bs.Phase == PhaseLayout {
		st.askLayout(it)
	}
	return bs.Phase == PhaseReady && it.Live
}

// spoil ends the preparation of a buildset, which concerns those that build on it.
func (st *stepper) spoil(bs *Buildset) {
	bs.Phase = PhaseProblem
	st.everything = true
}

// brokenAhead tells whether the item ahead has an invalid configuration.
func (st *stepper) brokenAhead(it *Item) bool {
	a := st.ahead(it)
	return a != nil && len(a.Buildset.Problems) > 0
}

// configure fixes what the speculative state is made of, and asks for it. Context that touches no
// configuration needs none of its own.
func (st *stepper) configure(it *Item) {
	bs := it.Buildset
	bs.Configured = st.now
	bs.Operations = st.operations(it)
	files := st.unknownFiles(it)
	config := st.touchesConfig(it)
	st.touch(it)
	if !it.Live && len(files) == 0 && !config {
		bs.Phase = PhaseLayout
		return
	}
	bs.Phase = PhaseMerging
	m := &Merge{
		Item: it.ID, Buildset: bs.ID, Operations: bs.Operations, Time: bs.Configured, Files: files,
		Refs: !slices.ContainsFunc(st.changes(it), (*change.Change).IsChange), Priority: st.s.Settings.Priority(),
	}
	if config {
		m.Config = st.configPaths(it)
	}
	st.emit(m)
}

// lineage is the items whose changes make the item's speculative state: all ahead, oldest first, and the
// item itself.
func (st *stepper) lineage(it *Item) []*Item {
	var out []*Item
	for x := it; x != nil; x = st.ahead(x) {
		out = append(out, x)
	}
	slices.Reverse(out)
	return out
}

// operations are those of the item ahead, as it was told to make them, so that both make the same commits,
// without what landed meanwhile; and the item's own.
func (st *stepper) operations(it *Item) []*MergeOp {
	own := st.changes(it)
	var ahead []*MergeOp
	if a := st.ahead(it); a != nil {
		if ahead = a.Buildset.Operations; ahead == nil {
			ahead = st.operations(a)
		}
		for len(ahead) > 0 && st.s.Items[ahead[0].Item] == nil {
			ahead = ahead[1:]
		}
	}
	ops := make([]*MergeOp, len(ahead), len(ahead)+len(own))
	copy(ops, ahead) // an operation never changes: items share them
	for _, c := range own {
		ops = append(ops, &MergeOp{
			Key: c.Key(), Item: it.ID, Project: c.Project, Branch: c.Branch, Ref: c.Ref, Commit: c.Commit,
			Mode: st.s.Tenant.Projects[c.Project.Canonical()].MergeMode, Number: c.Number, Patchset: c.Patchset,
			Message: c.Message, NewRev: c.NewRev, OldRev: c.OldRev, Time: it.Buildset.Configured,
		})
	}
	return ops
}

// unknownFiles are the item's changes whose changed files only git can tell.
func (st *stepper) unknownFiles(it *Item) []change.Key {
	var out []change.Key
	for _, c := range st.changes(it) {
		_, known := st.s.Tenant.Projects[c.Project.Canonical()]
		if known && st.files(it, c) == nil && hasFiles(c) {
			out = append(out, c.Key())
		}
	}
	return out
}

// hasFiles tells whether c is something that changes files: not a tag, nor a ref without both ends.
func hasFiles(c *change.Change) bool {
	return c.IsChange() || (c.Kind == change.KindBranch && c.OldRev != "" && c.OldRev != change.Zero &&
		c.NewRev != "" && c.NewRev != change.Zero)
}

// files are the changed files of one of the item's changes; nil: not known.
func (st *stepper) files(it *Item, c *change.Change) []string {
	if c.Files != nil {
		return c.Files
	}
	return it.Buildset.Files[c.Key()]
}

// touchesConfig tells whether the item's own changes alter configuration, as far as one knows: what may
// be so counts.
func (st *stepper) touchesConfig(it *Item) bool {
	return slices.ContainsFunc(st.changes(it), func(c *change.Change) bool { return st.altersConfig(it, c) })
}

func (st *stepper) altersConfig(it *Item, c *change.Change) bool {
	p, ok := st.s.Tenant.Projects[c.Project.Canonical()]
	if !ok || !c.IsChange() || len(p.ConfigFiles) == 0 {
		return false
	}
	if slices.ContainsFunc(p.AlwaysDynamic, func(m change.Pattern) bool { return m.Match(c.Branch) }) {
		return true
	}
	files := st.files(it, c)
	return files == nil || slices.ContainsFunc(files, func(f string) bool {
		return slices.ContainsFunc(p.ConfigFiles, func(conf string) bool {
			return f == conf || (strings.HasSuffix(conf, "/") && strings.HasPrefix(f, conf))
		})
	})
}

// configPaths names the configuration files of all changes of the item and ahead of it that alter any.
func (st *stepper) configPaths(it *Item) []ConfigPaths {
	var out []ConfigPaths
	for _, x := range st.lineage(it) {
		for _, c := range st.changes(x) {
			seen := slices.ContainsFunc(out, func(p ConfigPaths) bool { return p.Project == c.Project })
			if !seen && st.altersConfig(x, c) {
				out = append(out, ConfigPaths{c.Project, st.s.Tenant.Projects[c.Project.Canonical()].ConfigFiles})
			}
		}
	}
	return out
}

// buildset finds the item and its buildset, if that is still the present one: late news about an older
// one finds nothing.
func (st *stepper) buildset(id ItemID, bs BuildsetID) (*Item, *Buildset) {
	it := st.item(id)
	if it == nil || it.Buildset.ID != bs {
		return nil, nil
	}
	return it, it.Buildset
}

func (st *stepper) merged(in *Merged) {
	it, bs := st.buildset(in.Item, in.Buildset)
	if it == nil || bs.Phase != PhaseMerging {
		return
	}
	st.touch(it)
	for k, f := range in.Files {
		if bs.Files == nil {
			bs.Files = map[change.Key][]string{}
		}
		if f == nil {
			f = []string{}
		}
		bs.Files[k] = f
	}
	if in.Conflict != "" {
		st.spoil(bs)
		bs.Conflict = in.Conflict
		return
	}
	bs.Merge, bs.Phase = in.Result, PhaseLayout
}

// askLayout asks for the item's layout and job graph as soon as the item ahead has its own layout.
// Context without configuration of its own takes over what is ahead.
func (st *stepper) askLayout(it *Item) {
	if it.Buildset.Asked {
		return
	}
	ahead, ok := st.layoutAhead(it)
	if !ok {
		return
	}
	own := st.touchesConfig(it)
	if !it.Live && !own {
		it.Layout, it.Buildset.Phase = ahead, PhaseReady
		it.Buildset.Graph = &job.Graph{}
		st.touch(it)
		return
	}
	st.askConfigure(it, ahead, own)
}

// layoutAhead is the layout that the item's own changes are applied to; ok is false while that is not
// known.
func (st *stepper) layoutAhead(it *Item) (id string, ok bool) {
	a := st.ahead(it)
	if a == nil {
		return st.s.Tenant.Layout, true
	}
	if a.Layout != "" {
		return a.Layout, true
	}
	if a.Buildset.Phase != PhaseReady && a.Buildset.Phase != PhaseRepoState {
		return "", false
	}
	// The layouts of items were forgotten because the tenant got a new one: work them out again.
	ahead, ok := st.layoutAhead(a)
	if !ok || a.Buildset.Asked {
		return "", false
	}
	if st.touchesConfig(a) {
		st.askConfigure(a, ahead, true)
		return "", false
	}
	a.Layout = ahead
	st.touch(a)
	return ahead, true
}

func (st *stepper) askConfigure(it *Item, ahead string, own bool) {
	bs := it.Buildset
	bs.Asked = true
	st.touch(it)
	c := &Configure{
		Item: it.ID, Buildset: bs.ID, Changes: st.withFiles(it), Ahead: ahead, Own: own, Trigger: it.Event,
	}
	if bs.Merge != nil {
		c.Containing = bs.Merge.Containing
	}
	if own {
		if bs.Merge != nil {
			c.Config = bs.Merge.Config
		}
		for _, x := range st.lineage(it) {
			for _, ch := range st.withFiles(x) {
				if st.altersConfig(x, ch) {
					c.Updates = append(c.Updates, ch.Key())
					c.AllUpdates = append(c.AllUpdates, ch)
				}
			}
		}
	}
	st.emit(c)
}

// withFiles are the item's changes with their files as far as the merger or the forge told.
func (st *stepper) withFiles(it *Item) []*change.Change {
	out := st.changes(it)
	for i, c := range out {
		out[i] = st.filled(it, c)
	}
	return out
}

func (st *stepper) filled(it *Item, c *change.Change) *change.Change {
	f := st.files(it, c)
	if c.Files != nil || f == nil {
		return c
	}
	d := *c
	d.Files = f
	return &d
}

// tested are the changes that the buildset was made of, oldest first, whatever of them has merged since.
func (st *stepper) tested(bs *Buildset) []*change.Change {
	if st.told == bs {
		return st.toldOf
	}
	out := make([]*change.Change, 0, len(bs.Operations))
	for _, op := range bs.Operations {
		c := st.s.Changes[op.Key]
		if c == nil {
			continue
		}
		if c.Files == nil {
			if x := st.item(op.Item); x != nil {
				c = st.filled(x, c)
			}
		}
		out = append(out, c)
	}
	st.told, st.toldOf = bs, out
	return out
}

func (st *stepper) configured(in *Configured) {
	it, bs := st.buildset(in.Item, in.Buildset)
	if it == nil || !bs.Asked {
		return
	}
	st.touch(it)
	bs.Asked = false
	if bs.Stale {
		bs.Stale = false
		return
	}
	it.Layout = in.Layout
	if bs.Phase != PhaseLayout {
		return
	}
	bs.NotInPipeline = in.NotInPipeline
	bs.Warnings = append(bs.Warnings, in.Warnings...)
	for _, p := range in.Problems {
		if p.Severity == severityWarning {
			bs.Warnings = append(bs.Warnings, p.Text)
		} else {
			bs.Problems = append(bs.Problems, p)
		}
	}
	if len(bs.Problems) > 0 {
		st.spoil(bs)
		return
	}
	st.freeze(it, in.Graph)
}

// freeze takes the job graph over, and asks for the state of repositories that only jobs need.
func (st *stepper) freeze(it *Item, g *job.Graph) {
	bs := it.Buildset
	if g == nil || !it.Live {
		g = &job.Graph{}
	}
	bs.Graph = g
	if len(g.Jobs) > 0 {
		bs.Jobs = map[job.ID]*JobState{}
		st.recordStart(it)
	}
	for _, j := range g.Jobs {
		bs.Jobs[j.ID] = &JobState{}
	}
	var more []change.Project
	for _, p := range g.Projects {
		known := slices.ContainsFunc(bs.Operations, func(op *MergeOp) bool { return op.Project == p })
		if !known && !slices.Contains(more, p) {
			more = append(more, p)
		}
	}
	if len(more) == 0 {
		bs.Phase = PhaseReady
		return
	}
	bs.Phase = PhaseRepoState
	for _, j := range g.Jobs {
		bs.Jobs[j.ID].Waiting = waitingRepoState
	}
	e := &RepoState{Item: it.ID, Buildset: bs.ID, Projects: more, Priority: st.s.Settings.Priority()}
	if bs.Merge != nil {
		e.Have = bs.Merge.RepoState
	}
	st.emit(e)
}

const waitingRepoState = "repo state"

func (st *stepper) repoStated(in *RepoStated) {
	it, bs := st.buildset(in.Item, in.Buildset)
	if it == nil || bs.Phase != PhaseRepoState {
		return
	}
	st.touch(it)
	if in.Problem != "" {
		st.spoil(bs)
		bs.Conflict = in.Problem
		return
	}
	if bs.Merge == nil {
		bs.Merge = &MergeResult{}
	}
	bs.Merge.RepoState = in.RepoState
	bs.Phase = PhaseReady
}
