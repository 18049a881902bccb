package pipeline

// reconfigure takes a new merged layout in: semantics 2.10. Items keep their buildsets and move to the
// queues that the new layout has; those whose project left the tenant go.
func (st *stepper) reconfigure(in *Reconfigure) {
	if in.Removed {
		st.eachItem(func(_ *Queue, it *Item) bool { st.remove(it); return true })
		return
	}
	first := st.s.Settings.Name == ""
	st.s.Settings, st.s.Tenant = in.Settings, in.Tenant
	st.strategy, st.allowed, st.relative = StrategyFor(&st.s.Settings), nil, nil
	st.s.Disabled, st.s.Failures = false, 0
	st.version++
	if first {
		return
	}
	old := st.s.Queues
	st.s.Queues = nil
	for _, q := range old {
		st.rehome(q)
	}
}

// rehome moves the items of a queue to the one that the new layout has for them, in order.
func (st *stepper) rehome(q *Queue) {
	var gone []*Item
	var to *Queue
	for _, id := range q.Items {
		it := st.s.Items[id]
		st.forgetLayout(it)
		if !st.hasProjects(it) {
			gone = append(gone, it)
		}
		if c := st.s.Changes[it.Changes[0]]; to == nil && c != nil {
			if st.s.Settings.Manager == Independent {
				to = st.addQueue(&Queue{Name: q.Name, Branch: q.Branch, Projects: q.Projects, Dynamic: q.Dynamic})
			} else {
				to = st.queueFor(c)
				to.Window = st.reconfigured(q.Window)
				if st.s.Settings.Manager == Supercedent {
					to.Window = 1
				}
			}
		}
		if to != nil {
			to.Items = append(to.Items, id)
		}
	}
	for _, it := range gone {
		st.remove(it)
	}
}

// forgetLayout lets job graphs that are still to be made use the new layout; graphs that are there stay.
func (st *stepper) forgetLayout(it *Item) {
	it.Layout = ""
	if bs := it.Buildset; bs.Phase == PhaseLayout && bs.Asked {
		bs.Stale = true
	}
	st.touch(it)
}

func (st *stepper) hasProjects(it *Item) bool {
	for _, k := range it.Changes {
		c := st.s.Changes[k]
		if c == nil {
			return false
		}
		if _, ok := st.s.Tenant.Projects[c.Project.Canonical()]; !ok && it.Live {
			return false
		}
	}
	return true
}
