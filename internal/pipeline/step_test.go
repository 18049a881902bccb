package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
)

// world plays everybody around the core: it merges, configures and supplies at once, and holds builds until
// the test ends them. Between any two steps the state goes through JSON, as it does between owners.
type world struct {
	t      *testing.T
	s      *State
	sem    *Semaphores
	n      int
	graph  *job.Graph
	builds map[BuildID]*Start
	order  []BuildID
	merges int
	// landed lists merged changes, with the commits that they were tested as.
	landed  []string
	reports []string
	refuse  map[change.Key]bool
	moved   int
}

var project = change.Project{Connection: "gerrit", Host: "review.example.com", Name: "org/project"}

func newWorld(t *testing.T, kind Kind, jobs ...*job.Job) *world {
	w := &world{t: t, s: &State{}, sem: &Semaphores{}, graph: &job.Graph{Jobs: jobs}, builds: map[BuildID]*Start{}, refuse: map[change.Key]bool{}}
	w.step(&Reconfigure{
		Settings: Settings{
			Name: "gate", Manager: kind, AllowOtherConnections: true, DequeueOnNewPatchset: true,
			Window: WindowSettings{Size: 20, Floor: 3, IncreaseType: "linear", IncreaseFactor: 1, DecreaseType: "exponential", DecreaseFactor: 2},
			Reporters: map[Action][]Reporter{
				ReportSuccess: {{Connection: "gerrit", Driver: "gerrit", Merges: kind == Dependent}},
				ReportFailure: {{Connection: "gerrit", Driver: "gerrit"}},
			},
			Messages: Messages{Success: "Build succeeded.", Failure: "Build failed."},
		},
		Tenant: Tenant{Name: "t", Layout: "L", WebRoot: "https://zuul.example.com/", Projects: map[string]Project{
			project.Canonical(): {Project: project, InPipeline: true, MergeMode: "merge", DefaultBranch: "master"},
		}},
	})
	return w
}

func simple(name string, after ...string) *job.Job {
	j := &job.Job{ID: job.ID(name), Name: name, Voting: true, Attempts: 3}
	for _, a := range after {
		j.Dependencies = append(j.Dependencies, job.Dependency{Job: job.ID(a)})
	}
	return j
}

func (w *world) change(number string) *change.Change {
	return &change.Change{Kind: change.KindChange, Project: project, Branch: "master", Number: number, Patchset: "1",
		Ref: "refs/changes/0" + number + "/" + number + "/1", Files: []string{"README"}, Open: true, Current: true, URL: "https://review.example.com/" + number}
}

func (w *world) enqueue(numbers ...string) {
	for _, n := range numbers {
		c := w.change(n)
		w.step(&Trigger{Event: event.Event{ID: "e" + n, Driver: "gerrit", Type: "comment-added"}, Key: c.Key(), Changes: []*change.Change{c}, Match: true})
	}
}

func (w *world) step(in Input) {
	w.t.Helper()
	w.n++
	w.roundTrip()
	effects, _ := Step(w.s, w.sem, Meta{Now: time.Unix(int64(w.n), 0).UTC(), Seed: fmt.Sprint("seed", w.n)}, in)
	for _, e := range effects {
		w.do(e)
	}
}

func (w *world) roundTrip() {
	b, err := json.Marshal(w.s)
	if err != nil {
		w.t.Fatal(err)
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		w.t.Fatal(err)
	}
	again, err := json.Marshal(&s)
	if err != nil || string(again) != string(b) {
		w.t.Fatalf("the state does not survive a round trip: %v\n%s", err, cmp.Diff(string(b), string(again)))
	}
	w.s = &s
}

