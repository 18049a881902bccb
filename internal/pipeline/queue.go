package pipeline

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// queueFor finds or makes the queue of a change. Queues depend on the merged configuration only.
func (st *stepper) queueFor(c *change.Change) *Queue {
	switch st.s.Settings.Manager {
	case Dependent, Serial:
		return st.sharedQueue(c)
	case Supercedent:
		return st.refQueue(c)
	}
	return st.addQueue(&Queue{Projects: []string{c.Project.Canonical()}, Dynamic: true})
}

// sharedName is the queue that the merged configuration puts the change in; ok is false where its
// project is not in the pipeline.
func (st *stepper) sharedName(c *change.Change) (name, branch string, ok bool) {
	p, known := st.s.Tenant.Projects[c.Project.Canonical()]
	if !known || !p.InPipeline {
		return "", "", false
	}
	if name = p.Queue; name == "" {
		name = c.Project.Canonical()
	}
	if p.PerBranch {
		branch = c.Branch
	}
	return name, branch, true
}

func (st *stepper) sharedQueue(c *change.Change) *Queue {
	project := c.Project.Canonical()
	name, branch, ok := st.sharedName(c)
	for _, q := range st.s.Queues {
		switch {
		case ok && !q.Dynamic && q.Name == name && q.Branch == branch,
			!ok && q.Dynamic && len(q.Projects) == 1 && q.Projects[0] == project:
			return q
		}
	}
	if !ok {
		return st.addQueue(&Queue{Projects: []string{project}, Dynamic: true, Window: st.firstWindow()})
	}
	return st.addQueue(&Queue{Name: name, Branch: branch, Projects: st.members(name, project), Window: st.firstWindow()})
}

// members are the projects that share the queue of this name in this pipeline, in alphabetical order.
func (st *stepper) members(name, project string) []string {
	var out []string
	for n, p := range st.s.Tenant.Projects {
		if p.InPipeline && p.Queue == name {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		out = []string{project}
	}
	slices.Sort(out)
	return out
}

// refQueue is a supercedent pipeline's queue: one for each project and branch, or ref.
func (st *stepper) refQueue(c *change.Change) *Queue {
	project, ref := c.Project.Canonical(), c.Branch
	if ref == "" {
		ref = c.Ref
	}
	for _, q := range st.s.Queues {
		if len(q.Projects) == 1 && q.Projects[0] == project && q.Branch == ref {
			return q
		}
	}
	return st.addQueue(&Queue{Name: project, Branch: ref, Projects: []string{project}, Dynamic: true, Window: 1})
}

func (st *stepper) addQueue(q *Queue) *Queue {
	st.s.Queues = append(st.s.Queues, q)
	return q
}

// dropEmpty removes a queue that was made for one item and has none any more.
func (st *stepper) dropEmpty(q *Queue) {
	if q.Dynamic && len(q.Items) == 0 {
		st.s.Queues = slices.DeleteFunc(st.s.Queues, func(x *Queue) bool { return x == q })
	}
}

// line is the items of the queue, front first. It is kept beside their ids, for a queue of hundreds is gone through
// many times a step; whoever takes an item out of Items sets it to nil. Going through it one may change the queue:
// what left meanwhile is told by left.
func (st *stepper) line(q *Queue) []*Item {
	if len(q.line) != len(q.Items) {
		q.line = make([]*Item, len(q.Items), len(q.Items)+1)
		for i, id := range q.Items {
			q.line[i] = st.s.Items[id]
		}
	}
	return q.line
}

// left tells whether the item is in the pipeline no more.
func (it *Item) left() bool { return !it.Dequeued.IsZero() }

func (st *stepper) queueOf(it *Item) *Queue {
	for _, q := range st.s.Queues {
		if slices.Contains(q.Items, it.ID) {
			return q
		}
	}
	return nil
}

// append makes an item at the tail of the queue, behind what was the tail.
func (st *stepper) append(q *Queue, keys []change.Key, live bool, ev event.Ref) *Item {
	it := &Item{ID: ItemID(st.id()), Changes: keys, Live: live, Event: ev, Enqueued: st.now}
	it.Buildset = &Buildset{ID: BuildsetID(st.id())}
	if n := len(q.Items); n > 0 {
		ahead := st.s.Items[q.Items[n-1]]
		it.Ahead = ahead.ID
		ahead.Behind = append(ahead.Behind, it.ID)
		st.touch(ahead)
	}
	q.Items, q.line = append(q.Items, it.ID), append(st.line(q), it)
	st.s.Items[it.ID] = it
	st.touch(it)
	st.ranked, st.moved = false, true
	return it
}

// unlink takes the item out of the chain: what was behind it is now behind what was ahead of it.
func (st *stepper) unlink(it *Item) {
	ahead := st.ahead(it)
	if ahead != nil {
		ahead.Behind = without(ahead.Behind, it.ID)
		st.touch(ahead)
	}
	for _, id := range it.Behind {
		b := st.s.Items[id]
		b.Ahead = it.Ahead
		if ahead != nil {
			ahead.Behind = append(ahead.Behind, id)
		}
		st.touch(b)
	}
	it.Ahead, it.Behind = "", nil
	st.touch(it)
}

// move puts the item directly behind another (nil: behind none); its followers stay where they were.
func (st *stepper) move(it *Item, behind *Item) {
	st.unlink(it)
	if behind != nil {
		it.Ahead = behind.ID
		behind.Behind = append(behind.Behind, it.ID)
		st.touch(behind)
	}
}

// without is list less x; nil where nothing is left, so that state reads the same after a round trip.
func without(list []ItemID, x ItemID) []ItemID {
	var out []ItemID
	for _, y := range list {
		if y != x {
			out = append(out, y)
		}
	}
	return out
}
