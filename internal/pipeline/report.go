package pipeline

import (
	"maps"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// retests bounds how often an item is tested again because its branch moved just before it could land.
const retests = 3

// report settles what came of the item and tells it: semantics 2.8. It tells whether merges were asked for;
// their outcome is awaited then, and nothing else is decided.
func (st *stepper) report(q *Queue, it *Item) (merging bool) {
	bs := it.Buildset
	action, result := st.verdict(it)
	reporters := st.s.Settings.Reporters[action]
	if st.s.Disabled {
		reporters = st.s.Settings.Reporters[ReportDisabled]
	}
	st.touch(it)
	if action == ReportSuccess && st.s.Settings.Manager == Dependent && !st.s.Disabled &&
		slices.ContainsFunc(reporters, func(r Reporter) bool { return r.Merges }) {
		it.Merging = st.send(it, action, reporters)
		return true
	}
	bs.Result = result
	it.Reported = true
	st.count(action)
	st.send(it, action, reporters)
	st.recordEnd(it, false)
	return false
}

// verdict is the action by which an item is reported, and its result, in the order of semantics 2.8.
func (st *stepper) verdict(it *Item) (Action, Result) {
	bs := it.Buildset
	switch {
	case bs.NotInPipeline:
		return ReportNoJobs, NoJobs
	case len(bs.Problems) > 0:
		return ReportConfigError, ConfigError
	case bs.Conflict != "":
		return ReportMergeConflict, MergeConflict
	case it.Blocked != "" || it.MissingRequirements:
		return ReportFailure, Failure
	case bs.Graph == nil || len(bs.Graph.Jobs) == 0:
		return ReportNoJobs, NoJobs
	case succeeded(bs):
		return ReportSuccess, Success
	}
	return ReportFailure, Failure
}

// count keeps the number of failures in a row; too many disable the pipeline, after this one is told.
func (st *stepper) count(a Action) {
	switch {
	case a == ReportSuccess:
		st.s.Failures = 0
	case a == ReportFailure:
		st.s.Failures++
	}
}

// disable stops ordinary reports once there were too many failures in a row.
func (st *stepper) disable() {
	if n := st.s.Settings.DisableAfter; n > 0 && st.s.Failures >= n {
		st.s.Disabled = true
	}
}

// reportOn tells something on the way: enqueue, start, dequeue.
func (st *stepper) reportOn(it *Item, a Action) {
	if !st.s.Disabled {
		st.send(it, a, st.s.Settings.Reporters[a])
	}
}

func (st *stepper) reportStart(it *Item) {
	it.ReportedStart = true
	st.touch(it)
	st.reportOn(it, ReportStart)
}

// send makes the effect, where there is anybody to tell, and gives its id.
func (st *stepper) send(it *Item, a Action, reporters []Reporter) string {
	if a == ReportSuccess || a == ReportFailure {
		defer st.disable()
	}
	if len(reporters) == 0 {
		return ""
	}
	bs := it.Buildset
	result := bs.Result
	if a == ReportSuccess {
		result = Success
	}
	e := &Report{
		ID: st.id(), Item: it.ID, Buildset: bs.ID, Action: a, Changes: st.changes(it), Reporters: reporters,
		Messages: map[change.Key]Text{}, Modes: map[change.Key]string{}, Event: it.Event, Result: result, Start: it.Enqueued,
		URL: st.itemURL(it, a),
	}
	e.Merge = a == ReportSuccess && st.s.Settings.Manager == Dependent && !st.s.Disabled
	for _, c := range e.Changes {
		e.Messages[c.Key()] = st.text(it, c, a)
		e.Modes[c.Key()] = st.s.Tenant.Projects[c.Project.Canonical()].MergeMode
	}
	if bs.Merge != nil {
		for _, m := range bs.Merge.Commits {
			if slices.Contains(it.Changes, m.Change) {
				e.Commits = append(e.Commits, m)
			}
		}
	}
	st.emit(e)
	return e.ID
}

// reported takes in what came of the merges.
func (st *stepper) reported(in *Reported) {
	it := st.item(in.Item)
	if it == nil || it.Merging == "" || it.Merging != in.Report {
		return
	}
	q := st.queueOf(it)
	it.Merging = ""
	st.touch(it)
	all := true
	for _, k := range it.Changes {
		all = all && in.Merged[k]
	}
	some := slices.ContainsFunc(it.Changes, func(k change.Key) bool { return in.Merged[k] })
	if in.Moved && !some && it.Moved < retests {
		it.Moved++
		st.reset(it)
		return
	}
	it.Reported = true
	st.markMerged(in.Merged)
	bs := it.Buildset
	bs.Result = Success
	st.count(ReportSuccess)
	if !all {
		bs.Result = MergeFailure
		if len(it.Changes) > 1 || in.Moved {
			st.send(it, ReportFailure, st.s.Settings.Reporters[ReportFailure])
		}
	}
	st.recordEnd(it, false)
	st.finish(q, it, in)
}

// markMerged notes which changes are on their branches now; what depends on them need not wait.
func (st *stepper) markMerged(merged map[change.Key]bool) {
	for _, k := range slices.Sorted(maps.Keys(merged)) {
		if c := st.s.Changes[k]; c != nil && merged[k] {
			m := *c
			m.Merged, m.Open = true, false
			st.s.Changes[k] = &m
		}
	}
}

// finish ends the stay of an item that was reported: the window follows what came of it, and what was
// tested on top of something that did not land starts over. in is the outcome of its merges, if there were
// any.
func (st *stepper) finish(q *Queue, it *Item, in *Reported) {
	if st.s.Settings.Manager == Dependent {
		switch {
		case in != nil && it.Buildset.Result == Success:
			st.widen(q)
		case it.Buildset.Result == MergeFailure:
			st.resetBehind(it)
		default:
			st.narrow(q)
			st.resetBehind(it)
		}
	}
	st.dequeue(it)
}

// recordStart writes the buildset's first row, once.
func (st *stepper) recordStart(it *Item) {
	if !it.Live || it.Buildset.Started {
		return
	}
	it.Buildset.Started = true
	st.touch(it)
	st.emit(&Record{Buildset: st.row(it)})
}

// recordEnd writes the buildset's last row, where it had jobs or errors, or always.
func (st *stepper) recordEnd(it *Item, always bool) {
	bs := it.Buildset
	if !always && !bs.Started && len(bs.Problems) == 0 && bs.Conflict == "" {
		return
	}
	r := st.row(it)
	r.Result = bs.Result
	if len(bs.Problems) > 0 {
		r.Message = bs.Problems[0].Text
	} else if bs.Conflict != "" {
		r.Message = bs.Conflict
	}
	st.emit(&Record{Buildset: r})
}

func (st *stepper) row(it *Item) *BuildsetRecord {
	bs := it.Buildset
	r := &BuildsetRecord{ID: bs.ID, Tenant: st.s.Tenant.Name, Pipeline: st.s.Settings.Name,
		Refs: st.changes(it), Event: it.Event, At: st.now}
	for _, js := range bs.Jobs {
		b := js.Build
		if b == nil || b.Started.IsZero() || b.Result == Skipped {
			continue
		}
		r.First = earlier(r.First, b.Started)
		if b.Ended.After(r.Last) {
			r.Last = b.Ended
		}
	}
	return r
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// recordBuild writes the row of a build that ended. final: it will not be repeated.
func (st *stepper) recordBuild(it *Item, j *job.Job, b *Build, final bool) {
	js := it.Buildset.Jobs[j.ID]
	st.emit(&Record{Build: &BuildRecord{
		Buildset: it.Buildset.ID, Build: *b, JobName: j.Name, Ref: ref(it, j), Voting: j.Voting, Final: final,
		Nodeset: nodeset(j, js).Name, Provides: j.Provides, Queued: js.Queued, Waited: js.Waiting,
	}})
}
