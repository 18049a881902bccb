package pipeline

import "slices"

// reconfigure brings the items under a new merged layout: semantics 2.10. Buildsets and job graphs stay
// as they are; items move into the queues of the new layout, in their order, behind the same items as
// before; those whose project left the tenant go.
func (st *stepper) reconfigure(in *Reconfigure) {
	s := st.s
	if s.Settings.MaxParallel != in.Settings.MaxParallel {
		st.forward()
	}
	s.Settings, s.Tenant = in.Settings, in.Tenant
	s.Failures, s.Disabled = 0, false
	st.strategy, st.allowed, st.ranked = StrategyFor(&s.Settings), nil, false
	st.moved, st.everything = true, true
	st.version++
	st.wantsEstimates()
	old := s.Queues
	s.Queues = nil
	for _, q := range old {
		st.rehouse(q, in.Removed)
	}
}

// rehouse moves the items of an old queue into the ones that they belong to now.
func (st *stepper) rehouse(old *Queue, removed bool) {
	homes := map[ItemID]*Queue{}
	var gone []*Item
	var last *Queue
	for i, id := range old.Items {
		it := st.s.Items[id]
		if removed || !st.stays(it) {
			gone = append(gone, it)
			continue
		}
		st.thaw(it)
		home := last
		if last == nil || st.s.Settings.Manager != Independent {
			home = st.home(it, old.Items[i+1:])
		}
		last = home
		if !slices.Contains(home.Items, id) {
			home.Items, home.line = append(home.Items, id), nil
		}
		home.Window = st.keptWindow(old)
		homes[id] = home
	}
	for _, it := range gone {
		st.evict(old, it)
	}
	for _, id := range old.Items {
		st.separate(homes, id)
	}
}

// home is the queue that the item belongs to under the new layout. One that is being merged, but whose project left
// the tenant, stays with whoever is behind it: they build on what comes of it.
func (st *stepper) home(it *Item, behind []ItemID) *Queue {
	if !st.known(it) {
		for _, id := range behind {
			if b := st.s.Items[id]; st.known(b) {
				it = b
				break
			}
		}
	}
	return st.queueFor(st.s.Changes[it.Changes[0]])
}

// stays tells whether the item has a place under the new layout, or must be waited for: what is being merged lands
// or does not, whatever the tenant has.
func (st *stepper) stays(it *Item) bool { return st.known(it) || it.Merging != "" }

func (st *stepper) keptWindow(old *Queue) int {
	switch st.s.Settings.Manager {
	case Independent:
		return 0
	case Supercedent, Serial:
		return 1
	}
	return st.reconfigured(old.Window)
}

// known tells whether the tenant still has a project of each of the item's changes. Context may come
// from anywhere.
func (st *stepper) known(it *Item) bool {
	for _, c := range st.changes(it) {
		if _, ok := st.s.Tenant.Projects[c.Project.Canonical()]; !ok && it.Live {
			return false
		}
	}
	return len(st.changes(it)) > 0
}

// thaw forgets the item's layout, so that job graphs that are still to come are made from the new one.
func (st *stepper) thaw(it *Item) {
	it.Layout = ""
	it.Buildset.Stale = it.Buildset.Asked
	st.touch(it)
}

// evict removes an item that has no place any more, from the old queue, with those behind starting over
// on what is ahead of it.
func (st *stepper) evict(old *Queue, it *Item) {
	it.Merging = ""
	st.stop(it)
	st.resetBehind(it)
	if it.Buildset.Result == "" {
		it.Buildset.Result = Dequeued
		if it.Live {
			st.recordEnd(it, false)
		}
	}
	st.unlink(it)
	st.dropView(it.Buildset)
	it.Dequeued = st.now
	delete(st.s.Items, it.ID)
	old.Items, old.line = without(old.Items, it.ID), nil
}

// separate cuts the link to an item ahead that is now in another queue: the item goes to the tail of
// what is before it in its own, and starts over.
func (st *stepper) separate(homes map[ItemID]*Queue, id ItemID) {
	it := st.s.Items[id]
	if it == nil || it.Ahead == "" || homes[it.Ahead] == homes[id] {
		return
	}
	var ahead *Item
	if i := slices.Index(homes[id].Items, id); i > 0 {
		ahead = st.s.Items[homes[id].Items[i-1]]
	}
	follow := slices.Clone(it.Behind)
	st.move(it, ahead)
	for _, b := range follow {
		if homes[b] == homes[id] {
			st.relink(b, it)
		}
	}
	st.reset(it)
}

// relink puts b behind it again.
func (st *stepper) relink(b ItemID, it *Item) {
	x := st.s.Items[b]
	if a := st.ahead(x); a != nil {
		a.Behind = without(a.Behind, b)
	}
	x.Ahead = it.ID
	it.Behind = append(it.Behind, b)
}