func (w *world) do(e Effect) {
	w.t.Helper()
	switch e := e.(type) {
	case *Merge:
		w.merges++
		r := &MergeResult{}
		base := fmt.Sprint("base", w.moved)
		for _, op := range e.Operations {
			if op.Time.IsZero() {
				w.t.Errorf("operation %s has no time: its commit would have another id in each request", op.Key)
			}
			commit := base + "+" + op.Number
			r.Commits = append(r.Commits, Commit{Project: op.Project, Branch: op.Branch, Commit: commit, Base: base, Change: op.Key})
			base = commit
		}
		w.step(&Merged{Item: e.Item, Buildset: e.Buildset, Result: r})
	case *Configure:
		w.step(&Configured{Item: e.Item, Buildset: e.Buildset, Layout: "L", Graph: w.graph})
	case *Start:
		w.builds[e.Build] = e
		w.order = append(w.order, e.Build)
	case *Cancel:
		delete(w.builds, e.Build)
		w.order = slices.DeleteFunc(w.order, func(b BuildID) bool { return b == e.Build })
		w.step(&BuildEnded{Build: e.Build, Result: Canceled})
	case *Report:
		for _, c := range e.Changes {
			w.reports = append(w.reports, c.Number+" "+string(e.Action))
		}
		if e.Merge {
			w.merge(e)
		}
	}
}

func (w *world) merge(e *Report) {
	out := &Reported{Item: e.Item, Buildset: e.Buildset, Report: e.ID, Merged: map[change.Key]bool{}}
	for _, c := range e.Changes {
		if w.refuse[c.Key()] {
			out.Moved = true
			delete(w.refuse, c.Key())
			continue
		}
		out.Merged[c.Key()] = true
		for _, m := range e.Commits {
			if m.Change == c.Key() {
				w.landed = append(w.landed, m.Commit)
			}
		}
	}
	w.step(out)
}

// running lists "job change" in order of start.
func (w *world) running() []string {
	out := []string{}
	for _, id := range w.order {
		b := w.builds[id]
		out = append(out, b.Job.Name+" "+b.Changes[len(b.Changes)-1].Number)
	}
	return out
}

func (w *world) end(what string, r Result) {
	w.t.Helper()
	for i, id := range w.order {
		b := w.builds[id]
		if b.Job.Name+" "+b.Changes[len(b.Changes)-1].Number == what {
			delete(w.builds, id)
			w.order = slices.Delete(w.order, i, i+1)
			w.step(&BuildEnded{Build: id, Result: r, At: time.Unix(int64(w.n), 0).UTC()})
			return
		}
	}
	w.t.Fatalf("%s is not running; %v are", what, w.running())
}

