package deps

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/timeline"
)

// Durations are how long jobs take, and where each figure is from. What is not in Known takes Default.
type Durations struct {
	Known   map[string]time.Duration `json:"known"`
	Default time.Duration            `json:"default"`
	// Source says in words where the known ones come from.
	Source string `json:"source"`
}

// Of is how long a job takes.
func (d Durations) Of(job string) time.Duration {
	if t, ok := d.Known[job]; ok {
		return t
	}
	return d.Default
}

// Plan is a pipeline as the scheduler sees it, with its declared dependencies and semaphores. Only jobs
// that want says are in it; all where it is nil.
func (a *Analysis) Plan(p *Pipeline, d Durations, want func(job string) bool) timeline.Plan {
	plan := timeline.Plan{Capacity: map[string]int{}}
	for _, m := range p.Members {
		if want != nil && !want(m.Job) {
			continue
		}
		j := timeline.Job{Name: m.Job, Duration: d.Of(m.Job), Holds: slices.Clone(m.Semaphores)}
		for _, dep := range m.After {
			j.After = append(j.After, dep.Job)
		}
		plan.Jobs = append(plan.Jobs, j)
	}
	for s, n := range a.Semaphores {
		plan.Capacity[s] = n
	}
	return plan
}

// enforce adds the enforced inferred edges to a plan: what it would take to be safe. An edge that would
// close a cycle is left out.
func (a *Analysis) enforce(p *Pipeline, plan timeline.Plan) timeline.Plan {
	plan = clonePlan(plan)
	index := map[string]int{}
	for i, j := range plan.Jobs {
		index[j.Name] = i
	}
	for _, e := range a.Lacking(p) {
		i, ok := index[e.First]
		k, too := index[e.Then]
		if !ok || !too {
			continue
		}
		if e.Kind == Mutex {
			name := mutexName(e.Resource)
			for _, n := range []int{i, k} {
				if !slices.Contains(plan.Jobs[n].Holds, name) {
					plan.Jobs[n].Holds = append(plan.Jobs[n].Holds, name)
				}
			}
			continue
		}
		plan.Jobs[k].After = append(plan.Jobs[k].After, e.First)
		if _, err := timeline.Tails(plan.Jobs); err != nil {
			plan.Jobs[k].After = plan.Jobs[k].After[:len(plan.Jobs[k].After)-1]
		}
	}
	return plan
}

// Lacking are the enforced edges that a pipeline does not keep and no waiver covers, the surest of each
// pair.
func (a *Analysis) Lacking(p *Pipeline) []Edge {
	var out []Edge
	for _, f := range slices.Concat(a.missing(p), a.colliding(p)) {
		if e := f.Edges[0]; e.Enforced() && a.waiver(f, "") == nil {
			out = append(out, e)
		}
	}
	return out
}

// Gaps are the same as findings: those at the same lock of the same hosts are one.
func (a *Analysis) Gaps(p *Pipeline) []Finding {
	var out []Finding
	for _, f := range slices.Concat(a.missing(p), a.collisions(p, "")) {
		if f.Edges[0].Enforced() && a.waiver(f, "") == nil {
			out = append(out, f)
		}
	}
	return out
}

func clonePlan(p timeline.Plan) timeline.Plan {
	p.Jobs = slices.Clone(p.Jobs)
	for i := range p.Jobs {
		p.Jobs[i].After = slices.Clone(p.Jobs[i].After)
		p.Jobs[i].Holds = slices.Clone(p.Jobs[i].Holds)
	}
	return p
}

// Step is a simulation with a number of slots.
type Step struct {
	Slots    int                `json:"slots"`
	Schedule *timeline.Schedule `json:"schedule"`
	// Safe is the makespan once the enforced edges that are missing are kept too.
	Safe time.Duration `json:"safe"`
}

// Gain is a change that could be made, and what it would gain at some slots; less than nothing is cost.
type Gain struct {
	Text  string        `json:"text"`
	Gain  time.Duration `json:"gain"`
	Slots int           `json:"slots"`
}

// Simulation is what a pipeline would take.
type Simulation struct {
	Pipeline  string    `json:"pipeline"`
	Jobs      int       `json:"jobs"`
	Guessed   int       `json:"guessed"`
	Durations Durations `json:"durations"`
	Steps     []Step    `json:"steps"`
	Gains     []Gain    `json:"gains"`
	// Chart is the step with the slots that gains are given for.
	Chart *timeline.Schedule `json:"-"`
}

// SimulateOptions say with how many slots (1, 2, 4, 8, 16 where there are none), for how many gains are
// given (4 where it is 0), and which jobs run.
type SimulateOptions struct {
	Slots     []int
	At        int
	Durations Durations
	Want      func(job string) bool
}

