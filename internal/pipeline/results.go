package pipeline

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/job"
)

// build finds a build that is still running, by its id. Builds of former buildsets are not found: news
// about them is late.
func (st *stepper) build(id BuildID) (*Item, *job.Job, *Build) {
	it := st.running(id)
	if it == nil || it.Buildset.Graph == nil {
		return nil, nil, nil
	}
	for _, j := range it.Buildset.Graph.Jobs {
		if b := it.Buildset.Jobs[j.ID].Build; b != nil && b.ID == id && b.Result == "" {
			return it, j, b
		}
	}
	return nil, nil, nil
}

func (st *stepper) buildStarted(in *BuildStarted) {
	if it, j, b := st.build(in.Build); b != nil {
		b.Started, b.Executor, b.LogURL = in.At, in.Executor, in.LogURL
		it.Buildset.Jobs[j.ID].Waiting = ""
		st.touch(it)
	}
}

func (st *stepper) buildPaused(in *BuildPaused) {
	it, j, b := st.build(in.Build)
	if b == nil || b.Paused {
		return
	}
	b.Paused, b.Data, b.SecretData = true, in.Data, in.SecretData
	st.touch(it)
	st.consequences(it, j)
}

func (st *stepper) buildFailing(in *BuildFailing) {
	if it, _, b := st.build(in.Build); b != nil && !b.PreFail {
		b.PreFail = true
		st.touch(it)
	}
}

func (st *stepper) buildEnded(in *BuildEnded) {
	if s, ok := st.s.Stopping[in.Build]; ok {
		delete(st.s.Stopping, in.Build)
		if len(st.s.Stopping) == 0 {
			st.s.Stopping = nil
		}
		if s.Request != "" {
			st.emit(&ReturnNodes{Request: s.Request, Nodes: s.Nodes})
		}
		st.stopped(s.Buildset)
		st.stoppedViewing(s)
		return
	}
	it, j, b := st.build(in.Build)
	if b == nil {
		return
	}
	delete(st.s.running, b.ID)
	st.touch(it)
	b.Result, b.Ended, b.Detail, b.Warnings, b.Held = in.Result, in.At, in.Detail, in.Warnings, in.Held
	if !in.Started.IsZero() {
		b.Started = in.Started
	}
	if in.Data != nil || in.SecretData != "" {
		b.Data, b.SecretData = in.Data, in.SecretData
	}
	it.Buildset.Warnings = append(it.Buildset.Warnings, in.Warnings...)
	if st.repeats(j, b) {
		st.retry(it, j)
		return
	}
	b.Paused = false
	st.settle(it, j)
}

// repeats decides about another attempt, and gives the result its final form: semantics 2.12.
func (st *stepper) repeats(j *job.Job, b *Build) bool {
	more := b.Attempt < j.Attempts
	switch b.Result {
	case Aborted:
		return true
	case MergeConflict:
		return more
	case "", Retry:
		if more {
			return true
		}
		b.Result = RetryLimit
	case Success:
		if b.PreFail {
			b.Result = Failure
		}
	}
	return false
}

// retry puts the attempt aside: the job asks for nodes again. What ran because the attempt was paused
// runs again, too.
func (st *stepper) retry(it *Item, j *job.Job) {
	bs := it.Buildset
	js := bs.Jobs[j.ID]
	b := js.Build
	b.Result = Retry
	st.releaseSemaphores(it, j)
	st.returnNodes(it, js)
	st.recordBuild(it, j, b, false)
	for _, c := range bs.Graph.Children(j.ID, true, true) {
		cs := bs.Jobs[c]
		if cs.Build != nil && cs.Build.Result == Skipped && cs.SkippedBy != j.ID {
			continue
		}
		child := bs.Graph.Job(c)
		st.stopJob(it, child)
		if cs.Build != nil && cs.Build.Result == Canceled {
			bs.Retries = append(bs.Retries, *cs.Build)
		}
		bs.Jobs[c] = &JobState{Tries: cs.Tries, Alternative: cs.Alternative, Queued: cs.Queued, Artifacts: cs.Artifacts, Found: cs.Found}
	}
	b.Paused = false
	bs.Retries = append(bs.Retries, *b)
	js.Build, js.NodesReady, js.Waiting = nil, false, ""
}

// settle takes a final result in: nodes and semaphores are free, history has a row, and other jobs may
// run or are skipped.
func (st *stepper) settle(it *Item, j *job.Job) {
	js := it.Buildset.Jobs[j.ID]
	js.Waiting = ""
	st.releaseSemaphores(it, j)
	st.returnNodes(it, js)
	st.recordBuild(it, j, js.Build, true)
	st.consequences(it, j)
}

// consequences skips what the job's result or its returned child_jobs rule out, lets paused jobs go on,
// and ends the rest of a buildset that fails fast.
func (st *stepper) consequences(it *Item, j *job.Job) {
	bs := it.Buildset
	b := bs.Jobs[j.ID].Build
	good := b.Result == Success || b.Paused
	if names, given := childJobs(b); good && given {
		st.skipUnlisted(it, j, names)
	} else if !good && b.Result != Skipped {
		for _, c := range bs.Graph.Children(j.ID, true, true) {
			st.skip(it, c, j, "Skipped due to failed job "+j.Name, false)
		}
	}
	st.resume(it)
	if bs.Graph.FailFast && j.Voting && b.failed() && b.Result != "" {
		st.cancelJobs(it)
	}
}

// childJobs is what the build returned as the list of children that shall run.
func childJobs(b *Build) (names []string, given bool) {
	zuul, _ := b.Data["zuul"].(map[string]any)
	v, given := zuul["child_jobs"]
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				names = append(names, s)
			}
		}
	case []string:
		names = v
	}
	return names, given
}

// skipUnlisted skips the direct children that are not listed, and what depends hard on them; with an
// empty list, everything that depends hard on the job.
func (st *stepper) skipUnlisted(it *Item, j *job.Job, names []string) {
	g := it.Buildset.Graph
	why := "Skipped due to child_jobs return value in job " + j.Name
	if len(names) == 0 {
		for _, c := range g.Children(j.ID, true, false) {
			st.skip(it, c, j, why, true)
		}
		return
	}
	for _, c := range g.Children(j.ID, false, true) {
		if slices.Contains(names, g.Job(c).Name) {
			continue
		}
		st.skip(it, c, j, why, true)
		for _, d := range g.Children(c, true, false) {
			st.skip(it, d, j, why, true)
		}
	}
}

func (st *stepper) skip(it *Item, id job.ID, by *job.Job, why string, childJobs bool) {
	js := it.Buildset.Jobs[id]
	if js.Build != nil {
		return
	}
	j := it.Buildset.Graph.Job(id)
	st.stopJob(it, j)
	js.Build = st.noBuild(j, js, Skipped, why)
	js.SkippedBy, js.ByChildJobs, js.Waiting = by.ID, childJobs, ""
	st.recordBuild(it, j, js.Build, true)
	st.touch(it)
}

// resume lets every paused build go on whose dependents, direct or not, all have results.
func (st *stepper) resume(it *Item) {
	bs := it.Buildset
	for _, j := range bs.Graph.Jobs {
		b := bs.Jobs[j.ID].Build
		if b == nil || !b.Paused || b.Result != "" {
			continue
		}
		waits := slices.ContainsFunc(bs.Graph.Children(j.ID, true, true), func(c job.ID) bool {
			cb := bs.Jobs[c].Build
			return cb == nil || cb.Result == ""
		})
		if !waits {
			b.Paused = false
			st.emit(&Resume{Build: b.ID})
			st.touch(it)
		}
	}
}