func (w *world) want(what string, got, want []string) {
	w.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestGateTestsOnTopOfThoseAhead(t *testing.T) {
	w := newWorld(t, Dependent, simple("test"))
	w.enqueue("1", "2", "3")
	w.want("running", w.running(), []string{"test 1", "test 2", "test 3"})
	w.end("test 3", Success)
	w.end("test 2", Success)
	w.want("landed before the head passed", w.landed, nil)
	w.end("test 1", Success)
	w.want("landed", w.landed, []string{"base0+1", "base0+1+2", "base0+1+2+3"})
	if len(w.s.Items) != 0 {
		t.Errorf("%d items are left", len(w.s.Items))
	}
}

func TestGateTestsAgainWithoutAFailedChange(t *testing.T) {
	w := newWorld(t, Dependent, simple("test"))
	w.enqueue("1", "2", "3")
	w.end("test 2", Failure)
	w.want("running after 2 failed", w.running(), []string{"test 1", "test 3"})
	if got := w.builds[w.order[1]].Merge.Commits; got[len(got)-1].Commit != "base0+1+3" {
		t.Errorf("3 is tested as %s, want base0+1+3", got[len(got)-1].Commit)
	}
	w.end("test 1", Success)
	w.end("test 3", Success)
	w.want("landed", w.landed, []string{"base0+1", "base0+1+3"})
	w.want("reports", w.reports, []string{"1 success", "2 failure", "3 success"})
}

// Somebody pushed to the branch just before the tested commit could land: nothing untested lands.
func TestMovedBranchIsTestedAgain(t *testing.T) {
	w := newWorld(t, Dependent, simple("test"))
	w.enqueue("1", "2")
	w.refuse[w.change("1").Key()] = true
	w.moved = 1
	w.end("test 1", Success)
	w.want("landed", w.landed, nil)
	w.want("running", w.running(), []string{"test 1", "test 2"})
	w.end("test 1", Success)
	w.end("test 2", Success)
	w.want("landed", w.landed, []string{"base1+1", "base1+1+2"})
}

func TestIndependentPipelineReportsEachChange(t *testing.T) {
	w := newWorld(t, Independent, simple("build"), simple("test", "build"), simple("publish", "test"))
	w.enqueue("1", "2")
	w.want("running", w.running(), []string{"build 1", "build 2"})
	w.end("build 1", Success)
	w.want("running", w.running(), []string{"build 2", "test 1"})
	w.end("build 2", Failure)
	w.end("test 1", Success)
	w.end("publish 1", Success)
	w.want("reports", w.reports, []string{"2 failure", "1 success"})
}

func TestSerialPipelineTakesOneAtATime(t *testing.T) {
	w := newWorld(t, Serial, simple("deploy"))
	w.enqueue("1", "2")
	w.want("running", w.running(), []string{"deploy 1"})
	w.end("deploy 1", Success)
	w.want("running", w.running(), []string{"deploy 2"})
}

func TestRetriesAreBounded(t *testing.T) {
	w := newWorld(t, Independent, simple("test"))
	w.enqueue("1")
	for range 3 {
		w.end("test 1", "")
	}
	w.want("running", w.running(), []string{})
	w.want("reports", w.reports, []string{"1 failure"})
}

func TestSemaphoreAdmitsOne(t *testing.T) {
	j := simple("deploy")
	j.Semaphores = []job.Semaphore{{Name: "host"}}
	w := newWorld(t, Independent, j)
	w.enqueue("1", "2")
	w.want("running", w.running(), []string{"deploy 1"})
	w.end("deploy 1", Success)
	w.want("running", w.running(), []string{"deploy 2"})
	w.end("deploy 2", Success)
	if len(w.sem.Holders) != 0 {
		t.Errorf("semaphores are still held: %v", w.sem.Holders)
	}
}

func TestNewPatchsetReplacesTheOld(t *testing.T) {
	w := newWorld(t, Independent, simple("test"))
	w.enqueue("1")
	c := w.change("1")
	c.Patchset = "2"
	w.step(&Trigger{Event: event.Event{Driver: "gerrit", Type: "patchset-created"}, Key: c.Key(), Changes: []*change.Change{c}, Match: true})
	w.want("running", w.running(), []string{"test 1"})
	if got := w.builds[w.order[0]].Own; got[0] != c.Key() {
		t.Errorf("%v is tested, want %v", got, c.Key())
	}
}

func TestPromoteReordersTheQueue(t *testing.T) {
	w := newWorld(t, Dependent, simple("test"))
	w.enqueue("1", "2", "3")
	w.step(&Promote{Keys: []change.Key{w.change("3").Key(), w.change("1").Key()}})
	w.want("running", w.running(), []string{"test 3", "test 1", "test 2"})
}

func TestReconfigureKeepsBuilds(t *testing.T) {
	w := newWorld(t, Dependent, simple("test"))
	w.enqueue("1", "2")
	before := slices.Clone(w.order)
	tenant := w.s.Tenant
	tenant.Layout = "L2"
	w.step(&Reconfigure{Settings: w.s.Settings, Tenant: tenant})
	if d := cmp.Diff(before, w.order); d != "" {
		t.Errorf("builds were not kept (-want +got):\n%s", d)
	}
	w.end("test 1", Success)
	w.end("test 2", Success)
	w.want("landed", w.landed, []string{"base0+1", "base0+1+2"})
}
