package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// lands gates a change and waits until it has landed as what was tested.
func (s *system) lands(t *testing.T, c *change.Change) {
	t.Helper()
	s.sink(approve(c))
	task, build := s.build(t)
	end(t, task, build, pipeline.Success)
	s.eventually(t, "change "+c.Number+" lands", func() bool { return s.head() == tested(build, c) })
}

func (s *system) head() string { return s.git(s.path("org/project"), "rev-parse", "master") }

// tested is the commit as which a build tested a change.
func tested(b *pipeline.Start, c *change.Change) string {
	for _, m := range b.Merge.Commits {
		if m.Change == c.Key() {
			return m.Commit
		}
	}
	return ""
}

func (s *system) told(number, what string) func() bool {
	return func() bool {
		for _, m := range s.messages() {
			if strings.HasPrefix(m, number+" ") && strings.Contains(m, what) {
				return true
			}
		}
		return false
	}
}

// Events out of order, twice, of projects, changes and types that nobody knows: what makes sense is done once.
func TestEventsOfAllKinds(t *testing.T) {
	t.Parallel()
	s := start(t, 1)
	a := s.propose("org/project", "1", map[string]string{"a": "a\n"})
	other := s.project("org/elsewhere")
	s.sink(event.Event{ID: "elsewhere", Type: "patchset-created", Project: other, Number: "1", Patchset: "1", Branch: "master"})
	for _, e := range []event.Event{
		{ID: "unknown-project", Type: "patchset-created", Project: other, Number: "1", Patchset: "1"},
		{ID: "unknown-change", Type: "comment-added", Project: a.Project, Number: "404", Patchset: "1"},
		{ID: "no-number", Type: "change-merged", Project: a.Project, Branch: "master"},
		{ID: "unknown-type", Type: "earthquake", Project: a.Project},
		{ID: "unknown-ref", Type: "ref-updated", Project: a.Project, Ref: "refs/heads/nowhere", OldRev: change.Zero, NewRev: strings.Repeat("1", 40)},
		{ID: "nothing"},
		{ID: "gone", Type: "change-abandoned", Project: a.Project, Number: "1", Patchset: "1"}, // before the change was ever told of
	} {
		e.Connection, e.Driver = "gerrit", "gerrit"
		if err := s.store.AppendEvent(t.Context(), []string{"t"}, e); err != nil {
			t.Fatal(err)
		}
	}
	s.sink(approve(a))
	s.sink(approve(a))
	s.sink(event.Event{ID: "merged-early", Type: "change-merged", Project: a.Project, Number: "1", Patchset: "1", Branch: "master"})
	task, build := s.build(t)
	end(t, task, build, pipeline.Success)
	s.eventually(t, "the change lands", func() bool { return s.head() == tested(build, a) })
	select {
	case task := <-s.starts:
		t.Errorf("one approval that came twice started another build: %v", task.Request.ID)
	case <-time.After(200 * time.Millisecond):
	}
	s.eventually(t, "nothing waits in the queue of events", func() bool {
		r, err := s.store.KV().Range(t.Context(), kv.Query{Prefix: store.EventPrefix("t"), KeysOnly: true})
		return err == nil && len(r.KVs) == 0
	})
}

