package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/change"
)

// look holds what must be true after every step.
func (c *chance) look(in Input, effects []Effect, touched []ItemID) {
	for _, e := range effects {
		switch e := e.(type) {
		case *Start:
			c.checkStart(e)
			if e.View != nil {
				c.views[e.Buildset] = true
			}
		case *DropView:
			c.checkDrop(e)
		case *FindHazards:
			if c.looked[e.Buildset]++; c.looked[e.Buildset] > 1 {
				c.Fatalf("it is asked twice what jobs of buildset %s read of each other", e.Buildset)
			}
		}
	}
	c.checkQueues()
	c.checkSemaphores()
	c.checkLock()
	if c.exact {
		c.checkCodec(in, effects)
		c.touched = append(c.touched, touched...)
		if c.world.inputs%4 == 0 {
			c.checkWritten()
		}
	}
}

func (c *chance) checkStart(e *Start) {
	once := fmt.Sprint(e.Buildset, " ", e.Job.ID, " ", e.Attempt)
	if c.begun[once] {
		c.Fatalf("attempt %d of %s in buildset %s began twice", e.Attempt, e.Job.ID, e.Buildset)
	}
	c.begun[once] = true
	it := c.s.Items[e.Item]
	if it == nil || it.Buildset.ID != e.Buildset {
		return // a later pass of the same step started the item over
	}
	if c.s.Paused != "" {
		c.Fatalf("%s began in a paused pipeline", e.Job.ID)
	}
	if !it.Live || !it.Active {
		c.Fatalf("a job of an item began that is not to be worked on")
	}
	if len(c.plan.Canaries) > 0 {
		c.checkCanaries(e, it.Buildset)
	}
	for _, d := range e.Job.Dependencies {
		b := it.Buildset.Jobs[d.Job].Build
		if b == nil || b.Result != Success && !b.Paused && !(d.Soft && b.Result == Skipped) {
			c.Fatalf("%s began before %s, which it depends on", e.Job.ID, d.Job)
		}
	}
}

// checkCanaries: a job begins beside those only with which it is a pair.
func (c *chance) checkCanaries(e *Start, bs *Buildset) {
	for _, x := range bs.Graph.Jobs {
		js := bs.Jobs[x.ID]
		if x.ID == e.Job.ID || !atWork(js) || js.Build == nil || c.resumed[js.Build.ID] {
			continue
		}
		if !slices.ContainsFunc(c.plan.Canaries, func(p [2]string) bool {
			return p == [2]string{x.Name, e.Job.Name} || p == [2]string{e.Job.Name, x.Name}
		}) {
			c.Fatalf("%s began beside %s, and they are no canary pair", e.Job.Name, x.Name)
		}
	}
}

// checkDrop: a view goes once, when nobody can use it any more.
func (c *chance) checkDrop(e *DropView) {
	if !c.views[e.Buildset] {
		c.Fatalf("a view goes that is not there, of buildset %s", e.Buildset)
	}
	delete(c.views, e.Buildset)
	for _, r := range c.runs {
		if r.Buildset == e.Buildset {
			c.Fatalf("the view of buildset %s goes while %s still runs", e.Buildset, r.Job.ID)
		}
	}
	for _, it := range c.s.Items {
		if it.Buildset.ID == e.Buildset {
			c.Fatalf("the view of buildset %s goes, and it is still worked on", e.Buildset)
		}
	}
}

// checkLanding looks whether what lands was tested, as it lands, by every job that has a say, and whether
// what it needs is there.
func (c *chance) checkLanding(l landing) {
	it := c.s.Items[l.report.Item]
	if it == nil {
		return // its project left the pipeline while the forge was at it
	}
	for _, j := range it.Buildset.Graph.Jobs {
		js := it.Buildset.Jobs[j.ID]
		if js.Build.Result == Skipped || !j.Voting {
			continue
		}
		commits, ok := c.passed[string(l.report.Buildset)+"/"+string(j.ID)]
		if !ok {
			c.Fatalf("%s landed, and %s did not pass", l.number, j.ID)
		}
		if !slices.ContainsFunc(commits, func(m Commit) bool { return m.Commit == l.commit && m.Base == l.before }) {
			c.Fatalf("%s landed as %q on %q, and %s ran on %v", l.number, l.commit, l.before, j.ID, commits)
		}
	}
	for _, k := range asked(l).Needs(true) {
		n := c.at(k)
		if n == nil {
			continue // it got a new patch set since it was decided that this one lands
		}
		if !n.Merged && !slices.ContainsFunc(l.report.Changes, func(o *change.Change) bool { return o.Key() == k }) {
			c.Fatalf("%s landed before %s, which it needs", l.number, n.Number)
		}
	}
}

// asked is the change that landed as the pipeline knew it when it asked for that.
func asked(l landing) *change.Change {
	i := slices.IndexFunc(l.report.Changes, func(c *change.Change) bool { return c.Number == l.number })
	return l.report.Changes[i]
}

