package pipeline

import (
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
)

// maxMoved is how often an item is tested anew because its branch moved before it could merge.
const maxMoved = 3

// report decides what has become of the item and tells the forges: semantics 2.8. It says whether the
// outcome of merges must be awaited.
func (st *stepper) report(it *Item) (awaiting bool) {
	st.judge(it)
	action, result := st.verdict(it)
	it.Buildset.Result = result
	st.touch(it)
	reporters := st.s.Settings.Reporters[action]
	disabled := st.s.Disabled && st.inPipeline(it)
	if disabled {
		reporters = st.s.Settings.Reporters[ReportDisabled]
	}
	if it.Blocked == "" && !it.MissingRequirements {
		st.count(result)
	}
	merges := st.s.Settings.Manager == Dependent && result == Success && len(reporters) > 0 && !disabled
	r := st.send(it, action, reporters)
	if r == nil || !merges {
		return false
	}
	r.Merge, r.Operations = true, it.Buildset.Operations
	it.Merging = r.ID
	return true
}

// verdict is what the item has come to.
func (st *stepper) verdict(it *Item) (Action, Result) {
	bs := it.Buildset
	switch {
	case !st.inPipeline(it):
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

// inPipeline tells whether the item's layout, or the merged one where it has none yet, runs something
// for one of its projects here.
func (st *stepper) inPipeline(it *Item) bool {
	if it.Buildset.Graph != nil || it.Layout != "" {
		return !it.Buildset.NotInPipeline
	}
	return slices.ContainsFunc(st.changes(it), func(c *change.Change) bool {
		return st.s.Tenant.Projects[c.Project.Canonical()].InPipeline
	})
}

// count keeps the number of consecutive failures of jobs. The one that reaches the limit is still reported as
// usual; later ones go to the disabled reporters.
func (st *stepper) count(r Result) {
	switch r {
	case Success:
		st.s.Failures = 0
	case Failure:
		st.s.Failures++
	}
	if n := st.s.Settings.DisableAfter; n > 0 && st.s.Failures >= n {
		st.s.Disabled = true
	}
}

// finish draws the consequences of a report in a merging pipeline, and dequeues the item. merged tells
// what landed; nil: nothing was to be merged.
func (st *stepper) finish(q *Queue, it *Item, merged map[change.Key]bool) {
	bs := it.Buildset
	if st.s.Settings.Manager == Dependent {
		landed := st.noteMerged(it, merged)
		switch {
		case bs.Result == Success && landed:
			st.widen(q)
		case bs.Result == Success:
			bs.Result = MergeFailure
			if len(it.Changes) > 1 || it.Moved > maxMoved || it.Refused != "" {
				st.send(it, ReportFailure, st.s.Settings.Reporters[ReportFailure])
			}
			st.resetBehind(it)
		default:
			st.narrow(q)
			st.resetBehind(it)
		}
	}
	st.recordEnd(it, false)
	st.wantsEstimates()
	st.dequeue(it)
}

// noteMerged marks the changes that landed, and tells whether all did.
func (st *stepper) noteMerged(it *Item, merged map[change.Key]bool) bool {
	all := true
	for _, k := range it.Changes {
		c := st.s.Changes[k]
		if !merged[k] {
			all = all && c != nil && c.Merged
			continue
		}
		if c == nil {
			continue
		}
		d := *c
		d.Merged, d.Open, d.Status = true, false, "MERGED"
		st.s.Changes[k], st.s.cycles = &d, nil
		if st.s.Tenant.WantMerged {
			st.emit(&Emit{Event: event.Event{
				ID: it.Event.ID, Connection: "zuul", Driver: "zuul", Type: event.ProjectChangeMerged,
				Project: d.Project, Branch: d.Branch, Ref: d.Ref, Number: d.Number, Patchset: d.Patchset,
				Tenant: st.s.Tenant.Name, At: st.now, Received: st.now, Change: &d,
			}})
		}
	}
	return all
}

// reported takes the outcome of merges in. Where nothing landed because the branch had moved, what was
// tested is not what would land: the item is tested again.
func (st *stepper) reported(in *Reported) {
	it, _ := st.buildset(in.Item, in.Buildset)
	if it == nil || it.Merging != in.Report {
		return
	}
	q := st.queueOf(it)
	it.Merging = ""
	st.touch(it)
	any := slices.ContainsFunc(it.Changes, func(k change.Key) bool { return in.Merged[k] })
	if in.Moved && !any && st.known(it) {
		if it.Moved++; it.Moved <= maxMoved {
			it.Buildset.Result = ""
			st.reset(it)
			return
		}
	}
	for _, k := range it.Changes {
		if why := in.Why[k]; why != "" && !in.Merged[k] && it.Refused == "" {
			it.Refused = why
		}
	}
	st.finish(q, it, in.Merged)
}

// reportStart tells once that jobs begin.
func (st *stepper) reportStart(it *Item) {
	if len(st.s.Settings.Reporters[ReportStart]) == 0 {
		return
	}
	if st.reportOn(it, ReportStart) {
		it.ReportedStart = true
		st.touch(it)
	}
}

// reportOn tells of enqueueing, starting or dequeueing; a disabled pipeline does not.
func (st *stepper) reportOn(it *Item, a Action) bool {
	if st.s.Disabled {
		return false
	}
	st.send(it, a, st.s.Settings.Reporters[a])
	return true
}

// send emits a report with the texts that the action asks for; nil where nobody is told.
func (st *stepper) send(it *Item, action Action, reporters []Reporter) *Report {
	if len(reporters) == 0 {
		return nil
	}
	bs := it.Buildset
	r := &Report{
		ID: st.id(), Item: it.ID, Buildset: bs.ID, Action: action, Changes: st.withFiles(it),
		Reporters: reporters, Messages: map[change.Key]Text{}, URL: st.url(it), Event: it.Event,
		Result: bs.Result, Start: it.Enqueued,
	}
	if bs.Merge != nil {
		r.Commits = bs.Merge.Commits
	}
	for _, c := range r.Changes {
		r.Messages[c.Key()] = st.text(it, c, action)
		if mode := st.s.Tenant.Projects[c.Project.Canonical()].MergeMode; mode != "" {
			if r.Modes == nil {
				r.Modes = map[change.Key]string{}
			}
			r.Modes[c.Key()] = mode
		}
	}
	st.emit(r)
	return r
}

// recordStart writes that a buildset with jobs began.
func (st *stepper) recordStart(it *Item) {
	it.Buildset.Started = true
	st.emit(&Record{Buildset: st.row(it)})
}

// recordEnd writes what became of the buildset, if there is anything to tell: jobs, errors, or always.
func (st *stepper) recordEnd(it *Item, always bool) {
	bs := it.Buildset
	jobs := bs.Graph != nil && len(bs.Graph.Jobs) > 0
	if always || jobs || len(bs.Problems) > 0 || bs.Conflict != "" {
		st.emit(&Record{Buildset: st.row(it)})
	}
}

func (st *stepper) row(it *Item) *BuildsetRecord {
	bs := it.Buildset
	r := &BuildsetRecord{
		ID: bs.ID, Tenant: st.s.Tenant.Name, Pipeline: st.s.Settings.Name, Refs: st.withFiles(it),
		Result: bs.Result, Event: it.Event, At: st.now,
	}
	if bs.Result != "" {
		r.Message = st.summary(it)
	}
	for _, js := range bs.Jobs {
		b := js.Build
		if b == nil || b.Attempt == 0 {
			continue
		}
		if !b.Started.IsZero() && (r.First.IsZero() || b.Started.Before(r.First)) {
			r.First = b.Started
		}
		if b.Ended.After(r.Last) {
			r.Last = b.Ended
		}
	}
	return r
}

// recordBuild writes what became of a build.
func (st *stepper) recordBuild(it *Item, j *job.Job, b *Build, final bool) {
	js := it.Buildset.Jobs[j.ID]
	r := &BuildRecord{
		Buildset: it.Buildset.ID, Build: *b, JobName: j.Name, Ref: ref(it, j), Voting: j.Voting, Final: final,
		Nodeset: nodeset(j, js).Name, Provides: j.Provides, Queued: js.Queued,
		Job: j.ID, Dependencies: j.Dependencies,
	}
	for _, s := range j.Semaphores {
		r.Semaphores = append(r.Semaphores, s.Name)
	}
	r.Semaphores = append(r.Semaphores, st.resources(j)...)
	if !js.Queued.IsZero() && b.Requested.Sub(js.Queued) >= time.Second {
		r.Waited = "waited " + b.Requested.Sub(js.Queued).Round(time.Second).String() + " for nodes or semaphores"
	}
	st.emit(&Record{Build: r})
}
