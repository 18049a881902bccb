package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/job"
)

// job is why a job is as it is. What is asked first is what Step asks first.
func (e *explainer) job(j *job.Job) string {
	js := e.bs.Jobs[j.ID]
	if js == nil {
		return "It is not known here."
	}
	if js.Repair != "" {
		return e.present(j, js) + " It had passed, and is run once more: " + sentence(js.Repair)
	}
	return e.present(j, js)
}

// present is why the job is as it is now.
func (e *explainer) present(j *job.Job, js *JobState) string {
	if js.Build != nil {
		return e.build(j, js)
	}
	ahead := e.ahead()
	switch {
	case e.bs.Phase != PhaseReady, !e.it.Active:
		return e.item()
	case e.s.Paused != "":
		return "The pipeline is paused: " + sentence(e.s.Paused)
	case preparing(ahead):
		return "It waits until " + e.called(ahead) + " ahead is prepared."
	}
	if holder, name := e.holds(ahead); holder != nil && js.NodeRequest == "" && !js.NodesReady {
		return fmt.Sprintf("It waits for job %s of %s ahead, which holds what follows until it has passed.", name, e.called(holder))
	}
	return e.waits(j, js)
}

// holds finds the job ahead that holds what follows.
func (e *explainer) holds(it *Item) (*Item, string) {
	for ; it != nil && it.Live; it = e.s.Items[it.Ahead] {
		if it.Buildset.Graph == nil {
			return nil, ""
		}
		for _, j := range it.Buildset.Graph.Jobs {
			if b := it.Buildset.Jobs[j.ID].Build; j.HoldFollowingChanges && (b == nil || b.Result != Success) {
				return it, j.Name
			}
		}
	}
	return nil, ""
}

// build is the explanation of a job that has a build, or a result without one.
func (e *explainer) build(j *job.Job, js *JobState) string {
	b := js.Build
	switch {
	case b.Result == Skipped && js.ByChildJobs:
		return fmt.Sprintf("It was skipped: job %s did not name it among its child_jobs.", e.nameOf(js.SkippedBy))
	case b.Result == Skipped:
		return fmt.Sprintf("It was skipped: job %s, on which it depends, did not pass.", e.nameOf(js.SkippedBy))
	case b.Result == NodeFailure:
		return "It has no nodes: " + sentence(b.Detail)
	case b.Result == Canceled && slices.Contains(e.it.Failing, failingNeed):
		return "It was canceled, because a change that is needed is failing."
	case b.Result == Canceled:
		return "It was canceled, because another job failed and the project wants to fail fast."
	case b.Result == Success:
		return "It passed."
	case b.Result != "":
		out := fmt.Sprintf("It ended with %s", b.Result)
		if b.Detail != "" {
			out += ": " + b.Detail
		}
		return sentence(out) + vote(j)
	case b.Paused:
		return fmt.Sprintf("It is paused until %s.", e.unfinished(e.bs.Graph.Children(j.ID, true, true), "has ended", "have ended"))
	case b.PreFail:
		return "It is still running, and has failed already."
	case !b.Started.IsZero():
		on := ""
		if b.Executor != "" {
			on = " on " + b.Executor
		}
		return "It runs" + on + clock(", since ", b.Started) + "."
	}
	return "It waits for an executor" + clock(", since ", b.Requested) + "."
}

func vote(j *job.Job) string {
	if j.Voting {
		return ""
	}
	return " It has no vote."
}

// waits is the explanation of a job that could begin but for what it waits for.
func (e *explainer) waits(j *job.Job, js *JobState) string {
	kind, names, _ := strings.Cut(js.Waiting, ": ")
	switch kind + ": " {
	case waitingDependencies:
		var open []job.ID
		for _, n := range strings.Split(names, ", ") {
			open = append(open, job.ID(n))
		}
		return e.dependencies(open)
	case waitingRequirements:
		return e.requires(j, js)
	case waitingSemaphores:
		return e.semaphore(names)
	case waitingLock:
		return e.lock(names)
	case waitingCanary:
		return fmt.Sprintf("It waits for job %s, which runs: only canary pairs run at once, and these two are none.", names)
	case waitingNodes:
		return e.nodes(j, js)
	}
	switch {
	case js.Waiting == waitingSlot:
		return e.width()
	case js.Waiting == waitingRepoState:
		return "The state of further repositories that it needs is being recorded."
	}
	for _, p := range e.bs.Graph.Parents(j.ID, true, true) {
		if b := e.bs.Jobs[p].Build; b == nil || b.Result == "" {
			return e.dependencies([]job.ID{p})
		}
	}
	return "It is about to begin."
}

// unfinished names the jobs that have no result: "job unit has ended".
func (e *explainer) unfinished(ids []job.ID, one, many string) string {
	var out []string
	for _, id := range ids {
		if js := e.bs.Jobs[id]; js == nil || js.Build == nil || js.Build.Result == "" {
			out = append(out, e.nameOf(id))
		}
	}
	if len(out) == 1 {
		return "job " + out[0] + " " + one
	}
	return "jobs " + strings.Join(out, ", ") + " " + many
}