// News of builds, items and requests that are not known, and an input that cannot be read: the pipeline goes on.
func TestResultsOfUnknownBuilds(t *testing.T) {
	t.Parallel()
	s := start(t, 1)
	a := s.propose("org/project", "1", map[string]string{"a": "a\n"})
	s.sink(approve(a))
	task, build := s.build(t)
	for _, in := range []pipeline.Input{
		&pipeline.BuildEnded{Build: "nobody's", Result: pipeline.Failure}, &pipeline.BuildStarted{Build: "nobody's"}, &pipeline.BuildPaused{Build: "nobody's"},
		&pipeline.BuildFailing{Build: "nobody's"}, &pipeline.Merged{Item: "none", Buildset: "none", Conflict: "no"},
		&pipeline.Merged{Item: build.Item, Buildset: "an older one", Conflict: "no"}, &pipeline.Configured{Item: build.Item, Buildset: build.Buildset, Problems: []pipeline.Problem{{Text: "no"}}},
		&pipeline.Reported{Item: build.Item, Buildset: build.Buildset, Report: "none", Merged: map[change.Key]bool{a.Key(): true}},
		&pipeline.NodesReady{Item: build.Item, Buildset: build.Buildset, Job: "nothing", Request: "none", Failed: true},
		&pipeline.RepoStated{Item: "none"}, &pipeline.Provided{Item: build.Item, Buildset: build.Buildset, Job: "nothing"}, &pipeline.Dequeue{Key: "none"},
	} {
		if err := s.store.Send(t.Context(), "t", "gate", in); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.store.Write(t.Context(), store.Fence{}, kv.Put(store.InboxPrefix("t", "gate")+"garbage", []byte("{what"))); err != nil {
		t.Fatal(err)
	}
	end(t, task, build, pipeline.Success)
	s.eventually(t, "the change lands", func() bool { return s.head() == tested(build, a) })
	dead, err := s.store.KV().Range(t.Context(), kv.Query{Prefix: "/dead/"})
	if err != nil || len(dead.KVs) != 1 || string(dead.KVs[0].Value) != "{what" {
		t.Errorf("what cannot be read is kept for people: %v, %v", dead, err)
	}
}

// The target branch is forced to another history while the gate tests: nothing lands that was not tested on it.
func TestForcedPushWhileTheGateRuns(t *testing.T) {
	t.Parallel()
	s := start(t, 1)
	root := s.head()
	s.commit("org/project", "refs/heads/master", root, map[string]string{"README": "one history\n"})
	a := s.propose("org/project", "1", map[string]string{"a": "a\n"})
	b := s.propose("org/project", "2", map[string]string{"b": "b\n"})
	s.sink(approve(a))
	taskA, first := s.build(t)
	s.sink(approve(b))
	taskB, second := s.build(t)
	rewritten := s.commit("org/project", "refs/heads/master", root, map[string]string{"NEWS": "another history\n"})
	end(t, taskB, second, pipeline.Success)
	end(t, taskA, first, pipeline.Success)
	var last *pipeline.Start
	for range 2 {
		task, build := s.build(t)
		if base := build.Merge.Commits[0].Base; base != rewritten {
			t.Fatalf("after the push %s is tested on %s, want %s", build.Build, base, rewritten)
		}
		if s.head() != rewritten && s.head() != tested(build, a) {
			t.Fatalf("master is at %s, which nobody tested", s.head())
		}
		end(t, task, build, pipeline.Success)
		if build.Own[0] == b.Key() { // both start at once: they come in any order
			last = build
		}
	}
	s.eventually(t, "both land on the new history", func() bool { return s.head() == tested(last, b) })
	s.eventually(t, "the person is told", s.told("1", "The branch moved while this was tested; it was tested again"))
}

// The forge says no to a merge at the last moment: the person is told why, and the one behind is tested again
// without it.
func TestForgeRefusesAtTheLastMoment(t *testing.T) {
	t.Parallel()
	s := start(t, 1)
	a := s.propose("org/project", "1", map[string]string{"a": "a\n"})
	b := s.propose("org/project", "2", map[string]string{"b": "b\n"})
	s.mu.Lock()
	s.refuses = map[string]string{"1": "the branch is locked for the release"}
	s.mu.Unlock()
	s.refusedOrLost(t, a, b, "This change passed, and could not be merged: the branch is locked for the release.")
}

// The forge says yes and does not merge: what is behind never lands on what is not there.
func TestForgeSaysYesAndDoesNot(t *testing.T) {
	t.Parallel()
	s := start(t, 1)
	a := s.propose("org/project", "1", map[string]string{"a": "a\n"})
	b := s.propose("org/project", "2", map[string]string{"b": "b\n"})
	s.mu.Lock()
	s.lies = map[string]bool{"1": true}
	s.mu.Unlock()
	s.refusedOrLost(t, a, b, "the forge says that it merged the change, and branch master is still at "+s.head())
}

func (s *system) refusedOrLost(t *testing.T, a, b *change.Change, message string) {
	t.Helper()
	before := s.head()
	s.sink(approve(a))
	taskA, buildA := s.build(t)
	s.sink(approve(b))
	taskB, buildB := s.build(t)
	end(t, taskB, buildB, pipeline.Success)
	end(t, taskA, buildA, pipeline.Success)
	taskB, buildB = s.build(t)
	if n := len(buildB.Merge.Commits); n != 1 || s.head() != before {
		t.Fatalf("the second change is tested again with %d merges, master at %s", n, s.head())
	}
	end(t, taskB, buildB, pipeline.Success)
	s.eventually(t, "the second change lands", func() bool { return s.head() == tested(buildB, b) })
	s.eventually(t, "the person is told", s.told("1", message))
}

// A message with more dependencies than anybody means keeps its change out, with the reason, and nothing else.
func TestTenThousandFooters(t *testing.T) {
	t.Parallel()
	s := start(t, 1)
	a := s.propose("org/project", "1", map[string]string{"a": "a\n"})
	var m strings.Builder
	m.WriteString("Everything at once\n\nDepends-On:\nDepends-On: \x00\xff not a URL\nDepends-On: https://[::1\nDepends-On: ")
	m.WriteString(strings.Repeat("x", 100_000))
	for i := range 10_000 {
		fmt.Fprintf(&m, "\nDepends-On: https://review.example.com/%d", i+100)
	}
	s.mu.Lock()
	c := *a
	c.Message = m.String()
	s.changes["1"] = &c
	s.mu.Unlock()
	b := s.propose("org/project", "2", map[string]string{"b": "b\n"})
	s.sink(approve(&c))
	s.lands(t, b)
	var r *pipeline.State
	s.eventually(t, "the gate is empty", func() bool {
		var err error
		r, _, err = s.store.LoadPipeline(t.Context(), "t", "gate")
		return err == nil && len(r.Items) == 0
	})
	if x := r.Changes[a.Key()]; x != nil && !strings.Contains(pipeline.Refusal(r, x, time.Now(), false), "no more than 400 are looked at") {
		t.Errorf("the reason is %q", pipeline.Refusal(r, x, time.Now(), false))
	}
}
