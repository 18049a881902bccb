package executor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// refs are the commits of one project by full ref name.
type refs map[string]string

// find looks a name up as people give it in override-checkout: a branch, a tag, or a ref without
// refs/, or without refs/x/. Branches win.
func (r refs) find(name string) (ref, commit string, ok bool) {
	if name == "" {
		return "", "", false
	}
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/"} {
		if c, ok := r[prefix+name]; ok {
			return prefix + name, c, true
		}
	}
	for _, full := range slices.Sorted(maps.Keys(r)) {
		if _, rest, ok := strings.Cut(strings.TrimPrefix(full, "refs/"), "/"); ok && rest == name {
			return full, r[full], true
		}
	}
	return "", "", false
}

// states are the refs of all projects of a buildset, by canonical name.
type states map[string]refs

// checkout is what a project of the workspace shall have checked out.
type checkout struct {
	// Ref is the full name; Name as people say it; Why in Zuul's words.
	Ref, Name, Commit, Why string
}

// wish is what bears on the choice of a checkout.
type wish struct {
	project  change.Project
	override string // of the required project
	branch   string // its override-branch
	job      *job.Job
	// item is the build's primary change; useRef: its ref may be chosen (4.3, step 5).
	item   *change.Change
	useRef bool
	// fallback is the project's default branch.
	fallback string
}

// choose finds the ref that a project is checked out at: the first of the candidates of semantics 4.3
// that exists.
func choose(r refs, w wish) (checkout, error) {
	try := []struct{ name, why string }{
		{w.override, "project override ref"},
		{w.branch, "project override branch"},
		{w.job.OverrideCheckout, "job override ref"},
		{w.job.OverrideBranch, "job override branch"},
	}
	if w.useRef && w.project == w.item.Project && w.item.Branch == "" && w.item.Kind != change.KindChange {
		why := "zuul ref"
		name := strings.TrimPrefix(w.item.Ref, "refs/")
		if t, ok := strings.CutPrefix(w.item.Ref, "refs/tags/"); ok {
			why, name = "tag ref", t
		}
		try = append(try, struct{ name, why string }{name, why})
	}
	try = append(try, struct{ name, why string }{w.item.Branch, "zuul branch"},
		struct{ name, why string }{w.fallback, "project default branch"})
	for _, t := range try {
		if ref, commit, ok := r.find(t.name); ok {
			return checkout{Ref: ref, Name: t.name, Commit: commit, Why: t.why}, nil
		}
	}
	return checkout{}, fmt.Errorf("project %s does not have the default branch %s", w.project, w.fallback)
}

// speculative lays the merger's commits over the state of the repositories. bases are what the branches
// were before the last change of each was merged.
func speculative(st states, m *pipeline.MergeResult) (all states, bases states) {
	all, bases = states{}, states{}
	for p, rs := range st {
		all[p], bases[p] = refs{}, refs{}
		for name, commit := range rs {
			all[p][name], bases[p][name] = commit, commit
		}
	}
	if m == nil {
		return all, bases
	}
	for _, c := range m.Commits {
		p := c.Project.Canonical()
		if all[p] == nil {
			all[p], bases[p] = refs{}, refs{}
		}
		if c.Branch == "" || c.Commit == "" || c.Commit == change.Zero {
			continue
		}
		ref := "refs/heads/" + c.Branch
		all[p][ref] = c.Commit
		if c.Base != "" {
			bases[p][ref] = c.Base
		}
	}
	return all, bases
}
