package pipeline

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/job"
)

// acquire takes all semaphores that the job needs now, or none, so that two jobs never wait for each other:
// what the job held before is let go of, too. early: nodes are not there yet, so those marked resources-first
// can wait.
func (st *stepper) acquire(it *Item, j *job.Job, early bool) bool {
	names := append(wanted(j, early), st.resources(j)...)
	js := it.Buildset.Jobs[j.ID]
	for _, n := range names {
		if !slices.Contains(js.Semaphores, n) && len(st.sem.Holders[n]) >= st.s.Tenant.semaphoreMax(n) {
			st.releaseSemaphores(it, j)
			st.wait(it, js, waitingSemaphores+n)
			return false
		}
	}
	for _, n := range names {
		if slices.Contains(js.Semaphores, n) {
			continue
		}
		st.sem.Holders[n] = append(st.sem.Holders[n], Holder{
			Tenant: st.s.Tenant.Name, Pipeline: st.s.Settings.Name, Item: it.ID,
			Buildset: it.Buildset.ID, Job: j.ID, Since: st.now,
		})
		js.Semaphores = append(js.Semaphores, n)
		st.touch(it)
	}
	return true
}

// wanted are the names of the job's semaphores in the order in which they are taken, each once.
func wanted(j *job.Job, early bool) []string {
	var names []string
	for _, s := range j.Semaphores {
		if !early || !s.ResourcesFirst {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// semaphoreMax is how many jobs may hold the semaphore at once; one that nobody defined admits one.
func (t *Tenant) semaphoreMax(name string) int {
	if s, ok := t.Semaphores[name]; ok {
		return s.Max
	}
	return 1
}

// playbookSemaphores are the names that the job's playbooks hold while they run.
func playbookSemaphores(j *job.Job) (names []string) {
	for _, ps := range [][]job.Playbook{j.PreRun, j.Run, j.PostRun} {
		for _, p := range ps {
			names = append(names, p.Semaphores...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// releaseSemaphores lets go of all that the job holds, and of what its playbooks held where their executor
// is gone.
func (st *stepper) releaseSemaphores(it *Item, j *job.Job) {
	js := it.Buildset.Jobs[j.ID]
	own := func(h Holder) bool { return h.Buildset == it.Buildset.ID && h.Job == j.ID }
	names := slices.Clone(js.Semaphores)
	for _, n := range playbookSemaphores(j) {
		if slices.ContainsFunc(st.sem.Holders[n], own) {
			names = append(names, n)
		}
	}
	for _, n := range names {
		var rest []Holder
		for _, h := range st.sem.Holders[n] {
			if !own(h) {
				rest = append(rest, h)
			}
		}
		if st.sem.Holders[n] = rest; rest == nil {
			delete(st.sem.Holders, n)
		}
		if !slices.Contains(st.released, n) {
			st.released = append(st.released, n)
		}
	}
	if len(js.Semaphores) > 0 {
		js.Semaphores = nil
		st.touch(it)
	}
}

// tellReleased wakes other pipelines that may wait for what became free.
func (st *stepper) tellReleased() {
	if len(st.released) > 0 {
		slices.Sort(st.released)
		st.emit(&Released{Semaphores: st.released})
	}
}
