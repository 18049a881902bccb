package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/job"
)

// Staged parallelism: how many jobs of a buildset run at once is raised by people, step by step. In shadow nothing
// runs at once, and each buildset tells what would have. A bound that was raised too far lowers itself.

// limit is how many jobs of one buildset may run at once; 0: any number.
func (st *stepper) limit() int {
	n := st.s.Settings.MaxParallel
	switch {
	case st.s.Settings.Shadow:
		return 1
	case st.s.Parallel > 0 && (n == 0 || st.s.Parallel < n):
		return st.s.Parallel
	}
	return n
}

// overlap is that two builds ran, or would have run, at the same time.
type overlap struct{ a, b *job.Job }

// judge looks back at a finished buildset: what would have run at once, and what failed while something else ran.
func (st *stepper) judge(it *Item) {
	bs := it.Buildset
	if bs.Graph == nil {
		return
	}
	if st.s.Settings.Shadow {
		if would := st.shadowed(bs); len(would) > 0 {
			bs.Warnings = append(bs.Warnings, fmt.Sprintf("With %d jobs at a time these would have run at once: %s.",
				st.s.Settings.MaxParallel, strings.Join(would, "; ")))
		}
		return
	}
	st.canaries(bs)
	if st.s.Settings.StepBack {
		st.stepBack(bs)
	}
}

// shadowed names the pairs that max-parallel would have let run at once: one was ready while the other ran.
func (st *stepper) shadowed(bs *Buildset) []string {
	var out []string
	order := st.strategy.Order(st.s, bs.Graph)
	for _, a := range order {
		x := bs.Jobs[a.ID].Build
		if x == nil || x.Started.IsZero() {
			continue
		}
		var beside []string
		for _, b := range order {
			js := bs.Jobs[b.ID]
			if y := js.Build; y != nil && y.Started.After(x.Started) && !js.Queued.IsZero() && js.Queued.Before(x.Ended) {
				if beside = append(beside, b.Name); len(beside) == st.s.Settings.MaxParallel-1 {
					break
				}
			}
		}
		if len(beside) > 0 {
			out = append(out, a.Name+" beside "+strings.Join(beside, ", "))
		}
	}
	return out
}

// stepBack halves the bound if a job failed while others of its buildset ran.
func (st *stepper) stepBack(bs *Buildset) {
	for _, o := range overlaps(bs) {
		b := bs.Jobs[o.a.ID].Build
		if b.Result != Failure && b.Result != PostFailure && b.Result != TimedOut {
			continue
		}
		before := st.limit()
		if before == 0 {
			before = atOnce(bs)
		}
		if before < 2 {
			return
		}
		st.s.Parallel = before / 2
		st.s.SteppedBack = fmt.Sprintf("%s failed while %s ran", o.a.Name, o.b.Name)
		now := fmt.Sprintf("%d jobs", st.s.Parallel)
		if st.s.Parallel == 1 {
			now = "one job"
		}
		bs.Warnings = append(bs.Warnings, fmt.Sprintf("The pipeline %s runs %s at a time from now on, not %d: %s. "+
			"`gozer queue resume` sets it back.", st.s.Settings.Name, now, before, st.s.SteppedBack))
		return
	}
}

// overlaps are the pairs of builds that ran at the same time, each once from either side.
func overlaps(bs *Buildset) []overlap {
	var out []overlap
	for _, a := range bs.Graph.Jobs {
		for _, b := range bs.Graph.Jobs {
			if x, y := bs.Jobs[a.ID].Build, bs.Jobs[b.ID].Build; a != b && ran(x) && ran(y) && x.Started.Before(y.Ended) && y.Started.Before(x.Ended) {
				out = append(out, overlap{a, b})
			}
		}
	}
	return out
}

func ran(b *Build) bool { return b != nil && !b.Started.IsZero() && b.Result != Skipped }

// atOnce is how many builds ran at the same time at the most.
func atOnce(bs *Buildset) int {
	most := 0
	for _, a := range bs.Graph.Jobs {
		x := bs.Jobs[a.ID].Build
		if !ran(x) {
			continue
		}
		n := 0
		for _, b := range bs.Graph.Jobs {
			if y := bs.Jobs[b.ID].Build; ran(y) && !y.Started.After(x.Started) && y.Ended.After(x.Started) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// forward sets the bound back to what the configuration says.
func (st *stepper) forward() { st.s.Parallel, st.s.SteppedBack = 0, "" }

// wantsEstimates asks history how long jobs take, where their order depends on it.
func (st *stepper) wantsEstimates() {
	if st.s.Settings.Dispatch == DispatchLongestPath {
		st.emit(&FindEstimates{Token: st.id()})
	}
}

func (st *stepper) estimated(in *Estimated) {
	if in.Jobs != nil {
		st.s.Estimates = in.Jobs
	}
}

// resources are what the job must have for itself, as names of semaphores.
func (st *stepper) resources(j *job.Job) []string {
	var out []string
	for _, r := range st.s.Tenant.Resources[j.Name] {
		out = append(out, ResourcePrefix+r)
	}
	slices.Sort(out)
	return out
}

// ResourcePrefix begins the names under which resources are held, beside semaphores.
const ResourcePrefix = "resource "
