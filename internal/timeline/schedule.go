package timeline

import (
	"cmp"
	"slices"
	"time"
)

// Run is one job's place in time, counted from the start of the whole. Queued is when its last
// dependency ended, so that Start-Queued is the time that it waited for room.
type Run struct {
	Job    string        `json:"job"`
	Queued time.Duration `json:"queued"`
	Start  time.Duration `json:"start"`
	End    time.Duration `json:"end"`
	// Slot counts from 0; a slot is free again at the end of its run.
	Slot int `json:"slot"`
	// Waits says what it waited for between 0 and Start, in order of time.
	Waits []Wait `json:"waits,omitempty"`
}

// Schedule is a plan carried out, or what was seen of one. Runs are in order of start.
type Schedule struct {
	Runs     []Run         `json:"runs"`
	Makespan time.Duration `json:"makespan"`
	// Serial is the sum of the durations: what one slot would take.
	Serial time.Duration `json:"serial"`
	Bound  Bound         `json:"bound"`
	// Ratio is Makespan over Bound.Total: 1 is as good as can be. 0 where there is nothing to run.
	Ratio float64 `json:"ratio"`
	// Critical is what the makespan consists of, read back from the run that ended last: each was
	// waited for by the next.
	Critical []string `json:"critical,omitempty"`
}

// Simulate carries the plan out on paper: whenever something ends, of the jobs whose dependencies have
// ended and whose mutexes are free, those with the longest remaining path start first. It is an error
// if the plan has a cycle or a name twice.
func Simulate(p Plan) (*Schedule, error) {
	g, err := p.resolve()
	if err != nil {
		return nil, err
	}
	s := &simulation{graph: g, plan: p, tails: g.tails(), held: map[string]int{}}
	s.begin()
	for len(s.running) > 0 || s.startAll() {
		s.advance()
	}
	return s.finish()
}

type simulation struct {
	*graph
	plan    Plan
	tails   []time.Duration
	now     time.Duration
	open    []int
	queued  []time.Duration
	ready   []int
	running []Run
	done    []Run
	held    map[string]int
	slots   []bool
}

func (s *simulation) begin() {
	n := len(s.jobs)
	s.open, s.queued = make([]int, n), make([]time.Duration, n)
	for i := range s.jobs {
		if s.open[i] = len(s.parents[i]); s.open[i] == 0 {
			s.ready = append(s.ready, i)
		}
	}
	s.startAll()
}

// startAll starts what can start now, best first, and reports whether anything did.
func (s *simulation) startAll() bool {
	slices.SortStableFunc(s.ready, func(a, b int) int {
		return cmp.Or(cmp.Compare(s.tails[b], s.tails[a]), cmp.Compare(a, b))
	})
	before := len(s.ready)
	s.ready = slices.DeleteFunc(s.ready, func(i int) bool {
		if !s.free(i) {
			return false
		}
		s.start(i)
		return true
	})
	return len(s.ready) < before
}

func (s *simulation) free(i int) bool {
	if s.plan.Slots > 0 && len(s.running) >= s.plan.Slots {
		return false
	}
	for _, m := range s.jobs[i].Holds {
		if s.held[m] >= max(1, s.plan.Capacity[m]) {
			return false
		}
	}
	return true
}

func (s *simulation) start(i int) {
	for _, m := range s.jobs[i].Holds {
		s.held[m]++
	}
	slot := slices.Index(s.slots, false)
	if slot < 0 {
		slot = len(s.slots)
		s.slots = append(s.slots, false)
	}
	s.slots[slot] = true
	j := s.jobs[i]
	s.running = append(s.running, Run{Job: j.Name, Queued: s.queued[i], Start: s.now, End: s.now + j.Duration, Slot: slot})
}

// advance goes to the next end, ends what ends then, and starts what can start.
func (s *simulation) advance() {
	s.now = slices.MinFunc(s.running, func(a, b Run) int { return cmp.Compare(a.End, b.End) }).End
	var on []Run
	for _, r := range s.running {
		if r.End > s.now {
			on = append(on, r)
			continue
		}
		s.done = append(s.done, r)
		s.slots[r.Slot] = false
		i := s.index[r.Job]
		for _, m := range s.jobs[i].Holds {
			s.held[m]--
		}
		for _, k := range s.children[i] {
			if s.open[k]--; s.open[k] == 0 {
				s.queued[k] = s.now
				s.ready = append(s.ready, k)
			}
		}
	}
	s.running = on
	s.startAll()
}

func (s *simulation) finish() (*Schedule, error) {
	return measure(s.plan, s.done)
}

// measure works out the figures of a schedule from its runs.
func measure(p Plan, runs []Run) (*Schedule, error) {
	b, err := LowerBound(p)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(runs, func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Slot, b.Slot))
	})
	out := &Schedule{Runs: runs, Bound: b}
	for _, r := range runs {
		out.Makespan = max(out.Makespan, r.End)
		out.Serial += r.End - r.Start
	}
	if b.Total > 0 {
		out.Ratio = float64(out.Makespan) / float64(b.Total)
	}
	explain(p, out)
	return out, nil
}
