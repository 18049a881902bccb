package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/job"
)

// Hazard and repair: where deployments may safely run twice, jobs run at once although it is not certain that they
// leave each other alone. When all have ended it is looked at whether one read what another one wrote meanwhile; if
// so, the reader runs once more, alone.

// looking asks once for the hazards of a buildset in which all jobs have ended. True: the answer is awaited.
func (st *stepper) looking(it *Item) bool {
	bs := it.Buildset
	if bs.Looking != "" {
		return true
	}
	if !st.s.Settings.Repair || bs.Looked || bs.Phase != PhaseReady {
		return false
	}
	bs.Looked = true
	st.touch(it)
	e := &FindHazards{Item: it.ID, Buildset: bs.ID, Builds: map[job.ID]BuildID{}}
	for _, o := range overlaps(bs) {
		x, y := bs.Jobs[o.a.ID].Build, bs.Jobs[o.b.ID].Build
		if slices.Contains(e.Pairs, [2]job.ID{o.b.ID, o.a.ID}) || x.Result != Success && y.Result != Success {
			continue
		}
		e.Pairs = append(e.Pairs, [2]job.ID{o.a.ID, o.b.ID})
		e.Builds[o.a.ID], e.Builds[o.b.ID] = x.ID, y.ID
	}
	if len(e.Pairs) == 0 {
		return false
	}
	bs.Looking = st.id()
	e.Token = bs.Looking
	st.emit(e)
	return true
}

func (st *stepper) hazardsFound(in *HazardsFound) {
	it, bs := st.buildset(in.Item, in.Buildset)
	if it == nil || bs.Looking != in.Token || in.Token == "" {
		return
	}
	bs.Looking = ""
	st.touch(it)
	if in.Unknown != "" {
		bs.Warnings = append(bs.Warnings, "It is not known whether jobs read what others wrote meanwhile: "+sentence(in.Unknown))
	}
	for _, h := range in.Hazards {
		st.repair(it, h)
	}
}

// repair lets a job that passed run once more.
func (st *stepper) repair(it *Item, h Hazard) {
	bs := it.Buildset
	j, w := bs.Graph.Job(h.Reader), bs.Graph.Job(h.Writer)
	if j == nil || w == nil || bs.Jobs[j.ID].Repair != "" {
		return
	}
	js := bs.Jobs[j.ID]
	b := js.Build
	if b == nil || b.Result != Success {
		return
	}
	if p := failedParent(bs, j); p != nil {
		// It was paused while the reader ran.
		bs.Warnings = append(bs.Warnings, fmt.Sprintf("%s read %s before %s wrote it, and does not run once more, because %s failed.",
			j.Name, h.Resource, w.Name, p.Name))
		return
	}
	why := fmt.Sprintf("it read %s (%s) before %s wrote it (%s)", h.Resource, h.Read, w.Name, h.Wrote)
	bs.Warnings = append(bs.Warnings, fmt.Sprintf("%s ran once more: %s.", j.Name, why))
	bs.Retries = append(bs.Retries, *b)
	st.recordBuild(it, j, b, false)
	bs.Jobs[j.ID] = &JobState{Tries: js.Tries, Alternative: js.Alternative, Artifacts: js.Artifacts, Found: js.Found, Repair: why}
}

// failedParent is a job that failed and without which the job cannot run again.
func failedParent(bs *Buildset, j *job.Job) *job.Job {
	for _, p := range bs.Graph.Parents(j.ID, true, true) {
		if b := bs.Jobs[p].Build; b != nil && b.Result != Success && b.Result != Skipped {
			return bs.Graph.Job(p)
		}
	}
	return nil
}

// mending tells whether jobs of the buildset run once more: they do so one at a time.
func mending(bs *Buildset) bool {
	for _, js := range bs.Jobs {
		if js.Repair != "" {
			return true
		}
	}
	return false
}

// Canary pairs: before more jobs may run at once, some pairs do.

// stranger names a job at work beside which the job may not run, because the two are no canary pair; empty: none.
func (st *stepper) stranger(bs *Buildset, j *job.Job) string {
	pairs := st.s.Settings.Canaries
	if len(pairs) == 0 {
		return ""
	}
	for _, x := range bs.Graph.Jobs {
		js := bs.Jobs[x.ID]
		if x == j || !atWork(js) || slices.Contains(pairs, [2]string{x.Name, j.Name}) || slices.Contains(pairs, [2]string{j.Name, x.Name}) {
			continue
		}
		return x.Name
	}
	return ""
}

// canaries tells which pairs ran at once, and how that ended.
func (st *stepper) canaries(bs *Buildset) {
	if len(st.s.Settings.Canaries) == 0 {
		return
	}
	var told []string
	seen := map[[2]job.ID]bool{}
	for _, o := range overlaps(bs) {
		if seen[[2]job.ID{o.b.ID, o.a.ID}] {
			continue
		}
		seen[[2]job.ID{o.a.ID, o.b.ID}] = true
		how := "both passed"
		for _, x := range []*job.Job{o.a, o.b} {
			if b := bs.Jobs[x.ID].Build; b.failed() {
				how = fmt.Sprintf("%s ended with %s", x.Name, b.Result)
			}
		}
		told = append(told, fmt.Sprintf("%s beside %s (%s)", o.a.Name, o.b.Name, how))
	}
	if len(told) > 0 {
		bs.Warnings = append(bs.Warnings, "Canary pairs that ran at the same time: "+strings.Join(told, "; ")+".")
	}
}
