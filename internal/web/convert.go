package web

import (
	"cmp"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// durations tells how long a job of a project usually takes; 0 is not known.
type durations func(project, job string) time.Duration

// convert makes of a pipeline's state what people see of it.
func convert(st *pipeline.State, sem *pipeline.Semaphores, est durations, now time.Time) (*api.Pipeline, []api.Item) {
	p := &api.Pipeline{Name: st.Settings.Name, Description: st.Settings.Description, Manager: string(st.Settings.Manager),
		Position: position(&st.Settings), State: "normal", Queues: []api.Queue{}}
	switch {
	case st.Paused != "":
		p.State, p.Reason = "paused", st.Paused
	case st.Disabled:
		p.State, p.Reason = "disabled", "too many failures in a row"
	}
	p.Triggers = triggers(&st.Settings)
	var items []api.Item
	for _, q := range st.Queues {
		if len(q.Items) == 0 {
			continue
		}
		out := api.Queue{Name: q.Name, Branch: q.Branch, Window: q.Window, Items: []string{}}
		for _, id := range q.Items {
			if it := st.Items[id]; it != nil {
				out.Items = append(out.Items, string(id))
				items = append(items, convertItem(st, sem, it, est, now))
			}
		}
		p.Queues = append(p.Queues, out)
	}
	return p, items
}

// position puts pipelines in the order in which a change meets them: before review, gate, after.
func position(s *pipeline.Settings) int {
	switch {
	case s.Manager == pipeline.Dependent:
		return 1
	case !s.PostReview && s.Manager == pipeline.Independent:
		return 0
	}
	return 2
}

func triggers(s *pipeline.Settings) (out []string) {
	seen := map[string]bool{}
	for _, c := range s.Connections {
		if !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	return out
}

func convertItem(st *pipeline.State, sem *pipeline.Semaphores, it *pipeline.Item, est durations, now time.Time) api.Item {
	out := api.Item{ID: string(it.ID), Pipeline: st.Settings.Name, Refs: []api.Ref{}, Live: it.Live, Active: it.Active,
		Ahead: string(it.Ahead), Failing: it.Failing, Enqueued: it.Enqueued, Jobs: []api.Job{}}
	for _, b := range it.Behind {
		out.Behind = append(out.Behind, string(b))
	}
	for _, k := range it.Changes {
		out.Refs = append(out.Refs, convertRef(st.Changes[k], k))
	}
	b := it.Buildset
	if b != nil {
		out.Buildset = string(b.ID)
		out.Jobs = convertJobs(b, st.Changes, est)
		for _, p := range b.Problems {
			out.Problems = append(out.Problems, api.Problem{Name: p.Name, Severity: p.Severity, Project: p.Project, Branch: p.Branch,
				Path: p.Path, Line: p.Line, Text: p.Text, Short: p.Short})
		}
	}
	out.State = itemState(st, it, out.Jobs)
	e := pipeline.Explain(st, sem, it.ID)
	if out.Why = e.Why; worthANote(&out) || b != nil && b.Looking != "" {
		out.Note = e.Why
	}
	for i := range e.Jobs {
		out.Jobs[i].Why = e.Jobs[i].Why
	}
	out.Ends = newPlan(out.Jobs).ends(now)
	return out
}

func convertRef(c *change.Change, k change.Key) api.Ref {
	if c == nil {
		return api.Ref{Key: string(k), ID: string(k)}
	}
	title, _, _ := strings.Cut(c.Message, "\n")
	return api.Ref{Key: string(k), ID: c.ID(), Project: c.Project.Name, Canonical: c.Project.Canonical(), Branch: c.Branch,
		Ref: c.Ref, URL: c.URL, Owner: c.Owner, Title: title}
}

// itemState is the item's state in one word.
func itemState(st *pipeline.State, it *pipeline.Item, jobs []api.Job) string {
	b := it.Buildset
	switch {
	case it.Blocked != "":
		return "problem"
	case b == nil || !it.Active && b.Phase == pipeline.PhaseNew:
		return "queued"
	case b.Conflict != "", b.Phase == pipeline.PhaseProblem && len(b.Problems) > 0:
		return "problem"
	}
	switch b.Phase {
	case pipeline.PhaseMerging:
		return "merging"
	case pipeline.PhaseLayout, pipeline.PhaseRepoState:
		return "configuring"
	}
	switch {
	case b.Result != "" && b.Result != pipeline.Success:
		return "failed"
	case b.Result != "":
		return "succeeded"
	case len(it.Failing) > 0:
		return "failing"
	case allDone(jobs):
		return "succeeded"
	case st.Paused != "":
		return "queued"
	}
	return "running"
}

// worthANote tells whether the reason why an item is where it is says more than its state and its jobs do.
func worthANote(it *api.Item) bool {
	switch it.State {
	case "running", "failed":
		return false
	case "succeeded":
		return it.Ahead != ""
	}
	return true
}

func allDone(jobs []api.Job) bool {
	for i := range jobs {
		if jobs[i].Result == "" {
			return false
		}
	}
	return len(jobs) > 0
}

func convertJobs(b *pipeline.Buildset, changes map[change.Key]*change.Change, est durations) []api.Job {
	out := []api.Job{}
	if b.Graph == nil {
		return out
	}
	for _, j := range b.Graph.Jobs {
		project := ""
		if len(j.Refs) > 0 {
			if c := changes[j.Refs[0]]; c != nil {
				project = c.Project.Canonical()
			}
		}
		out = append(out, convertJob(j, b.Jobs[j.ID], est(project, j.Name)))
	}
	return out
}

func convertJob(j *job.Job, s *pipeline.JobState, usual time.Duration) api.Job {
	out := api.Job{ID: string(j.ID), Name: j.Name, Voting: j.Voting, State: "waiting", EstimateMS: usual.Milliseconds()}
	for _, d := range j.Dependencies {
		out.Depends = append(out.Depends, api.Edge{Job: string(d.Job), Soft: d.Soft})
	}
	for _, x := range j.Semaphores {
		out.Semaphores = append(out.Semaphores, x.Name)
	}
	if s == nil {
		return out
	}
	out.Tries, out.Queued, out.Waiting = s.Tries, s.Queued, s.Waiting
	b := s.Build
	if b == nil {
		if s.NodesReady {
			out.State = "queued"
		}
		return out
	}
	out.Build, out.Result, out.LogURL = string(b.ID), string(b.Result), b.LogURL
	out.Started, out.Ended, out.Detail = b.Started, b.Ended, cmp.Or(b.Detail, string(s.SkippedBy))
	out.State = jobState(b)
	if out.State != "queued" {
		out.Waiting = ""
	}
	return out
}

func jobState(b *pipeline.Build) string {
	switch {
	case b.Result == pipeline.Success:
		return "success"
	case b.Result == pipeline.Skipped:
		return "skipped"
	case b.Result == pipeline.Canceled || b.Canceled:
		return "canceled"
	case b.Result != "":
		return "failure"
	case b.Paused:
		return "paused"
	case b.PreFail:
		return "failing"
	case !b.Started.IsZero():
		return "running"
	}
	return "queued"
}
