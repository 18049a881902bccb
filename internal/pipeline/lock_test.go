package pipeline

import (
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

func TestOrderOfWaiters(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	w := func(name, precedence string, waited time.Duration, ageing int) Waiter {
		return Waiter{Pipeline: name, Item: ItemID(name), Since: now.Add(-waited), Precedence: precedence, Ageing: ageing}
	}
	for _, c := range []struct {
		name    string
		waiting []Waiter
		want    []string
	}{
		{"precedence goes before time", []Waiter{w("hourly", "low", time.Hour, 0), w("deploy", "high", time.Minute, 0)}, []string{"deploy", "hourly"}},
		{"among equals, who waits longest", []Waiter{w("b", "", time.Minute, 0), w("a", "normal", time.Hour, 0)}, []string{"a", "b"}},
		{"waiting makes up for precedence", []Waiter{w("deploy", "high", time.Minute, 900), w("hourly", "low", 40*time.Minute, 900)}, []string{"hourly", "deploy"}},
		{"not yet", []Waiter{w("hourly", "low", 20*time.Minute, 900), w("deploy", "high", time.Minute, 900)}, []string{"deploy", "hourly"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := (&LockState{Waiting: c.waiting}).Order(now)
			for i, name := range c.want {
				if got[i].Pipeline != name {
					t.Fatalf("place %d has %s, want %v", i, got[i].Pipeline, c.want)
				}
			}
		})
	}
}

// TestLockOfTwoPipelines: the lock goes from one pipeline to the other with the same write that lets it go.
func TestLockOfTwoPipelines(t *testing.T) {
	sem := &Semaphores{}
	open := func(name, precedence string) *world {
		p := &plan{Manager: "independent", Layout: "layout 1", Lock: "production", Precedence: precedence,
			Jobs: []planJob{{Name: "deploy"}}, Projects: map[string]planProject{"org/project": {}}}
		s := p.settings()
		s.Name = name
		w := newWorld(s, p.tenant())
		w.sem = sem
		w.jobs = func(c []*change.Change) *job.Graph { return p.graph(c) }
		return w
	}
	deploy, hourly := open("deploy", "high"), open("hourly", "low")
	hourly.inputs = 1000 // ids come from the seeds
	enqueue := func(w *world, n string) {
		w.propose(named("org/project"), "master", n)
		w.step(w.tell("comment-added", n, true))
		for len(w.todo) > 0 {
			e := w.todo[0]
			w.drop(e)
			for _, in := range w.outcome(e) {
				w.step(in)
			}
		}
	}
	enqueue(hourly, "A")
	enqueue(hourly, "B")
	enqueue(deploy, "C")
	if len(hourly.runs) != 1 || len(deploy.runs) != 0 {
		t.Fatalf("%d and %d builds run, want that of the first item only", len(hourly.runs), len(deploy.runs))
	}
	var released []string
	hourly.stepped = func(_ Input, effects []Effect, _ []ItemID) {
		for _, e := range effects {
			if r, ok := e.(*Released); ok {
				released = append(released, r.Semaphores...)
			}
		}
	}
	hourly.step(hourly.end(hourly.runs[0], Success))
	if h := sem.Locks["production"].Holder; h == nil || h.Pipeline != "deploy" {
		t.Fatalf("the lock went to %+v, want deploy, which has precedence", h)
	}
	if len(released) != 1 || len(hourly.runs) != 0 {
		t.Fatalf("released %v with %d builds of hourly, want the other pipeline woken and nothing begun here", released, len(hourly.runs))
	}
	deploy.step(&Wake{})
	if len(deploy.runs) != 1 {
		t.Fatal("woken, deploy did not begin")
	}
	deploy.step(deploy.end(deploy.runs[0], Success))
	hourly.step(&Wake{})
	if len(hourly.runs) != 1 {
		t.Fatal("woken, hourly did not begin its second")
	}
	l := sem.Locks["production"]
	if len(l.Past) != 2 || l.Use(hourly.now) <= 0 || l.Use(hourly.now) > 1 {
		t.Errorf("of the past it knows %v, used %.2f", l.Past, l.Use(hourly.now))
	}
}
