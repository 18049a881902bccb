package node

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/gozer-ci/gozer/internal/job"
)

// TestStories plays testdata/stories. The commands are:
//
//	provider NAME [max=N]    its labels below, a line each: NAME [max=N] [min-ready=N] [reused] [feature=F]
//	                         [max-ready-age=DURATION] [max-age=DURATION]
//	limit TENANT N           bounds the nodes of a tenant
//	want ID label... [priority=N] [relative=N] [provider=P] [tenant=T]
//	created NODE | checked NODE [feature=F] | deleted NODE
//	not-made NODE REASON "text"
//	in-use NODE | used NODE | hold NODE [for=DURATION] | give-back REQUEST | abandoned NODE
//	withdraw ID | relative ID N | listed PROVIDER NODE... | resume | wait DURATION
//	nodes                    shows the nodes
//
// Each command that is an input shows the effects. Nodes are called A, B, C in the order of their making.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{fleet: NewFleet(Limits{}), now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), names: map[string]string{}}
		datadriven.RunTest(t, path, s.play)
	})
}

type story struct {
	fleet *Fleet
	now   time.Time
	steps int
	ids   []string          // in the order of their names
	names map[string]string // by ID
}

func (s *story) play(t *testing.T, d *datadriven.TestData) string {
	var pos []string
	opt := map[string]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			pos = append(pos, a.Key)
		} else {
			opt[a.Key] = a.Vals[0]
		}
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(opt[name])
		return n
	}
	arg := func(i int) string {
		if i < len(pos) {
			return pos[i]
		}
		return ""
	}
	switch d.Cmd {
	case "provider":
		return s.step(&Supplied{Supply{Name: arg(0), Max: number("max"), Labels: labels(d.Input)}})
	case "limit":
		n, _ := strconv.Atoi(arg(1))
		s.fleet.Limits.TenantNodes = map[string]int{arg(0): n}
		return s.step(&Tick{})
	case "want":
		r := Request{ID: arg(0), Tenant: cmp.Or(opt["tenant"], "t"), Priority: number("priority"), Relative: number("relative"), Provider: opt["provider"], Made: s.now}
		for _, l := range pos[1:] {
			r.Nodeset.Nodes = append(r.Nodeset.Nodes, job.Node{Label: l})
		}
		return s.step(&Wanted{r})
	case "created":
		return s.step(&Created{s.id(arg(0)), Access{Host: arg(0)}})
	case "checked":
		a := Access{Host: arg(0)}
		if f := opt["feature"]; f != "" {
			a.Features = []string{f}
		}
		return s.step(&Checked{s.id(arg(0)), a})
	case "not-made":
		return s.step(&NotMade{s.id(arg(0)), Reason(strings.ReplaceAll(arg(1), "-", " ")), opt["error"]})
	case "deleted":
		return s.step(&Deleted{s.id(arg(0))})
	case "in-use", "used", "hold":
		n := *s.fleet.Nodes[s.id(arg(0))]
		n.State, n.Since, n.Build = State(d.Cmd), s.now, "build"
		if f, err := time.ParseDuration(opt["for"]); err == nil {
			n.HoldUntil = s.now.Add(f)
		}
		return s.step(&Changed{Node: n})
	case "give-back":
		out := ""
		for _, id := range s.ids {
			if n := s.fleet.Nodes[id]; n != nil && n.Request == arg(0) && n.State == Ready {
				c := *n
				c.Request, c.Tenant = "", ""
				out += s.step(&Changed{Node: c})
			}
		}
		return out
	case "abandoned":
		return s.step(&Abandoned{s.id(arg(0))})
	case "withdraw":
		return s.step(&Withdrawn{arg(0)})
	case "relative":
		n, _ := strconv.Atoi(arg(1))
		return s.step(&Reprioritized{arg(0), n})
	case "listed":
		in := &Listed{Provider: arg(0), Asked: s.now}
		for _, n := range pos[1:] {
			in.Instances = append(in.Instances, s.id(n))
		}
		return s.step(in)
	case "resume":
		return s.step(&Resumed{})
	case "wait":
		for_, err := time.ParseDuration(arg(0))
		if err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(for_)
		return s.step(&Tick{})
	case "nodes":
		return s.show()
	}
	t.Fatalf("unknown command %s", d.Cmd)
	return ""
}

func labels(text string) (out []Label) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		l := Label{Name: f[0]}
		for _, a := range f[1:] {
			name, v, _ := strings.Cut(a, "=")
			n, _ := strconv.Atoi(v)
			switch name {
			case "max":
				l.Max = n
			case "min-ready":
				l.MinReady = n
			case "max-ready-age":
				l.MaxReadyAge, _ = time.ParseDuration(v)
			case "max-age":
				l.MaxAge, _ = time.ParseDuration(v)
			case "reused":
				l.Reused = true
			case "feature":
				l.Features = []string{v}
			}
		}
		out = append(out, l)
	}
	return out
}

