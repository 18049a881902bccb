package node

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// How long a provider is left alone with a label: after it had no room, and after something went wrong,
// doubled each time.
const (
	roomPause  = 5 * time.Second
	firstPause = time.Second
	maxPause   = 5 * time.Minute
)

// apply changes the state by an input. News about what no longer matters is ignored here.
func (t *step) apply(in Input) {
	switch in := in.(type) {
	case *Supplied:
		s := in.Supply
		s.Pauses = map[string]Pause{}
		t.Providers[s.Name] = &s
	case *Resumed:
		t.resume()
	case *Wanted:
		if t.Requests[in.Request.ID] == nil {
			r := in.Request
			t.Requests[r.ID] = &r
		}
	case *Reprioritized:
		if r := t.Requests[in.Request]; r != nil {
			r.Relative = in.Relative
		}
	case *Withdrawn:
		if t.Requests[in.Request] != nil {
			t.release(in.Request)
			delete(t.Requests, in.Request)
		}
	case *Returned:
		t.release(in.Request)
	case *Created:
		if n := t.Nodes[in.Node]; n != nil && n.State == Building {
			n.Access, n.External = in.Access, n.ID
			t.enter(n, Testing)
			t.emit(&Check{Node: n.ID, Provider: n.Provider})
		}
	case *Checked:
		t.checked(in)
	case *NotMade:
		if n := t.Nodes[in.Node]; n != nil && n.rising() {
			t.failed(n, in.Why, in.Error)
		}
	case *Changed:
		t.changed(in)
	case *Deleted:
		if n := t.Nodes[in.Node]; n != nil && n.State == Deleting {
			t.forget(n.ID)
		}
	case *Listed:
		t.listed(in)
	case *Abandoned:
		if n := t.Nodes[in.Node]; n != nil && (n.State == InUse || n.State == Hold) {
			t.enter(n, Used)
		}
	case *Tick:
	}
}

// rising nodes are on the way to ready.
func (n *Node) rising() bool { return n.State == Building || n.State == Testing }

// resume begins again what was under way when an earlier launcher stopped. Create and Delete are
// idempotent, so that it does not matter how far it had come.
func (t *step) resume() {
	for _, n := range t.sorted() {
		switch n.State {
		case Building, Testing:
			t.enter(n, Building)
			t.emit(&Create{Node: n.ID, Provider: n.Provider, Label: n.Label})
		case Deleting, Failed:
			t.enter(n, Deleting)
			t.emit(&Delete{Node: n.ID, Provider: n.Provider})
		}
	}
}

// release frees the nodes of a request that nobody uses yet.
func (t *step) release(request string) {
	for _, n := range t.sorted() {
		if n.Request == request && (n.rising() || n.State == Ready) {
			t.free(n)
		}
	}
}

func (t *step) checked(in *Checked) {
	n := t.Nodes[in.Node]
	if n == nil || n.State != Testing {
		return
	}
	n.Access = in.Access
	if p := t.Providers[n.Provider]; p != nil {
		l, _ := p.label(n.Label)
		for _, f := range l.Features {
			if !slices.Contains(n.Features, f) {
				t.failed(n, Trouble, fmt.Sprintf("feature %s is not in force on the node", f))
				return
			}
		}
		delete(p.Pauses, n.Label)
	}
	n.Error = ""
	t.enter(n, Ready)
}

// failed gives up a node, and counts that against its provider in the eyes of the request.
func (t *step) failed(n *Node, why Reason, text string) {
	r := t.Requests[n.Request]
	n.Error = text
	t.remove(n)
	if p := t.Providers[n.Provider]; p != nil {
		pause := p.Pauses[n.Label]
		d := roomPause
		if why != NoRoom {
			d = min(firstPause<<min(pause.Times, 10), maxPause)
		}
		p.Pauses[n.Label] = Pause{t.m.Now.Add(d), pause.Times + 1}
	}
	if why == NoRoom {
		t.evict(n.Provider, n.Label)
		return
	}
	if r == nil {
		return
	}
	r.Attempts++
	r.Error = fmt.Sprintf("provider %s: %s", n.Provider, text)
	if why == Impossible || r.Attempts >= t.Limits.MaxAttempts {
		r.Declined = append(r.Declined, n.Provider)
		r.Chosen, r.Attempts = "", 0
		t.release(r.ID)
	}
}

// evict removes the idle nodes of other labels: they may be what takes the room.
func (t *step) evict(provider, label string) {
	for _, n := range t.sorted() {
		if n.Provider == provider && n.Label != label && n.idle() && n.State == Ready {
			t.remove(n)
		}
	}
}

// idle nodes are nobody's.
func (n *Node) idle() bool { return n.Request == "" && (n.rising() || n.State == Ready) }

func (t *step) changed(in *Changed) {
	if in.Gone {
		if n := t.Nodes[in.Node.ID]; n != nil {
			t.drop(n.ID)
			t.emit(&Delete{Node: n.ID, Provider: n.Provider})
		}
		return
	}
	if t.Providers[in.Node.Provider] != nil {
		n := in.Node
		t.put(&n)
	}
}

// listed compares what a provider has with what we know of: instances without a node are leaked; nodes
// without an instance are gone. What changed since the provider was asked is left for the next time.
func (t *step) listed(in *Listed) {
	for _, id := range slices.Sorted(slices.Values(in.Instances)) {
		if t.Nodes[id] == nil {
			t.emit(&Delete{Node: id, Provider: in.Provider})
		}
	}
	for _, n := range t.sorted() {
		if n.Provider != in.Provider || slices.Contains(in.Instances, n.ID) || !n.Since.Before(in.Asked) {
			continue
		}
		if n.State != Building && n.State != Deleting {
			t.forget(n.ID)
		}
	}
}

// age ends holds that expired, and ready nodes that got old or whose label their provider has no more.
func (t *step) age() {
	for _, n := range t.sorted() {
		switch {
		case n.State == Hold && !n.HoldUntil.IsZero() && !t.m.Now.Before(n.HoldUntil):
			t.enter(n, Used)
		case n.State == Ready && n.Request == "" && t.tooOld(n):
			t.remove(n)
		}
	}
}

func (t *step) tooOld(n *Node) bool {
	p := t.Providers[n.Provider]
	if p == nil {
		return false
	}
	l, ok := p.label(n.Label)
	return !ok || t.m.Now.Sub(n.Since) >= cmp.Or(l.MaxReadyAge, t.Limits.MaxReadyAge) ||
		(l.MaxAge > 0 && t.m.Now.Sub(n.Made) >= l.MaxAge)
}

// recycle takes back used nodes: those of labels that are reused are looked at and are ready again; the
// others are deleted.
func (t *step) recycle() {
	for _, n := range t.sorted() {
		if n.State != Used {
			continue
		}
		p := t.Providers[n.Provider]
		if p == nil {
			continue
		}
		if l, ok := p.label(n.Label); !ok || !l.Reused {
			t.remove(n)
			continue
		}
		t.free(n)
		n.HoldID, n.HoldReason, n.HoldUntil = "", "", time.Time{}
		t.enter(n, Testing)
		t.emit(&Check{Node: n.ID, Provider: n.Provider})
	}
}

// queue lists the requests, the most urgent first.
func (t *step) queue() []*Request {
	var out []*Request
	for _, r := range t.Requests {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Request) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Relative, b.Relative),
			a.Made.Compare(b.Made), cmp.Compare(a.ID, b.ID))
	})
	return out
}