// checkQueues looks at the chain of items: each is in one queue, behind what it is tested on.
func (c *chance) checkQueues() {
	seen := map[ItemID]bool{}
	for _, q := range c.s.Queues {
		for i, id := range q.Items {
			it := c.s.Items[id]
			if it == nil || seen[id] {
				c.Fatalf("item %s is in a queue, and not in the pipeline, or twice", id)
			}
			seen[id] = true
			if it.Ahead != "" && (!slices.Contains(q.Items[:i], it.Ahead) || !slices.Contains(c.s.Items[it.Ahead].Behind, id)) {
				c.Fatalf("item %s is on top of %s, which is not ahead of it", id, it.Ahead)
			}
			for _, b := range it.Behind {
				if x := c.s.Items[b]; x == nil || x.Ahead != id {
					c.Fatalf("item %s does not stand on %s, which has it behind", b, id)
				}
			}
			if it.Active && q.Window > 0 && i >= q.Window && c.s.Settings.Manager != Dependent {
				c.Fatalf("item %d is worked on in a window of %d", i, q.Window)
			}
		}
		if q.Dynamic && len(q.Items) == 0 {
			c.Fatalf("an empty queue is left")
		}
	}
	if len(seen) != len(c.s.Items) {
		c.Fatalf("%d items are in queues, and %d in the pipeline", len(seen), len(c.s.Items))
	}
}

func (c *chance) checkSemaphores() {
	for name, list := range c.sem.Holders {
		if limit := c.s.Tenant.semaphoreMax(name); len(list) > limit {
			c.Fatalf("%d jobs hold semaphore %s, which admits %d", len(list), name, limit)
		}
		for _, h := range list {
			it := c.s.Items[h.Item]
			if it == nil || it.Buildset.ID != h.Buildset || !slices.Contains(it.Buildset.Jobs[h.Job].Semaphores, name) {
				c.Fatalf("%s of item %s holds %s, and knows it not", h.Job, h.Item, name)
			}
		}
	}
}

// checkCodec writes what goes in and out down, as the store does, and reads it back.
func (c *chance) checkCodec(in Input, effects []Effect) {
	b, err := MarshalInput(in)
	if err != nil {
		c.Fatal(err)
	}
	if back, err := UnmarshalInput(b); err != nil || c.json(back) != c.json(in) || kind(back) != kind(in) {
		c.Fatalf("%s is another input after it was read back: %v", kind(in), err)
	}
	for _, e := range effects {
		b, err := MarshalEffect(e)
		if err != nil {
			c.Fatal(err)
		}
		if back, err := UnmarshalEffect(b); err != nil || c.json(back) != c.json(e) || kind(back) != kind(e) {
			c.Fatalf("%s is another effect after it was read back: %v", kind(e), err)
		}
	}
}

// checkWritten keeps the items as their owner writes them, only those that steps touched, and looks whether
// those are all that changed; and reads the state back from its JSON.
func (c *chance) checkWritten() {
	touched := c.touched
	c.touched = nil
	for _, id := range touched {
		delete(c.written, id)
		if it := c.s.Items[id]; it != nil {
			c.written[id] = c.json(it)
		}
	}
	for id, it := range c.s.Items {
		if d := cmp.Diff(c.written[id], c.json(it)); d != "" {
			c.Fatalf("item %s changed without being touched:\n%s", id, d)
		}
	}
	if len(c.written) != len(c.s.Items) {
		c.Fatalf("an item went without being touched")
	}
	before := c.json(c.s)
	var s State
	if err := json.Unmarshal([]byte(before), &s); err != nil {
		c.Fatal(err)
	}
	if after := c.json(&s); before != after {
		c.Fatalf("the state is another one after it was read back:\n%s", cmp.Diff(before, after))
	}
	*c.s = s
}

// Fatalf ends the run, with the inputs that led there.
func (c *chance) Fatalf(format string, args ...any) {
	c.T.Logf("the pipeline: %+v", c.plan)
	for i, r := range c.inputs {
		c.T.Logf("%d %s %s", i+1, kind(r.in), brief(r.in))
	}
	c.T.Fatalf(format, args...)
}

// brief is an input in as few words as it takes to follow a run.
func brief(in Input) string {
	switch in := in.(type) {
	case *Trigger:
		return fmt.Sprint(in.Event.Type, " ", in.Key, " match ", in.Match)
	case *Reconfigure:
		return fmt.Sprint(in.Tenant.Layout, " removed ", in.Removed)
	case *Enqueue:
		return fmt.Sprint(in.Key, " force ", in.Force)
	case *Configured:
		return fmt.Sprint(in.Buildset, " ", in.Layout, " problems ", len(in.Problems))
	}
	b, _ := json.Marshal(in)
	return string(b)
}
