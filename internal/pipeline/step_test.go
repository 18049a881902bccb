package pipeline

import (
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// An event that was read before a change merged, and is processed after, must not bring the change back: what
// needs it would be thrown out.
func TestMergedStaysMerged(t *testing.T) {
	p := plan{Manager: "dependent", Layout: "layout 1", Projects: map[string]planProject{"org/project": {}}, Jobs: []planJob{{Name: "unit"}}}
	w := newWorld(p.settings(), p.tenant())
	w.jobs = func(c []*change.Change) *job.Graph { return p.graph(c) }
	w.propose(named("org/project"), "master", "A")
	w.propose(named("org/project"), "master", "B", "A")
	w.step(w.tell("comment-added", "A", true))
	w.carryAll()
	early := w.tell("comment-added", "B", false)
	w.step(w.tell("comment-added", "B", true))
	w.carryAll()
	w.step(w.end(w.runs[0], Success))
	w.carryAll()
	if n := len(w.s.Items); n != 1 {
		t.Fatalf("A should have merged, %d items are left", n)
	}
	w.step(early)
	w.carryAll()
	if n := len(w.s.Items); n != 1 {
		t.Errorf("B should stay, %d items are left", n)
	}
}