// dependencies names what the job waits for: first what is under way, for that is what keeps it; of the rest,
// how many.
func (e *explainer) dependencies(open []job.ID) string {
	var busy, idle []string
	for _, id := range open {
		js := e.bs.Jobs[id]
		switch {
		case js == nil || js.Build == nil:
			idle = append(idle, fmt.Sprintf("job %s, which has not begun", e.nameOf(id)))
		case js.Build.Result != "":
			idle = append(idle, fmt.Sprintf("job %s, which ended with %s", e.nameOf(id), js.Build.Result))
		case js.Build.Started.IsZero():
			busy = append(busy, fmt.Sprintf("job %s, which is about to begin", e.nameOf(id)))
		default:
			busy = append(busy, fmt.Sprintf("job %s, which runs", e.nameOf(id)))
		}
	}
	said := append(busy, idle...)
	out := "It waits for " + said[0]
	switch rest := len(said) - 1; {
	case rest == 1:
		out += ", and for " + said[1]
	case rest > 1:
		out += fmt.Sprintf(", and for %d more after it", rest)
	}
	return out + "."
}

func (e *explainer) nameOf(id job.ID) string {
	if j := e.bs.Graph.Job(id); j != nil {
		return j.Name
	}
	return string(id)
}

func (e *explainer) requires(j *job.Job, js *JobState) string {
	what := strings.Join(j.Requires, ", ")
	if js.Lookup != "" {
		return "It requires " + what + "; earlier builds are searched for it."
	}
	for x := e.s.Items[e.it.Ahead]; x != nil; x = e.s.Items[x.Ahead] {
		if x.Live && !provided(x, j) {
			return fmt.Sprintf("It requires %s, which %s ahead has still to provide.", what, e.called(x))
		}
	}
	return "It requires " + what + ", which a change that it needs has still to provide."
}

func (e *explainer) semaphore(name string) string {
	limit := e.s.Tenant.semaphoreMax(name)
	kind := "semaphore "
	if strings.HasPrefix(name, ResourcePrefix) {
		kind = "" // its name begins with what it is
	}
	out := fmt.Sprintf("It waits for %s%s (%d at a time)", kind, name, limit)
	if limit == 1 {
		out = "It waits for " + kind + name
	}
	var holders []string
	for _, h := range e.sem.Holders[name] {
		holders = append(holders, e.holder(h))
	}
	if len(holders) == 0 {
		return out + ", which is free: it is taken in a moment."
	}
	if len(holders) == 1 {
		return out + ", which is held by " + holders[0] + "."
	}
	return out + ", held by " + strings.Join(holders, " and by ") + "."
}

// holder names a job that holds a semaphore, whichever pipeline it is in.
func (e *explainer) holder(h Holder) string {
	where := ""
	switch it := e.s.Items[h.Item]; {
	case it == e.it:
		where = "of this item"
	case it != nil:
		where = "of " + e.called(it)
	case h.Tenant != e.s.Tenant.Name:
		return fmt.Sprintf("a job of another tenant%s", clock(" since ", h.Since))
	default:
		where = "in pipeline " + h.Pipeline
	}
	return fmt.Sprintf("job %s %s%s", h.Job, where, clock(" since ", h.Since))
}

func (e *explainer) nodes(j *job.Job, js *JobState) string {
	labels := map[string]int{}
	var order []string
	for _, n := range nodeset(j, js).Nodes {
		if labels[n.Label]++; labels[n.Label] == 1 {
			order = append(order, n.Label)
		}
	}
	for i, l := range order {
		order[i] = fmt.Sprintf("%d %s", labels[l], l)
	}
	out := "It waits for nodes (" + strings.Join(order, ", ") + ")" + clock(" since ", js.Queued)
	if js.Provider != "" {
		out += " of " + js.Provider + ", where those of its paused parent are"
	}
	if js.Alternative > 0 {
		out += fmt.Sprintf(", the alternative no. %d, for nobody could give the others", js.Alternative+1)
	}
	switch before := e.requestsBefore(js); before {
	case 0:
		out += "; its request is the first of this pipeline"
	case 1:
		out += "; 1 request of this pipeline goes before it"
	default:
		out += fmt.Sprintf("; %d requests of this pipeline go before it", before)
	}
	return out + "."
}

// requestsBefore counts outstanding node requests of the pipeline that come first.
func (e *explainer) requestsBefore(js *JobState) int {
	n := 0
	for _, q := range e.s.Queues {
		for _, id := range q.Items {
			for _, o := range e.s.Items[id].Buildset.Jobs {
				if o != js && o.NodeRequest != "" && !o.NodesReady && (o.Relative < js.Relative || o.Relative == js.Relative && o.Queued.Before(js.Queued)) {
					n++
				}
			}
		}
	}
	return n
}

// WaitsForOthers tells whether a job of the pipeline waits for a semaphore or a lock, which another pipeline may have.
func WaitsForOthers(s *State) bool {
	for _, it := range s.Items {
		for _, js := range it.Buildset.Jobs {
			if js.Build == nil && (strings.HasPrefix(js.Waiting, waitingSemaphores) || strings.HasPrefix(js.Waiting, waitingLock)) {
				return true
			}
		}
	}
	return false
}
