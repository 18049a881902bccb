package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// Explanation says of an item, and of every job of it, why it is where it is: in one sentence each, for
// people, from the same state by which Step decides.
type Explanation struct {
	Item ItemID `json:"item"`
	// Why the item is not done yet, or what it came to.
	Why string `json:"why"`
	// Jobs in the order of the graph; empty before that is known.
	Jobs []JobExplanation `json:"jobs,omitempty"`
}

// JobExplanation is why one job runs, does not run yet, or never will.
type JobExplanation struct {
	Job  job.ID `json:"job"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Explain explains one item; nil where the pipeline has none of that ID. It changes nothing.
func Explain(s *State, sem *Semaphores, id ItemID) *Explanation {
	it := s.Items[id]
	if it == nil {
		return nil
	}
	e := &explainer{s: s, sem: sem, it: it, bs: it.Buildset}
	out := &Explanation{Item: id, Why: e.item()}
	if e.bs.Graph != nil {
		for _, j := range e.bs.Graph.Jobs {
			out.Jobs = append(out.Jobs, JobExplanation{j.ID, j.Name, e.job(j)})
		}
	}
	return out
}

type explainer struct {
	s   *State
	sem *Semaphores
	it  *Item
	bs  *Buildset
}

// ahead is the live item ahead.
func (e *explainer) ahead() *Item {
	if a := e.s.Items[e.it.Ahead]; a != nil && a.Live {
		return a
	}
	return nil
}

// called is how people call an item: its changes.
func (e *explainer) called(it *Item) string {
	var out []string
	for _, k := range it.Changes {
		if c := e.s.Changes[k]; c != nil {
			out = append(out, c.ID())
		} else {
			out = append(out, string(k))
		}
	}
	return strings.Join(out, " and ")
}

func (e *explainer) item() string {
	it, bs := e.it, e.bs
	switch {
	case it.Merging != "":
		return "All voting jobs passed; the forge has been asked to merge it, and its answer is awaited."
	case it.Blocked != "":
		return "It cannot be tested: " + sentence(it.Blocked)
	case it.MissingRequirements:
		return "The forge would not merge it any more: " + sentence(e.unmergeable())
	case !it.Live:
		return "It is here as context: its changes are needed by what is behind it; it has no jobs of its own."
	case bs.Conflict != "":
		return "It cannot be merged: " + sentence(bs.Conflict) + e.reportedAfter()
	case len(bs.Problems) > 0:
		return "Its configuration is broken: " + sentence(firstLine(bs.Problems[0])) + e.reportedAfter()
	case !it.Active:
		q, place := e.place()
		if q.Window == 1 {
			return fmt.Sprintf("It is number %d of its queue, which takes one at a time.", place+1)
		}
		return fmt.Sprintf("It is number %d of its queue, and only the first %d are worked on.", place+1, q.Window)
	case slices.Contains(it.Failing, failingNeed):
		return "A change that it needs is failing; it leaves with that one."
	}
	switch bs.Phase {
	case PhaseNew:
		return "It has just been enqueued."
	case PhaseMerging:
		return "It is being merged onto " + e.base() + clock(", since ", bs.Configured) + "."
	case PhaseLayout:
		if !bs.Asked {
			return "It waits for the configuration of the item ahead, " + e.called(e.s.Items[it.Ahead]) + "."
		}
		return "Its configuration and its jobs are being worked out."
	case PhaseRepoState:
		return "The state of further repositories that its jobs need is being recorded."
	}
	return e.jobs()
}

// jobs sums up an item that is ready.
func (e *explainer) jobs() string {
	total, done := len(e.bs.Graph.Jobs), 0
	for _, j := range e.bs.Graph.Jobs {
		if b := e.bs.Jobs[j.ID].Build; b != nil && b.Result != "" {
			done++
		}
	}
	ahead, failing := e.ahead(), strings.Join(e.it.Failing, "; ")
	switch {
	case done == total && e.it.Refetching != "":
		return "All voting jobs passed; the forges are asked once more whether all its changes can merge."
	case done == total && e.bs.Looking != "":
		return "All its jobs are done; it is being looked at whether one read what another one wrote meanwhile."
	case done == total && len(e.it.Failing) > 0 && ahead != nil:
		return "It failed (" + failing + "), and is told when " + e.called(ahead) + " ahead of it has left; if that fails, it gets another chance."
	case done == total && failing != "":
		return "It failed: " + failing + "."
	case done == total && ahead != nil:
		return "All voting jobs passed; it lands when " + e.called(ahead) + " ahead of it has landed."
	case done == total:
		return "All its jobs are done."
	case e.s.Paused != "":
		return "The pipeline is paused: " + sentence(e.s.Paused)
	case len(e.it.Failing) > 0:
		return fmt.Sprintf("It is failing (%s), so nothing behind builds on it any more; %d of its %d jobs are done, and it is told when all are.", failing, done, total)
	case preparing(ahead):
		return "It starts its jobs when " + e.called(ahead) + " ahead of it is prepared."
	}
	return fmt.Sprintf("%d of its %d jobs are done.", done, total)
}

func (e *explainer) reportedAfter() string {
	if a := e.ahead(); a != nil {
		return " It is told when " + e.called(a) + " ahead of it has left, for without that it might be fine."
	}
	return ""
}

// place is the item's queue and its position there.
func (e *explainer) place() (*Queue, int) {
	for _, q := range e.s.Queues {
		if i := slices.Index(q.Items, e.it.ID); i >= 0 {
			return q, i
		}
	}
	return &Queue{}, 0
}

func (e *explainer) base() string {
	if a := e.s.Items[e.it.Ahead]; a != nil {
		return e.called(a)
	}
	return "its branch"
}

// unmergeable is what the forge said of the first change that it would not merge.
func (e *explainer) unmergeable() string {
	for _, k := range e.it.Changes {
		if c := e.s.Changes[k]; c != nil {
			if ok, why := c.CanMerge(successVotes(&e.s.Settings)); !ok {
				return why
			}
		}
	}
	return "it said so when it was asked"
}

// Refusal says why the pipeline would not take a change in, were it told of it now; empty: it would. What
// its triggers want is another question. Forced: an operator wants it in, so requirements do not count, nor
// whether there are jobs for it.
func Refusal(s *State, c *change.Change, now time.Time, forced bool) string {
	st := &stepper{s: s} // for what only reads: others may read the state, too
	p, known := s.Tenant.Projects[c.Project.Canonical()]
	switch {
	case hasLive(s, c.Key()):
		return ""
	case !known:
		return fmt.Sprintf("Project %s is not in tenant %s.", c.Project.Name, s.Tenant.Name)
	case !s.Settings.AllowOtherConnections && !slices.Contains(s.Settings.Connections, c.Project.Connection):
		return fmt.Sprintf("The pipeline takes nothing from connection %s.", c.Project.Connection)
	case !p.InPipeline && !forced:
		return fmt.Sprintf("The merged configuration has no jobs of project %s for this pipeline.", c.Project.Name)
	case c.IsChange() && c.Merged && s.Settings.Manager == Dependent:
		return "It has merged."
	}
	for i := range s.Settings.Requirements {
		if ok, why := s.Settings.Requirements[i].Match(c, now); !ok && !forced {
			return "A requirement of the pipeline is not met: " + sentence(why)
		}
	}
	if s.Settings.Manager == Dependent {
		if ok, why := c.CanMerge(successVotes(&s.Settings)); !ok {
			return "The forge would not merge it: " + sentence(why)
		}
	}
	var g graph
	if st.explore(&g, c); st.tooLarge(&g) {
		return fmt.Sprintf("It needs more changes, directly or not, than tenant %s allows: %d.", s.Tenant.Name, s.Tenant.MaxDependencies)
	}
	return sentence(st.tooMany(1))
}

// hasLive tells whether a live item has the change at this patch set.
func hasLive(s *State, k change.Key) bool {
	for _, it := range s.Items {
		if it.Live && slices.Contains(it.Changes, k) {
			return true
		}
	}
	return false
}

// Changes are the item's changes, with their files where the forge or a merger told them.
func Changes(s *State, it *Item) []*change.Change { return (&stepper{s: s}).withFiles(it) }

// sentence ends a text with one full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

func firstLine(p Problem) string {
	text := p.Short
	if text == "" {
		text = p.Text
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if p.Path != "" {
		return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, text)
	}
	return text
}

// clock is a time of day after some words; nothing for no time.
func clock(words string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return words + t.UTC().Format("15:04:05 UTC")
}
