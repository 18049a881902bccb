package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// serve works through the requests, the most urgent first: chooses a provider, allocates nodes, hands
// out what is complete.
func (t *step) serve() {
	t.blocked = map[string]map[string]bool{}
	for _, r := range t.queue() {
		if t.tenantIsFull(r) {
			continue
		}
		if r.Chosen == "" {
			t.adopt(r)
		}
		if r.Chosen == "" && !t.choose(r) {
			continue
		}
		if t.fill(r, t.Providers[r.Chosen]) {
			t.handOut(r)
		}
	}
}

// tenantIsFull tells whether a request must wait because its tenant has as many nodes as it may. One that
// is too large for the tenant at any time is refused.
func (t *step) tenantIsFull(r *Request) bool {
	bound, ok := t.Limits.TenantNodes[r.Tenant]
	if !ok {
		return false
	}
	have := len(r.labels())
	if have > bound {
		t.refuse(r, fmt.Sprintf("the job asks for %d nodes, but tenant %s may have no more than %d at one time", have, r.Tenant, bound))
		return true
	}
	for _, n := range t.sorted() {
		if n.Tenant == r.Tenant && n.Request != "" && n.Request != r.ID {
			have++
		}
	}
	return have > bound
}

// refuse ends a request that cannot be fulfilled.
func (t *step) refuse(r *Request, why string) {
	t.emit(&Refuse{Request: r.ID, Why: why})
	t.release(r.ID)
	delete(t.Requests, r.ID)
}

// adopt finds nodes that an earlier launcher allocated to the request.
func (t *step) adopt(r *Request) {
	for _, n := range t.sorted() {
		if n.Request == r.ID && (n.rising() || n.State == Ready) {
			r.Chosen = n.Provider
			return
		}
	}
}

// choose finds a provider that can have all nodes of the request made now: the one with the most of them
// ready, then the one with the fewest nodes. Where none can ever, the request is refused.
func (t *step) choose(r *Request) bool {
	var can []*Supply
	for _, name := range slices.Sorted(maps.Keys(t.Providers)) {
		if p := t.Providers[name]; t.canServe(p, r) {
			can = append(can, p)
		}
	}
	if len(can) == 0 {
		t.refuse(r, t.whyNot(r))
		return false
	}
	ready := map[string]int{}
	load := map[string]int{}
	for _, p := range can {
		idle, _ := t.match(r, p)
		ready[p.Name] = len(idle)
	}
	for _, n := range t.sorted() {
		load[n.Provider]++
	}
	slices.SortStableFunc(can, func(a, b *Supply) int {
		return cmp.Or(cmp.Compare(ready[b.Name], ready[a.Name]), cmp.Compare(load[a.Name], load[b.Name]))
	})
	for _, p := range can {
		if _, missing := t.match(r, p); t.room(p, missing) {
			r.Chosen = p.Name
			return true
		}
	}
	for _, p := range can {
		_, missing := t.match(r, p)
		t.clear(p, missing)
		t.block(p, r)
	}
	return false
}

// canServe tells whether a provider has all labels of a request, and has not declined it.
func (t *step) canServe(p *Supply, r *Request) bool {
	if (r.Provider != "" && r.Provider != p.Name) || slices.Contains(r.Declined, p.Name) {
		return false
	}
	need := map[string]int{}
	for _, l := range r.labels() {
		need[l]++
		have, ok := p.label(l)
		if !ok || (have.Max > 0 && need[l] > have.Max) {
			return false
		}
	}
	return p.Max == 0 || len(r.labels()) <= p.Max
}

func (r *Request) labels() []string {
	var out []string
	for _, n := range r.Nodeset.Nodes {
		out = append(out, n.Label)
	}
	return out
}

// whyNot is the reason of a refusal, in words for people.
func (t *step) whyNot(r *Request) string {
	if r.Error != "" {
		return r.Error
	}
	if r.Provider != "" && t.Providers[r.Provider] == nil {
		return fmt.Sprintf("the nodes must come from provider %s, which is not there", r.Provider)
	}
	labels := slices.Compact(slices.Sorted(slices.Values(r.labels())))
	if p := t.Providers[r.Provider]; p != nil {
		return fmt.Sprintf("the nodes must come from provider %s, which cannot have %d with %s at one time", p.Name, len(r.labels()), strings.Join(labels, ", "))
	}
	var known []string
	for _, p := range t.Providers {
		for _, l := range p.Labels {
			known = append(known, l.Name)
		}
	}
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	for _, l := range labels {
		if !slices.Contains(known, l) {
			return fmt.Sprintf("no provider has label %s; there are %s", l, cmp.Or(strings.Join(known, ", "), "none"))
		}
	}
	return fmt.Sprintf("no provider alone can have %d with %s at one time", len(r.labels()), strings.Join(labels, ", "))
}