// Simulate says what a pipeline would take with more and more slots, and what would make it faster.
func (a *Analysis) Simulate(p *Pipeline, o SimulateOptions) (*Simulation, error) {
	if len(o.Slots) == 0 {
		o.Slots = []int{1, 2, 4, 8, 16}
	}
	o.At = cmp.Or(o.At, 4)
	plan := a.Plan(p, o.Durations, o.Want)
	safe := a.enforce(p, plan)
	s := &Simulation{Pipeline: p.Name, Jobs: len(plan.Jobs), Durations: o.Durations}
	for _, j := range plan.Jobs {
		if _, ok := o.Durations.Known[j.Name]; !ok {
			s.Guessed++
		}
	}
	for _, n := range o.Slots {
		got, err := simulate(plan, n)
		if err != nil {
			return nil, fmt.Errorf("simulate the pipeline %s: %w", p.Name, err)
		}
		with, err := simulate(safe, n)
		if err != nil {
			return nil, fmt.Errorf("simulate the pipeline %s: %w", p.Name, err)
		}
		s.Steps = append(s.Steps, Step{n, got, with.Makespan})
	}
	chart, err := simulate(plan, o.At)
	if err != nil {
		return nil, err
	}
	s.Chart = chart
	s.Gains, err = a.gains(p, plan, safe, o, chart)
	return s, err
}

func simulate(plan timeline.Plan, slots int) (*timeline.Schedule, error) {
	plan.Slots = slots
	return timeline.Simulate(plan)
}

// gains tries the changes that findings suggest, one at a time.
func (a *Analysis) gains(p *Pipeline, plan, safe timeline.Plan, o SimulateOptions, now *timeline.Schedule) ([]Gain, error) {
	var out []Gain
	try := func(changed timeline.Plan, slots int, base time.Duration, format string, args ...any) error {
		s, err := simulate(changed, slots)
		if err != nil {
			return err
		}
		if d := base - s.Makespan; d != 0 {
			out = append(out, Gain{fmt.Sprintf(format, args...), d, slots})
		}
		return nil
	}
	serial, err := simulate(plan, 1)
	if err != nil {
		return nil, err
	}
	if d := serial.Makespan - now.Makespan; d > 0 {
		out = append(out, Gain{fmt.Sprintf("run %d jobs at a time instead of one", o.At), d, o.At})
	}
	if n := len(a.Lacking(p)); n == 1 {
		err = try(safe, o.At, now.Makespan, "keep the edge that is missing, to be safe")
	} else {
		err = try(safe, o.At, now.Makespan, "keep the %d edges that are missing, to be safe", n)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range a.idle(p) {
		changed := clonePlan(plan)
		for i := range changed.Jobs {
			if changed.Jobs[i].Name == f.Jobs[1] {
				changed.Jobs[i].After = slices.DeleteFunc(changed.Jobs[i].After, func(n string) bool { return n == f.Jobs[0] })
			}
		}
		if err := try(changed, o.At, now.Makespan, "let %s no longer wait for %s, for which nothing is known", f.Jobs[1], f.Jobs[0]); err != nil {
			return nil, err
		}
	}
	for _, mutex := range held(plan) {
		changed := clonePlan(plan)
		for i := range changed.Jobs {
			changed.Jobs[i].Holds = slices.DeleteFunc(changed.Jobs[i].Holds, func(n string) bool { return n == mutex })
		}
		if err := try(changed, o.At, now.Makespan, "do without the semaphore %s, where its jobs can be made to get on with each other", mutex); err != nil {
			return nil, err
		}
	}
	if i := floor(plan, now); i >= 0 {
		changed := clonePlan(plan)
		half := changed.Jobs[i]
		half.Name += " (second half)"
		half.Duration /= 2
		changed.Jobs[i].Duration -= half.Duration
		changed.Jobs = append(changed.Jobs, half)
		for k := range changed.Jobs {
			if slices.Contains(changed.Jobs[k].After, plan.Jobs[i].Name) {
				changed.Jobs[k].After = append(changed.Jobs[k].After, half.Name)
			}
		}
		if err := try(changed, o.At, now.Makespan, "split %s, the longest on the critical path (%s), into two halves that can run at once", plan.Jobs[i].Name, timeline.Short(plan.Jobs[i].Duration)); err != nil {
			return nil, err
		}
	}
	if err := try(plan, 2*o.At, now.Makespan, "run %d jobs at a time", 2*o.At); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(x, y Gain) int { return cmp.Compare(y.Gain, x.Gain) })
	return out, nil
}

func held(plan timeline.Plan) []string {
	var out []string
	for _, j := range plan.Jobs {
		for _, h := range j.Holds {
			if !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// floor is the longest job that the makespan consists of.
func floor(plan timeline.Plan, s *timeline.Schedule) int {
	best := -1
	for i, j := range plan.Jobs {
		if slices.Contains(s.Critical, j.Name) && (best < 0 || j.Duration > plan.Jobs[best].Duration) {
			best = i
		}
	}
	return best
}

// Kept are the pairs of jobs that evidence excludes, and that a semaphore keeps apart.
func (a *Analysis) Kept(p *Pipeline) [][2]string {
	var out [][2]string
	for _, pair := range a.pairs(p, Mutex) {
		e := pair[0]
		if e.Enforced() && !p.Before(e.First, e.Then) && !p.Before(e.Then, e.First) && a.share(p.Member(e.First), p.Member(e.Then)) {
			out = append(out, [2]string{e.First, e.Then})
		}
	}
	return out
}
