package node

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gozer-ci/gozer/internal/job"
)

// world plays providers, executors and operators against the rules, in any order, and looks at what
// must hold after each step.
type world struct {
	*Fleet
	now     time.Time
	steps   int
	todo    []Effect
	handed  map[string]string // node to the request that it was handed out for, until it is used
	refused map[string]bool
	asked   map[string]Request
}

func newWorld() *world {
	w := &world{Fleet: NewFleet(Limits{}), now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		handed: map[string]string{}, refused: map[string]bool{}, asked: map[string]Request{}}
	return w
}

func (w *world) step(t *rapid.T, in Input) {
	w.steps++
	effects, _ := Step(w.Fleet, Meta{w.now, strconv.Itoa(w.steps)}, in)
	for _, e := range effects {
		switch e := e.(type) {
		case *Fulfil:
			w.handOut(t, e)
		case *Refuse:
			w.refused[e.Request] = true
		default:
			w.todo = append(w.todo, e)
		}
	}
	w.look(t)
}

func (w *world) handOut(t *rapid.T, f *Fulfil) {
	r := w.asked[f.Request]
	if len(f.Nodes) != len(r.Nodeset.Nodes) {
		t.Fatalf("%s asked for %d nodes and gets %v", r.ID, len(r.Nodeset.Nodes), f.Nodes)
	}
	for i, id := range f.Nodes {
		n := w.Nodes[id]
		if n == nil || n.State != Ready || n.Provider != f.Provider || n.Request != r.ID || n.Label != r.Nodeset.Nodes[i].Label {
			t.Fatalf("%s is handed out for %s as %+v", id, r.ID, n)
		}
		if other := w.handed[id]; other != "" {
			t.Fatalf("%s is handed out for %s and for %s", id, other, r.ID)
		}
		w.handed[id] = r.ID
	}
}

func (w *world) look(t *rapid.T) {
	for name, p := range w.Providers {
		count, total := map[string]int{}, 0
		for _, n := range w.Nodes {
			if n.Provider == name {
				count[n.Label]++
				total++
			}
		}
		if p.Max > 0 && total > p.Max {
			t.Fatalf("%s has %d nodes, more than %d", name, total, p.Max)
		}
		for _, l := range p.Labels {
			if l.Max > 0 && count[l.Name] > l.Max {
				t.Fatalf("%s has %d nodes of label %s, more than %d", name, count[l.Name], l.Name, l.Max)
			}
		}
	}
	for id, request := range w.handed {
		if n := w.Nodes[id]; n != nil && n.State == Ready && n.Request != request {
			t.Fatalf("%s was handed out for %s, and is %q's before it was used", id, request, n.Request)
		}
	}
}

// answer carries out an effect, with luck.
func (w *world) answer(t *rapid.T, e Effect, luck bool) {
	switch e := e.(type) {
	case *Create:
		if luck {
			w.step(t, &Created{Node: e.Node})
		} else {
			w.step(t, &NotMade{e.Node, rapid.SampledFrom([]Reason{NoRoom, Impossible, Trouble}).Draw(t, "why"), "no"})
		}
	case *Check:
		if luck {
			w.step(t, &Checked{Node: e.Node})
		} else {
			w.step(t, &NotMade{e.Node, Trouble, "no"})
		}
	case *Delete:
		w.step(t, &Deleted{e.Node})
	}
}

// use lets an executor, or the return of a request, end the use of a node that was handed out.
func (w *world) use(t *rapid.T, id string, st State) {
	delete(w.handed, id)
	n := w.Nodes[id]
	if n == nil || n.State != Ready {
		return
	}
	c := *n
	if c.State = st; st == Ready {
		c.Request, c.Tenant = "", ""
	}
	w.step(t, &Changed{Node: c})
}

func (w *world) handedOut() []string {
	var out []string
	for id := range w.handed {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for _, name := range []string{"east", "west"} {
			p := Supply{Name: name, Max: rapid.IntRange(0, 4).Draw(t, "max")}
			for _, l := range []string{"a", "b"} {
				p.Labels = append(p.Labels, Label{Name: l, Max: rapid.IntRange(0, 3).Draw(t, "label max"),
					MinReady: rapid.IntRange(0, 2).Draw(t, "ready"), Reused: rapid.Bool().Draw(t, "reused")})
			}
			w.step(t, &Supplied{p})
		}
		for range rapid.IntRange(1, 60).Draw(t, "length") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				r := Request{ID: fmt.Sprintf("r%d", len(w.asked)), Priority: rapid.IntRange(1, 3).Draw(t, "priority"), Made: w.now}
				for range rapid.IntRange(1, 3).Draw(t, "nodes") {
					r.Nodeset.Nodes = append(r.Nodeset.Nodes, job.Node{Label: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "label")})
				}
				w.asked[r.ID] = r
				w.step(t, &Wanted{r})
			case 2, 3, 4, 5:
				if len(w.todo) > 0 {
					i := rapid.IntRange(0, len(w.todo)-1).Draw(t, "effect")
					e := w.todo[i]
					w.todo = slices.Delete(w.todo, i, i+1)
					w.answer(t, e, rapid.IntRange(0, 3).Draw(t, "luck") > 0)
				}
			case 6, 7:
				if ids := w.handedOut(); len(ids) > 0 {
					w.use(t, rapid.SampledFrom(ids).Draw(t, "node"), rapid.SampledFrom([]State{Used, Hold, Ready}).Draw(t, "use"))
				}
			case 8:
				w.step(t, &Withdrawn{fmt.Sprintf("r%d", rapid.IntRange(0, len(w.asked)).Draw(t, "request"))})
			case 9:
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
				w.step(t, &Tick{})
			}
		}
		w.drain(t)
	})
}

// drain lets all go well from now on: in the end nobody waits.
func (w *world) drain(t *rapid.T) {
	for range 500 {
		for len(w.todo) > 0 {
			e := w.todo[0]
			w.todo = w.todo[1:]
			w.answer(t, e, true)
		}
		for _, id := range w.handedOut() {
			w.use(t, id, Used)
		}
		for _, n := range w.sortedNodes() {
			if n.State == Hold {
				w.step(t, &Abandoned{n.ID})
			}
		}
		if len(w.Requests) == 0 && len(w.todo) == 0 {
			return
		}
		w.now = w.now.Add(time.Minute)
		w.step(t, &Tick{})
	}
	t.Fatalf("requests wait for ever: %d", len(w.Requests))
}

func (w *world) sortedNodes() []*Node { return (&step{Fleet: w.Fleet}).sorted() }