// match pairs the nodes that a request asks for with nodes of a provider that are its own or nobody's,
// its own and the most ready first; missing are the labels for which there is none.
func (t *step) match(r *Request, p *Supply) (found []*Node, missing []string) {
	labels := r.labels()
	var can []*Node
	for _, n := range t.sorted() {
		if n.Provider == p.Name && (n.idle() || n.Request == r.ID && (n.rising() || n.State == Ready)) && slices.Contains(labels, n.Label) {
			can = append(can, n)
		}
	}
	slices.SortStableFunc(can, func(a, b *Node) int {
		return cmp.Or(order(a.Request != r.ID, b.Request != r.ID), order(a.State != Ready, b.State != Ready), order(a.State != Testing, b.State != Testing))
	})
	for _, l := range labels {
		i := slices.IndexFunc(can, func(n *Node) bool { return n.Label == l })
		if i < 0 {
			missing = append(missing, l)
			continue
		}
		found = append(found, can[i])
		can = slices.Delete(can, i, i+1)
	}
	return found, missing
}

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// room tells whether a provider can have further nodes made.
func (t *step) room(p *Supply, labels []string) bool {
	if slices.ContainsFunc(labels, func(l string) bool { return t.blocked[p.Name][l] }) {
		return false
	}
	count := map[string]int{}
	for _, n := range t.sorted() {
		if n.Provider == p.Name {
			count[n.Label]++
		}
	}
	for _, l := range labels {
		have, ok := p.label(l)
		if !ok {
			return false
		}
		count[l]++
		if have.Max > 0 && count[l] > have.Max {
			return false
		}
	}
	return t.excess(p, len(labels)) <= 0 && !t.paused(p, labels)
}

// paused tells whether a provider is to be left alone with one of the labels.
func (t *step) paused(p *Supply, labels []string) bool {
	return slices.ContainsFunc(labels, func(l string) bool { return t.m.Now.Before(p.Pauses[l].Until) })
}

// excess is by how many nodes a provider would be over its bound with more of them. Those that are being
// deleted still count.
func (t *step) excess(p *Supply, more int) int {
	if p.Max == 0 {
		return 0
	}
	for _, n := range t.sorted() {
		if n.Provider == p.Name {
			more++
		}
	}
	return more - p.Max
}

// clear removes idle nodes that are in the way of a request, so that there is room a little later.
func (t *step) clear(p *Supply, labels []string) {
	over := t.excess(p, len(labels))
	for _, n := range t.sorted() {
		if n.Provider == p.Name && n.State == Deleting {
			over-- // it is on its way already
		}
	}
	for _, n := range t.sorted() {
		if over > 0 && n.Provider == p.Name && n.idle() && n.State == Ready && !slices.Contains(labels, n.Label) {
			t.remove(n)
			over--
		}
	}
}

// block keeps what a request waits for from less urgent ones: all its labels; everything, where the
// provider as a whole is full.
func (t *step) block(p *Supply, r *Request) {
	if t.blocked[p.Name] == nil {
		t.blocked[p.Name] = map[string]bool{}
	}
	for _, l := range p.Labels {
		if p.Max > 0 || slices.Contains(r.labels(), l.Name) {
			t.blocked[p.Name][l.Name] = true
		}
	}
}

// fill allocates to the request what its provider has, and has the rest made. It tells whether all nodes
// of the request are ready.
func (t *step) fill(r *Request, p *Supply) bool {
	if p == nil {
		r.Chosen = ""
		return false
	}
	found, missing := t.match(r, p)
	complete := len(missing) == 0
	for _, n := range found {
		if n.Request != r.ID {
			t.allocate(n, r)
		}
		complete = complete && n.State == Ready
	}
	if len(missing) > 0 {
		if !t.room(p, missing) {
			if !t.paused(p, missing) {
				// Others may hold what it lacks, and lack what it holds: nobody holds and waits.
				t.release(r.ID)
				r.Chosen = ""
			}
			t.clear(p, missing)
			t.block(p, r)
			return false
		}
		for _, l := range missing {
			t.create(p, l, r)
		}
	}
	return complete
}

// handOut ends a request whose nodes are all ready.
func (t *step) handOut(r *Request) {
	found, _ := t.match(r, t.Providers[r.Chosen])
	f := &Fulfil{Request: r.ID, Provider: r.Chosen}
	for _, n := range found {
		f.Nodes = append(f.Nodes, n.ID)
	}
	t.emit(f)
	delete(t.Requests, r.ID)
}

// keepReady makes nodes that nobody has asked for yet, as far as labels want that, and no request waits
// for room.
func (t *step) keepReady() {
	for _, name := range slices.Sorted(maps.Keys(t.Providers)) {
		p := t.Providers[name]
		if len(t.blocked[name]) > 0 {
			continue
		}
		for _, l := range p.Labels {
			idle := 0
			for _, n := range t.sorted() {
				if n.Provider == name && n.Label == l.Name && n.idle() {
					idle++
				}
			}
			for ; idle < l.MinReady && t.room(p, []string{l.Name}); idle++ {
				t.create(p, l.Name, nil)
			}
		}
	}
}
