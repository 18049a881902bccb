package pipeline

import (
	"maps"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// requirementsMet tells whether everything that the job requires of items ahead is there: semantics 2.13.
// What history must be asked for is asked here, once.
func (st *stepper) requirementsMet(it *Item, j *job.Job, js *JobState) bool {
	if len(j.Requires) == 0 {
		return true
	}
	wait := func() bool {
		st.wait(it, js, "requirements: "+strings.Join(j.Requires, ", "))
		return false
	}
	var ask []*change.Change
	for _, a := range st.required(it, &ask) {
		for _, p := range providers(a, j) {
			if b := a.Buildset.Jobs[p.ID].Build; b == nil || (b.Result != Success && !b.Paused) {
				return wait()
			}
		}
		if a.Buildset.Graph == nil && a.Buildset.Phase != PhaseProblem {
			return wait()
		}
	}
	switch {
	case len(ask) == 0 || js.Found:
		return true
	case js.Lookup == "":
		js.Lookup = st.id()
		st.emit(&FindArtifacts{Item: it.ID, Buildset: it.Buildset.ID, Job: j.ID, Token: js.Lookup, Changes: ask, Names: j.Requires})
		st.touch(it)
	}
	return wait()
}

// required are the live items whose builds may provide something: those ahead, and in the place of context
// the live item of the same changes, if there is one. ask gets the changes that only history knows.
func (st *stepper) required(it *Item, ask *[]*change.Change) []*Item {
	var out []*Item
	for a := st.item(it.Ahead); a != nil; a = st.item(a.Ahead) {
		if a.Live {
			out = append(out, a)
			continue
		}
		if live := st.liveTwin(a); live != nil {
			out = append(out, live)
			continue
		}
		if ask != nil {
			*ask = append(*ask, st.changes(a)...)
		}
	}
	return out
}

// liveTwin is the live item with the same set of changes.
func (st *stepper) liveTwin(it *Item) *Item {
	want := slices.Sorted(slices.Values(it.Changes))
	for _, q := range st.s.Queues {
		for _, id := range q.Items {
			x := st.s.Items[id]
			if x.Live && slices.Equal(slices.Sorted(slices.Values(x.Changes)), want) {
				return x
			}
		}
	}
	return nil
}

// providers are the jobs of an item that provide something that the job requires.
func providers(a *Item, j *job.Job) []*job.Job {
	if a.Buildset.Graph == nil {
		return nil
	}
	var out []*job.Job
	for _, p := range a.Buildset.Graph.Jobs {
		if slices.ContainsFunc(p.Provides, func(n string) bool { return slices.Contains(j.Requires, n) }) {
			out = append(out, p)
		}
	}
	return out
}

func (st *stepper) provided(in *Provided) {
	it, bs := st.buildset(in.Item, in.Buildset)
	if it == nil || bs.Jobs[in.Job] == nil || bs.Jobs[in.Job].Lookup != in.Token || bs.Jobs[in.Job].Found {
		return
	}
	js, j := bs.Jobs[in.Job], bs.Graph.Job(in.Job)
	st.touch(it)
	js.Found, js.Artifacts = true, in.Artifacts
	if in.Failed == "" || js.Build != nil {
		return
	}
	detail := "Job " + j.Name + " requires artifact(s) " + strings.Join(j.Requires, ", ") + " " + in.Failed
	js.Build = st.noBuild(j, js, Failure, detail)
	st.settle(it, j)
}

// requiredArtifacts are those of what the job requires, the nearest item's last.
func (st *stepper) requiredArtifacts(it *Item, j *job.Job) []Artifact {
	if len(j.Requires) == 0 {
		return nil
	}
	out := slices.Clone(it.Buildset.Jobs[j.ID].Artifacts)
	items := st.required(it, nil)
	for _, a := range slices.Backward(items) {
		for _, p := range providers(a, j) {
			out = append(out, st.artifactsOf(a, p)...)
		}
	}
	return out
}

// ownArtifacts are those of the builds that the job depends on.
func (st *stepper) ownArtifacts(it *Item, j *job.Job) []Artifact {
	var out []Artifact
	for _, p := range it.Buildset.Graph.Parents(j.ID, true, true) {
		out = append(out, st.artifactsOf(it, it.Buildset.Graph.Job(p))...)
	}
	return out
}

// artifactsOf reads what a build returned, with the change that it was for.
func (st *stepper) artifactsOf(it *Item, j *job.Job) []Artifact {
	b := it.Buildset.Jobs[j.ID].Build
	if b == nil {
		return nil
	}
	zuul, _ := b.Data["zuul"].(map[string]any)
	list, _ := zuul["artifacts"].([]any)
	c := st.s.Changes[ref(it, j)]
	var out []Artifact
	for _, x := range list {
		m, ok := x.(map[string]any)
		if !ok {
			continue
		}
		a := Artifact{Job: j.Name}
		a.Name, _ = m["name"].(string)
		a.URL, _ = m["url"].(string)
		a.Metadata, _ = m["metadata"].(map[string]any)
		if c != nil {
			a.Project = c.Project.Name
			if c.IsChange() {
				a.Change, a.Patchset, a.Branch = c.Number, c.Patchset, c.Branch
			} else {
				a.Branch, a.Ref, a.OldRev, a.NewRev = c.Branch, c.Ref, c.OldRev, c.NewRev
			}
		}
		out = append(out, a)
	}
	return out
}

// parentData is what the jobs that this one depends on returned: values as one, later jobs winning, and the
// names of their sealed data in the order of the configuration, of which the earlier wins.
func parentData(bs *Buildset, j *job.Job) (data map[string]any, sealed []string) {
	for _, p := range bs.Graph.Parents(j.ID, true, true) {
		b := bs.Jobs[p].Build
		if b == nil {
			continue
		}
		if len(b.Data) > 0 && data == nil {
			data = map[string]any{}
		}
		mergeInto(data, b.Data)
		if b.SecretData != "" {
			sealed = append(sealed, b.SecretData)
		}
	}
	for _, k := range []string{"zuul", "nodepool", "unsafe_vars"} {
		delete(data, k)
	}
	return data, sealed
}

// mergeInto lays src over dst, mapping by mapping. What dst gets is never a part of src that it would then
// change.
func mergeInto(dst, src map[string]any) {
	for k, v := range src {
		m, ok := v.(map[string]any)
		if !ok {
			dst[k] = v
			continue
		}
		into := map[string]any{}
		if d, ok := dst[k].(map[string]any); ok {
			maps.Copy(into, d)
		}
		mergeInto(into, m)
		dst[k] = into
	}
}