// step takes a step, and shows its effects.
func (s *story) step(in Input) string {
	s.steps++
	effects, _ := Step(s.fleet, Meta{s.now, strconv.Itoa(s.steps)}, in)
	var b strings.Builder
	for _, e := range effects {
		switch e := e.(type) {
		case *Create:
			fmt.Fprintf(&b, "create %s: %s at %s\n", s.name(e.Node), e.Label, e.Provider)
		case *Check:
			fmt.Fprintf(&b, "check %s\n", s.name(e.Node))
		case *Delete:
			fmt.Fprintf(&b, "delete %s\n", s.name(e.Node))
		case *Fulfil:
			fmt.Fprintf(&b, "fulfil %s:", e.Request)
			for _, n := range e.Nodes {
				fmt.Fprintf(&b, " %s", s.name(n))
			}
			fmt.Fprintf(&b, " at %s\n", e.Provider)
		case *Refuse:
			fmt.Fprintf(&b, "refuse %s: %s\n", e.Request, e.Why)
		}
	}
	if b.Len() == 0 {
		return "nothing to do\n"
	}
	return b.String()
}

func (s *story) name(id string) string {
	if s.names[id] == "" {
		s.names[id] = string(rune('A' + len(s.ids)))
		s.ids = append(s.ids, id)
	}
	return s.names[id]
}

// id is that of a node with a name, or the name, where no node has it: an instance that nobody knows.
func (s *story) id(name string) string {
	for id, n := range s.names {
		if n == name {
			return id
		}
	}
	s.names[name] = name
	return name
}

func (s *story) show() string {
	var b strings.Builder
	for _, id := range s.ids {
		n := s.fleet.Nodes[id]
		if n == nil {
			continue
		}
		fmt.Fprintf(&b, "%s %s at %s: %s", s.names[id], n.Label, n.Provider, n.State)
		if n.Request != "" {
			fmt.Fprintf(&b, " for %s", n.Request)
		}
		if n.Error != "" {
			fmt.Fprintf(&b, " (%s)", n.Error)
		}
		b.WriteString("\n")
	}
	if b.Len() == 0 {
		return "none\n"
	}
	return b.String()
}

func TestChooseHold(t *testing.T) {
	all := []HoldRequest{
		{ID: "any", Tenant: "t", Project: "p", Job: "j", RefFilter: ".*", Max: 1},
		{ID: "change", Tenant: "t", Project: "p", Job: "j", RefFilter: "refs/changes/01/1/.*", Max: 1},
		{ID: "used-up", Tenant: "t", Project: "p", Job: "j", RefFilter: "refs/changes/01/1/2", Max: 1, Count: 1},
		{ID: "other", Tenant: "t", Project: "p", Job: "k", RefFilter: "refs/changes/01/1/2", Max: 1},
		{ID: "exact", Tenant: "t", Project: "p", Job: "j", RefFilter: "refs/changes/01/1/3", Max: 1},
		{ID: "wrong", Tenant: "t", Project: "p", Job: "j", RefFilter: "(", Max: 1},
	}
	for ref, want := range map[string]string{
		"refs/changes/01/1/3": "exact", "refs/changes/01/1/2": "change", "refs/heads/main": "any",
		"x/refs/changes/01/1/3": "any",
	} {
		if h := ChooseHold(all, "t", "p", "j", ref); h == nil || h.ID != want {
			t.Errorf("for %s: %v, want %s", ref, h, want)
		}
	}
	if h := ChooseHold(slices.Clone(all[1:]), "t", "p", "j", "refs/heads/main"); h != nil {
		t.Errorf("a hold that does not match: %v", h)
	}
}

func TestHoldUntil(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ own, def, max, want time.Duration }{
		{0, 0, 0, 0}, {time.Hour, 0, 0, time.Hour}, {0, time.Minute, 0, time.Minute},
		{time.Hour, 0, time.Minute, time.Minute}, {0, 0, time.Minute, time.Minute}, {time.Second, time.Hour, time.Minute, time.Second},
	} {
		h := &HoldRequest{NodeExpiration: c.own}
		want := time.Time{}
		if c.want > 0 {
			want = now.Add(c.want)
		}
		if got := h.HoldUntil(now, c.def, c.max); !got.Equal(want) {
			t.Errorf("own %v, default %v, maximum %v: %v, want %v", c.own, c.def, c.max, got, want)
		}
	}
}
