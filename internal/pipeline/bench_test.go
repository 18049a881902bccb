package pipeline

import (
	"fmt"
	"slices"
	"testing"
	"time"

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
		w := full(b, items, 1)
		var lints []*run
		for _, r := range w.runs {
			if r.Job.Name == "lint" {
				lints = append(lints, r)
			}
		}
		inputs(b, w, len(lints), func(i int) Input {
			return &BuildEnded{Build: lints[i].Build, Result: Success, At: w.now}
		})
	})
	b.Run("enqueue", func(b *testing.B) {
		w := full(b, items, 1)
		inputs(b, w, 100, func(i int) Input {
			n := fmt.Sprint("new", i)
			w.propose(named("org/project"), "master", n)
			return w.tell("comment-added", n, true)
		})
	})
	for _, stack := range []int{1, 300} {
		b.Run(fmt.Sprintf("head lands, stacks of %d", stack), func(b *testing.B) {
			w := full(b, 300, stack)
			inputs(b, w, 50, func(int) Input { return w.headPasses() })
		})
	}
	b.Run("head fails", func(b *testing.B) {
		w := full(b, items, 1)
		inputs(b, w, 50, func(int) Input {
			return &BuildEnded{Build: w.headBuild().Build, Result: Failure, At: w.now}
		})
	})
}

// inputs measures n inputs, once, however long the benchmark is asked to run: to fill a queue takes far longer than
// they do.
func inputs(b *testing.B, w *world, n int, next func(i int) Input) {
	var took time.Duration
	for done := false; b.Loop(); done = true {
		for i := 0; i < n && !done; i++ {
			in := next(i)
			began := time.Now()
			w.step(in)
			took += time.Since(began)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/input")
	b.ReportMetric(float64(len(w.s.Items)), "items")
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

// headPasses gets the head of the queue to where its merge has landed, which it does not tell yet.
func (w *world) headPasses() Input {
	head := w.s.Items[w.s.Queues[0].Items[0]]
	for {
		if i := slices.IndexFunc(w.todo, func(e Effect) bool { r, ok := e.(*Report); return ok && r.Merge }); i >= 0 {
			e := w.todo[i]
			w.drop(e)
			return w.outcome(e)[0]
		}
		if len(w.todo) > 0 {
			e := w.todo[0]
			w.drop(e)
			for _, in := range w.outcome(e) {
				w.step(in)
			}
			continue
		}
		i := slices.IndexFunc(w.runs, func(r *run) bool { return r.Buildset == head.Buildset.ID })
		r := w.runs[i]
		w.runs = slices.Delete(w.runs, i, i+1)
		w.step(&BuildEnded{Build: r.Build, Result: Success, At: w.now})
	}
}
