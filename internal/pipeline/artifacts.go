package pipeline

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// requirementsMet tells whether what the job requires of items ahead is there: semantics 2.13. For
// changes that are only context and are not tested here now, history is asked, once.
func (st *stepper) requirementsMet(it *Item, j *job.Job, js *JobState) bool {
	if len(j.Requires) == 0 || it.Ahead == "" {
		return true
	}
	var unknown []*change.Change
	for _, x := range st.lineage(st.ahead(it)) {
		if !x.Live {
			twin := st.liveTwin(x)
			if twin == nil {
				unknown = append(unknown, st.changes(x)...)
				continue
			}
			x = twin
		}
		if !provided(x, j) {
			st.wait(it, js, waitingRequirements+strings.Join(j.Requires, ", "))
			return false
		}
	}
	if len(unknown) == 0 || js.Found {
		return true
	}
	st.wait(it, js, waitingRequirements+strings.Join(j.Requires, ", "))
	if js.Lookup == "" {
		js.Lookup = st.id()
		st.touch(it)
		st.emit(&FindArtifacts{
			Item: it.ID, Buildset: it.Buildset.ID, Job: j.ID, Token: js.Lookup, Changes: unknown, Names: j.Requires,
		})
	}
	return false
}

// liveTwin is a live item of the pipeline with the same changes as an item that is only context.
func (st *stepper) liveTwin(x *Item) (twin *Item) {
	st.eachItem(func(_ *Queue, it *Item) bool {
		if it.Live && sameChanges(it.Changes, x.Changes) {
			twin = it
		}
		return twin == nil
	})
	return twin
}

func sameChanges(a, b []change.Key) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(k change.Key) bool { return !slices.Contains(b, k) })
}

// provides tells whether p offers something that j requires.
func provides(p, j *job.Job) bool {
	return slices.ContainsFunc(p.Provides, func(n string) bool { return slices.Contains(j.Requires, n) })
}

// provided tells whether all jobs of a live item that offer what j requires have succeeded or are
// paused.
func provided(x *Item, j *job.Job) bool {
	bs := x.Buildset
	if bs.Graph == nil {
		return bs.Phase == PhaseProblem
	}
	for _, p := range bs.Graph.Jobs {
		if !provides(p, j) {
			continue
		}
		if b := bs.Jobs[p.ID].Build; b == nil || (b.Result != Success && !b.Paused) {
			return false
		}
	}
	return true
}

func (st *stepper) provided(in *Provided) {
	it, bs := st.buildset(in.Item, in.Buildset)
	if it == nil || bs.Jobs[in.Job] == nil || bs.Jobs[in.Job].Lookup != in.Token || bs.Jobs[in.Job].Found {
		return
	}
	st.touch(it)
	js, j := bs.Jobs[in.Job], bs.Graph.Job(in.Job)
	js.Lookup, js.Found, js.Artifacts = "", true, in.Artifacts
	if in.Failed == "" || js.Build != nil {
		return
	}
	js.Build = st.noBuild(j, js, Failure, "Job "+j.Name+" requires "+in.Failed)
	st.settle(it, j)
}

// requiredArtifacts are what the items ahead left that j requires, nearest last: within one item, what its last
// job left comes first. An artifact of an item ahead tells its change and patch set, and no branch.
func (st *stepper) requiredArtifacts(it *Item, j *job.Job) []Artifact {
	if len(j.Requires) == 0 || it.Ahead == "" {
		return nil
	}
	known := it.Buildset.Jobs[j.ID].Artifacts
	var out []Artifact
	for _, x := range st.lineage(st.ahead(it)) {
		if !x.Live {
			twin := st.liveTwin(x)
			if twin == nil {
				out = append(out, st.artifactsOf(x, known)...)
				continue
			}
			x = twin
		}
		if x.Buildset.Graph == nil {
			continue
		}
		for _, p := range slices.Backward(x.Buildset.Graph.Jobs) {
			if !provides(p, j) {
				continue
			}
			for _, a := range slices.Backward(st.artifacts(x, p)) {
				a.Branch = ""
				out = append(out, a)
			}
		}
	}
	return out
}

// artifactsOf are those of the known ones that the changes of an item left.
func (st *stepper) artifactsOf(x *Item, known []Artifact) []Artifact {
	var out []Artifact
	for _, c := range st.changes(x) {
		for _, a := range known {
			if a.Project == c.Project.Name && a.Change == c.Number && a.Patchset == c.Patchset {
				out = append(out, a)
			}
		}
	}
	return out
}

// ownArtifacts are those of the jobs that j depends on.
func (st *stepper) ownArtifacts(it *Item, j *job.Job) []Artifact {
	var out []Artifact
	for _, p := range it.Buildset.Graph.Parents(j.ID, true, true) {
		out = append(out, st.artifacts(it, it.Buildset.Graph.Job(p))...)
	}
	return out
}

// artifacts are what the job's build returned under zuul.artifacts, each with where it comes from.
// Entries without name or URL are none.
func (st *stepper) artifacts(it *Item, j *job.Job) []Artifact {
	b := it.Buildset.Jobs[j.ID].Build
	c := st.s.Changes[ref(it, j)]
	if b == nil || c == nil {
		return nil
	}
	zuul, _ := b.Data["zuul"].(map[string]any)
	list, _ := zuul["artifacts"].([]any)
	var out []Artifact
	for _, x := range list {
		m, _ := x.(map[string]any)
		name, _ := m["name"].(string)
		url, _ := m["url"].(string)
		if name == "" || url == "" {
			continue
		}
		meta, _ := m["metadata"].(map[string]any)
		a := Artifact{Name: name, URL: url, Metadata: meta, Project: c.Project.Name, Job: j.Name, Branch: c.Branch}
		if c.IsChange() {
			a.Change, a.Patchset = c.Number, c.Patchset
		} else if c.Branch == "" {
			a.Ref, a.OldRev, a.NewRev = c.Ref, c.OldRev, c.NewRev
		}
		if c.Kind == change.KindTag {
			a.Tag = strings.TrimPrefix(c.Ref, "refs/tags/")
		}
		out = append(out, a)
	}
	return out
}

// parentData is what all ancestors of the job returned, in the order of the configuration: of plain data
// the later counts, key by key; secret data is only named, in that order.
func parentData(bs *Buildset, j *job.Job) (data map[string]any, secret []string) {
	for _, p := range bs.Graph.Parents(j.ID, true, true) {
		b := bs.Jobs[p].Build
		if b == nil {
			continue
		}
		for k, v := range b.Data {
			if k == "zuul" || k == "nodepool" || k == "unsafe_vars" {
				continue
			}
			if data == nil {
				data = map[string]any{}
			}
			data[k] = overlay(data[k], v)
		}
		if b.SecretData != "" {
			secret = append(secret, b.SecretData)
		}
	}
	return data, secret
}

// overlay is b, or where both are maps, a with b's entries laid over it; neither is changed.
func overlay(a, b any) any {
	am, ok := a.(map[string]any)
	bm, also := b.(map[string]any)
	if !ok || !also {
		return b
	}
	out := make(map[string]any, len(am)+len(bm))
	for k, v := range am {
		out[k] = v
	}
	for k, v := range bm {
		out[k] = overlay(out[k], v)
	}
	return out
}
