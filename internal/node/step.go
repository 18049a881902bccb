package node

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Limits are the settings by which a launcher decides; zero values are the defaults named here.
type Limits struct {
	// MaxAttempts is how many nodes of one request a provider may fail to make before it is asked no
	// more; 0 is 3.
	MaxAttempts int
	// MaxReadyAge is how old a ready node that nobody asked for may get; 0 is an hour.
	MaxReadyAge time.Duration
	// TenantNodes bounds the nodes that a tenant has at one time, held ones with it; a tenant that is not
	// there has no bound.
	TenantNodes map[string]int
}

// Fleet is what one launcher knows: its providers, their nodes, and the requests that it works on.
type Fleet struct {
	Limits    Limits
	Providers map[string]*Supply
	Nodes     map[string]*Node
	Requests  map[string]*Request
}

// Supply is a provider as the rules see it.
type Supply struct {
	Name   string
	Labels []Label
	// Max bounds all its nodes at one time; 0 is no bound.
	Max int
	// Pauses tell until when nothing with a label is to be made, because there was no room or
	// something went wrong, and how often in a row that has been.
	Pauses map[string]Pause
}

// Pause is a time in which a provider is left alone.
type Pause struct {
	Until time.Time
	Times int
}

// NewFleet makes the state of a launcher with nothing in it.
func NewFleet(l Limits) *Fleet {
	l.MaxAttempts = cmp.Or(l.MaxAttempts, 3)
	l.MaxReadyAge = cmp.Or(l.MaxReadyAge, time.Hour)
	return &Fleet{Limits: l, Providers: map[string]*Supply{}, Nodes: map[string]*Node{}, Requests: map[string]*Request{}}
}

// Clone copies the state, so that a step can be taken back.
func (f *Fleet) Clone() *Fleet {
	c := NewFleet(f.Limits)
	for name, p := range f.Providers {
		q := *p
		q.Pauses = maps.Clone(p.Pauses)
		c.Providers[name] = &q
	}
	for id, n := range f.Nodes {
		m := *n
		c.Nodes[id] = &m
	}
	for id, r := range f.Requests {
		q := *r
		q.Declined = slices.Clone(r.Declined)
		c.Requests[id] = &q
	}
	return c
}

// Step applies one input and says what is to be done. It does no I/O and reads no clock: the same state
// and the same input always give the same effects. touched names the nodes that were changed or removed;
// their records are to be written before the effects are carried out.
func Step(f *Fleet, m Meta, in Input) (effects []Effect, touched []string) {
	t := &step{Fleet: f, m: m, touched: map[string]bool{}}
	t.apply(in)
	t.age()
	t.recycle()
	t.serve()
	t.keepReady()
	return t.effects, slices.Sorted(maps.Keys(t.touched))
}

// step is one step being taken.
type step struct {
	*Fleet
	m       Meta
	made    int
	effects []Effect
	touched map[string]bool
	// blocked are the labels, by provider, for which a more urgent request waits.
	blocked map[string]map[string]bool
	line    []*Node // see sorted
}

func (t *step) emit(e Effect) { t.effects = append(t.effects, e) }

// enter moves a node to a state.
func (t *step) enter(n *Node, st State) {
	n.State, n.Since = st, t.m.Now
	t.touched[n.ID] = true
}

// sorted lists nodes in the order in which they were wished for. The list is kept until a node comes or goes, for many
// requests are held against it; it must not be changed.
func (t *step) sorted() []*Node {
	if t.line == nil {
		t.line = slices.SortedFunc(maps.Values(t.Nodes), func(a, b *Node) int {
			return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.ID, b.ID))
		})
	}
	return t.line
}

// put takes a node in that is new, or another one by its record.
func (t *step) put(n *Node) {
	t.Nodes[n.ID] = n
	t.line = nil
}

// drop forgets a node.
func (t *step) drop(id string) {
	delete(t.Nodes, id)
	t.line = nil
}

// create wishes for a node.
func (t *step) create(p *Supply, label string, r *Request) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", t.m.Seed, t.made))
	t.made++
	n := &Node{ID: "n" + hex.EncodeToString(sum[:5]), Label: label, Provider: p.Name, Made: t.m.Now}
	t.put(n)
	t.enter(n, Building)
	if r != nil {
		t.allocate(n, r)
		n.Attempts = r.Attempts
	}
	t.emit(&Create{Node: n.ID, Provider: p.Name, Label: label})
}

func (t *step) allocate(n *Node, r *Request) {
	n.Request, n.Tenant, n.Project, n.Job = r.ID, r.Tenant, r.Project, r.Job
	t.touched[n.ID] = true
}

// free takes a node from its request.
func (t *step) free(n *Node) {
	n.Request, n.Tenant, n.Project, n.Job, n.Build = "", "", "", "", ""
	t.touched[n.ID] = true
}

// remove has the instance deleted. The node counts until that is done.
func (t *step) remove(n *Node) {
	if n.State == Deleting {
		return
	}
	n.Request = ""
	t.enter(n, Deleting)
	t.emit(&Delete{Node: n.ID, Provider: n.Provider})
}

// forget ends the record: the instance is gone.
func (t *step) forget(id string) {
	if t.Nodes[id] != nil {
		t.drop(id)
		t.touched[id] = true
	}
}

// label finds a label of a provider.
func (p *Supply) label(name string) (Label, bool) {
	i := slices.IndexFunc(p.Labels, func(l Label) bool { return l.Name == name })
	if i < 0 {
		return Label{}, false
	}
	return p.Labels[i], true
}
