package pipeline

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// full is a gate with that many changes, all of them tested at once. They come in stacks, in which each needs the one
// before.
func full(b *testing.B, items, stack int) *world {
	b.Helper()
	p := plan{Manager: "dependent", Layout: "layout 1", FailFast: true, Projects: map[string]planProject{"org/project": {}},
		Jobs: []planJob{{Name: "lint"}, {Name: "unit", Nodes: 1}, {Name: "deploy-test", Needs: []string{"unit"}, Semaphores: []string{"host"}}}}
	w := newWorld(p.settings(), p.tenant())
	w.jobs = func(c []*change.Change) *job.Graph { return p.graph(c) }
	for i := range items {
		n := fmt.Sprint(i + 1)
		var needs []string
		if i%stack > 0 {
			needs = append(needs, fmt.Sprint(i))
		}
		w.propose(named("org/project"), "master", n, needs...)
		w.step(w.tell("comment-added", n, true))
	}
	w.carryAll()
	return w
}

func (w *world) carryAll() {
	for len(w.todo) > 0 {
		e := w.todo[0]
		w.todo = w.todo[1:]
		for _, in := range w.outcome(e) {
			w.step(in)
		}
	}
}

// BenchmarkStep is one input to a gate with 500 items, each with three jobs: the news that changes little,
// the result of a job, the head that lands, and the head that fails, so that 499 items start over. The aim
// is 200 us for an input that does not start the queue over.
func BenchmarkStep(b *testing.B) {
	const items = 500
	b.Run("build started", func(b *testing.B) {
		w := full(b, items, 1)
		r := w.runs[len(w.runs)/2]
		for b.Loop() {
			w.step(&BuildStarted{Build: r.Build, At: w.now})
		}
		b.ReportMetric(float64(len(w.s.Items)), "items")
	})
	b.Run("build started, stacks of five", func(b *testing.B) {
		w := full(b, items, 5)
		r := w.runs[len(w.runs)/2]
		for b.Loop() {
			w.step(&BuildStarted{Build: r.Build, At: w.now})
		}
		b.ReportMetric(float64(len(w.s.Items)), "items")
	})
	b.Run("build ended", func(b *testing.B) {
		var w *world
		var todo []*run
		for b.Loop() {
			if len(todo) == 0 {
				b.StopTimer()
				w = full(b, items, 1)
				for _, r := range w.runs {
					if r.Job.Name == "lint" {
						todo = append(todo, r)
					}
				}
				b.StartTimer()
			}
			w.step(&BuildEnded{Build: todo[0].Build, Result: Success, At: w.now})
			todo = todo[1:]
		}
	})
	b.Run("enqueue", func(b *testing.B) {
		w := full(b, items, 1)
		for b.Loop() {
			b.StopTimer()
			if len(w.s.Items) > items+50 {
				w = full(b, items, 1)
			}
			n := fmt.Sprint("new", w.inputs)
			w.propose(named("org/project"), "master", n)
			in := w.tell("comment-added", n, true)
			b.StartTimer()
			w.step(in)
		}
	})
	b.Run("head fails", func(b *testing.B) {
		w := full(b, items, 1)
		for b.Loop() {
			b.StopTimer()
			r := w.headBuild()
			b.StartTimer()
			w.step(&BuildEnded{Build: r.Build, Result: Failure, At: w.now})
		}
		b.ReportMetric(float64(len(w.s.Items)), "items-restarted")
	})
}

// headBuild gets the head of the queue to where it has a build.
func (w *world) headBuild() *run {
	head := w.s.Items[w.s.Queues[0].Items[0]]
	for {
		if i := slices.IndexFunc(w.runs, func(r *run) bool { return r.Buildset == head.Buildset.ID }); i >= 0 {
			return w.runs[i]
		}
		i := slices.IndexFunc(w.todo, func(e Effect) bool {
			switch e := e.(type) {
			case *Merge:
				return e.Buildset == head.Buildset.ID
			case *Configure:
				return e.Buildset == head.Buildset.ID
			}
			return false
		})
		e := w.todo[i]
		w.drop(e)
		for _, in := range w.outcome(e) {
			w.step(in)
		}
	}
}
