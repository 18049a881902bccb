package layout

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// hash covers what makes the job another one, so that it runs although its file matchers fail: not where it was declared,
// nor, as in Zuul, what reports say of it, how long it may clean up, and whether others wait for it.
func (f *frozen) hash() string {
	j := f.Job
	j.ID, j.Refs, j.Path, j.Hash, j.Description = "", nil, nil, "", ""
	j.SuccessMessage, j.FailureMessage, j.PostTimeout, j.HoldFollowingChanges = "", "", 0, false
	j.PreRun, j.Run, j.PostRun = pathless(j.PreRun), pathless(j.Run), pathless(j.PostRun)
	return sum(struct {
		Job                           *job.Job
		Deps                          []config.Dependency
		Match                         bool
		Final, Abstract, Intermediate bool `json:",omitempty"`
		Protected                     bool `json:",omitempty"`
	}{&j, f.deps, f.matchConfig, f.final, f.abstract, f.intermediate, f.protectedBy != nil})
}

// pathless are playbooks without the file that declares them and without what their secrets hold: neither makes them
// others.
func pathless(books []job.Playbook) []job.Playbook {
	out := slices.Clone(books)
	for i := range out {
		out[i].Source.Path = ""
		out[i].Secrets = slices.Clone(out[i].Secrets)
		for k := range out[i].Secrets {
			out[i].Secrets[k].Data = nil
		}
	}
	return out
}

// same tells whether two frozen jobs are equal in all that they do.
func (f *frozen) same(o *frozen) bool {
	a, b := f.Job, o.Job
	a.ID, a.Refs, a.Path, a.Hash = "", nil, nil, ""
	b.ID, b.Refs, b.Path, b.Hash = "", nil, nil, ""
	if !reflect.DeepEqual(f.deps, o.deps) {
		return false
	}
	x, err1 := json.Marshal(&a)
	y, err2 := json.Marshal(&b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
