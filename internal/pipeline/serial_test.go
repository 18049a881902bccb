package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// TestSerialOracle compares the gate with somebody who takes one change at a time, in the order of the queue:
// merge it onto the branch, test it, land it, or leave it. However much the gate does at once and starts over,
// and in whatever order its work gets done, the same changes must land in the same order.
func TestSerialOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := newTruth(t)
		g.play()
		want, got := g.serial(), g.gated()
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("order %v, bad %v, clashing %v, conflicts %v, refused %v: one at a time (-) and the gate (+) differ:\n%s",
				g.order, g.bad, g.clashing, g.conflicts, g.refused, d)
		}
	})
}

// truth is a world in which it is fixed which changes are good: what a build or a merge comes to depends only
// on the commits that it has. Chance decides when things happen.
type truth struct {
	*world
	t *rapid.T
	// bad changes fail by themselves, clashing pairs together; refused ones the forge does not merge.
	bad, refused map[string]bool
	clashing     map[[2]string]bool
	// order is what was put into the queue, item by item.
	order [][]string
	known map[ItemID]bool
}

func newTruth(t *rapid.T) *truth {
	g := &truth{t: t, bad: map[string]bool{}, refused: map[string]bool{}, clashing: map[[2]string]bool{}, known: map[ItemID]bool{}}
	p := plan{Manager: "dependent", Layout: "layout 1", Window: g.pick(5), Floor: 1 + g.pick(2), FailFast: g.pick(2) == 0,
		Jobs:     []planJob{{Name: "test"}, {Name: "lint", Needs: []string{"test"}, Nodes: 1}}[:1+g.pick(2)],
		Projects: map[string]planProject{"org/a": {Queue: "shared", Circular: true}, "org/b": {Queue: "shared", Circular: true}}}
	g.world = newWorld(p.settings(), p.tenant())
	g.jobs = func(c []*change.Change) *job.Graph { return p.graph(c) }
	g.stepped = func(Input, []Effect, []ItemID) { g.note() }
	return g
}

func (g *truth) pick(n int) int {
	if n < 2 {
		return 0
	}
	return rapid.IntRange(0, n-1).Draw(g.t, "pick")
}

// note keeps the order in which items came.
func (g *truth) note() {
	for _, q := range g.s.Queues {
		for _, id := range q.Items {
			if !g.known[id] {
				g.known[id] = true
				g.order = append(g.order, strings.Split(numbersOf(g.s.Items[id].Changes), " "))
			}
		}
	}
}

func numbersOf(keys []change.Key) string {
	var out []string
	for _, k := range keys {
		_, _, n, _, _ := k.Parts()
		out = append(out, n)
	}
	return strings.Join(out, " ")
}

func (g *truth) play() {
	for range 20 + g.pick(60) {
		switch n := g.pick(6); {
		case n == 0 && len(g.forge) < 12:
			g.create()
		case n == 1 && len(g.forge) > 0:
			numbers := g.numbers()
			if n := numbers[g.pick(len(numbers))]; g.forge[n].Open {
				g.step(g.tell("comment-added", n, true))
			}
		default:
			g.work()
		}
	}
	for range 5000 {
		if !g.work() {
			return
		}
	}
	g.t.Fatalf("the gate does not come to rest")
}

// create proposes a change that is good or not, alone or with another, and wants it in the gate.
func (g *truth) create() {
	n := string(rune('A' + len(g.forge)))
	old := g.numbers()
	var needs []string
	if len(old) > 0 {
		other := old[g.pick(len(old))]
		switch g.pick(8) {
		case 0, 1:
			needs = append(needs, other)
		case 2:
			g.clashing[[2]string{other, n}] = true
		case 3:
			g.conflicts[[2]string{other, n}] = true
		}
	}
	switch g.pick(10) {
	case 0, 1:
		g.bad[n] = true
	case 2:
		g.refused[n] = true
	}
	g.propose(named([]string{"org/a", "org/b"}[g.pick(2)]), "master", n, needs...)
	if len(needs) > 0 && g.pick(4) == 0 && !slices.Contains(strings.Fields(fmt.Sprint(g.order)), needs[0]) && g.forge[needs[0]].Open && !g.refused[n] && !g.refused[needs[0]] && !g.queued(needs[0]) {
		g.depend(needs[0], n) // both are one item
	}
	g.step(g.tell("comment-added", n, true))
}

func (g *truth) queued(number string) bool {
	for _, it := range g.s.Items {
		if slices.Contains(it.Changes, g.forge[number].Key()) {
			return true
		}
	}
	return false
}

// work gets one thing done, whichever; false: there is nothing to do.
func (g *truth) work() bool {
	n := len(g.todo) + len(g.runs)
	if n == 0 {
		return false
	}
	i := g.pick(n)
	if i >= len(g.todo) {
		r := g.runs[i-len(g.todo)]
		result := Success
		switch {
		case r.canceled:
			result = Canceled
		case r.Job.Name == "test" && g.fails(r.Merge.Commits):
			result = Failure
		}
		g.step(g.end(r, result))
		return true
	}
	e := g.todo[i]
	g.drop(e)
	if r, ok := e.(*Report); ok {
		out := g.land(r, func(n string) bool { return g.refused[n] })
		if out.Moved {
			g.t.Fatalf("%v was to land on another head than it was tested on", out.Why)
		}
		g.step(out)
		return true
	}
	for _, in := range g.outcome(e) {
		g.step(in)
	}
	return true
}

// fails tells whether tests fail on commits.
func (g *truth) fails(commits []Commit) bool {
	return slices.ContainsFunc(commits, func(m Commit) bool { return g.broken(m.Commit) })
}

func (g *truth) broken(commit string) bool {
	in := strings.Fields(commit)
	for _, a := range in {
		a, _, _ = strings.Cut(a, "/")
		if g.bad[a] {
			return true
		}
		for _, b := range in {
			b, _, _ = strings.Cut(b, "/")
			if g.clashing[[2]string{a, b}] {
				return true
			}
		}
	}
	return false
}

func (g *truth) gated() []string {
	var out []string
	for _, l := range g.landed {
		out = append(out, l.number+" as "+l.commit)
	}
	return out
}

// serial is the oracle.
func (g *truth) serial() []string {
	heads := map[string]string{"org/a": "0", "org/b": "0"}
	landed := map[string]bool{}
	var out []string
next:
	for _, item := range g.order {
		after := map[string]string{"org/a": heads["org/a"], "org/b": heads["org/b"]}
		var commits []string
		for _, n := range item {
			c := g.forge[n]
			if landed[n] || g.refused[n] {
				continue next
			}
			for _, k := range c.FooterNeeds {
				_, _, need, _, _ := k.Parts()
				if !landed[need] && !slices.Contains(item, need) {
					continue next
				}
			}
			for _, x := range strings.Fields(after[c.Project.Name]) {
				x, _, _ = strings.Cut(x, "/")
				if g.conflicts[[2]string{x, n}] || g.conflicts[[2]string{n, x}] {
					continue next
				}
			}
			after[c.Project.Name] += " " + n + "/1"
			commits = append(commits, n+" as "+after[c.Project.Name])
			if g.broken(after[c.Project.Name]) {
				continue next
			}
		}
		heads = after
		for _, n := range item {
			landed[n] = true
		}
		out = append(out, commits...)
	}
	return out
}
