package deps

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// ObservedFile is what a build's tasks were seen to do, among the files that are kept with its log: a JSON list of
// Observed.
const ObservedFile = "observed.json"

// Observed is one thing that a task was seen to do while a job ran.
type Observed struct {
	Resource
	Verb Verb `json:"verb"`
	// Task and its Place as Ansible names them; Changed: it altered something.
	Task    string    `json:"task"`
	Place   string    `json:"place,omitempty"`
	Changed bool      `json:"changed,omitempty"`
	Begin   time.Time `json:"begin"`
	End     time.Time `json:"end"`
}

// Observe reads what the callback gozer_observe wrote, a JSON object a line, and tells what was done to which
// resources. What happened on the machine that ran Ansible is left out where own says so: it is the job's own.
// Lines that cannot be read are counted, and passed over.
func Observe(t *Table, lines []byte, own bool) (out []Observed, bad int) {
	seen := map[Observed]bool{}
	for line := range bytes.Lines(lines) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var l struct {
			Host, Module, Task, Path string
			Args                     map[string]any
			Changed                  bool
			Begin, End               float64
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Host == "" {
			bad++
			continue
		}
		host, local := strings.CutPrefix(l.Host, "localhost:")
		if local && own {
			continue
		}
		task := &Task{Name: l.Task, Module: l.Module, Args: l.Args, Hosts: []string{host}}
		for _, a := range t.of(task, task.Hosts) {
			if a.Weak && a.Verb != Write || a.Verb == Test || a.Verb == Make {
				continue
			}
			if a.Kind == File {
				if !strings.HasPrefix(a.Name, "/") {
					continue
				}
				a.Name = path.Clean(a.Name)
			}
			o := Observed{Resource: a.Resource, Verb: a.Verb, Task: l.Task, Place: l.Path, Changed: l.Changed, Begin: moment(l.Begin), End: moment(l.End)}
			if !seen[o] {
				seen[o] = true
				out = append(out, o)
			}
		}
	}
	return out, bad
}

func moment(seconds float64) time.Time {
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)).UTC().Truncate(time.Millisecond)
}

// Ran is a job of a buildset that ran, with what it was seen to do.
type Ran struct {
	Job string `json:"job"`
	// After are the jobs on which it depends directly; Exclusive is what it had for itself.
	After     []string   `json:"after,omitempty"`
	Exclusive []string   `json:"exclusive,omitempty"`
	Observed  []Observed `json:"observed,omitempty"`
}

// Race is that two jobs touched the same thing, one of them to alter it, and nothing says which goes first.
type Race struct {
	Resource Resource `json:"resource"`
	// First is what happened first this time; at another time it may be the other way round.
	First  RaceSide `json:"first"`
	Second RaceSide `json:"second"`
	// Overlapped: both tasks ran at the same time.
	Overlapped bool `json:"overlapped"`
	// Idle: nothing was altered this time.
	Idle bool `json:"idle,omitempty"`
}

// RaceSide is one of the two.
type RaceSide struct {
	Job string `json:"job"`
	Observed
}

// Races finds what jobs of one buildset did to the same resources without being ordered by the graph, directly or
// over others, and without a semaphore or resource that excludes it. That is independent of how the times fell
// this once. One of each pair of jobs and resource is told: what altered something goes before what did not. Races
// that altered something come first.
func Races(jobs []Ran) []Race {
	before := ancestors(jobs)
	var out []Race
	for i := range jobs {
		for k := i + 1; k < len(jobs); k++ {
			a, b := &jobs[i], &jobs[k]
			if before[a.Job][b.Job] || before[b.Job][a.Job] || slices.ContainsFunc(a.Exclusive, func(x string) bool { return slices.Contains(b.Exclusive, x) }) {
				continue
			}
			out = append(out, between(a, b)...)
		}
	}
	slices.SortStableFunc(out, func(x, y Race) int {
		return cmp.Or(truth(x.Idle)-truth(y.Idle), x.First.Begin.Compare(y.First.Begin), cmp.Compare(x.Resource.String(), y.Resource.String()))
	})
	return out
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ancestors are the jobs that each one runs after, directly or not.
func ancestors(jobs []Ran) map[string]map[string]bool {
	direct := map[string][]string{}
	for i := range jobs {
		direct[jobs[i].Job] = jobs[i].After
	}
	out := map[string]map[string]bool{}
	for i := range jobs {
		all := map[string]bool{}
		for todo := slices.Clone(jobs[i].After); len(todo) > 0; todo = todo[1:] {
			if !all[todo[0]] {
				all[todo[0]] = true
				todo = append(todo, direct[todo[0]]...)
			}
		}
		out[jobs[i].Job] = all
	}
	return out
}

func between(a, b *Ran) []Race {
	best := map[Resource]Race{}
	of := map[Resource][]*Observed{}
	for i := range b.Observed {
		o := &b.Observed[i]
		of[o.Resource] = append(of[o.Resource], o)
	}
	for i := range a.Observed {
		x := &a.Observed[i]
		for _, y := range of[x.Resource] {
			if !clash(x, y) {
				continue
			}
			r := Race{Resource: x.Resource, First: RaceSide{a.Job, *x}, Second: RaceSide{b.Job, *y},
				Overlapped: x.Begin.Before(y.End) && y.Begin.Before(x.End), Idle: !(alters(x.Verb) && x.Changed) && !(alters(y.Verb) && y.Changed)}
			if y.Begin.Before(x.Begin) {
				r.First, r.Second = r.Second, r.First
			}
			if have, ok := best[x.Resource]; !ok || have.Idle && !r.Idle || have.Idle == r.Idle && !have.Overlapped && r.Overlapped {
				best[x.Resource] = r
			}
		}
	}
	var out []Race
	for _, r := range best {
		out = append(out, r)
	}
	return out
}

// clash tells whether two accesses to one resource must not be without an order.
func clash(x, y *Observed) bool {
	if x.Kind == File && shared(x.Name) {
		return false
	}
	return alters(x.Verb) || alters(y.Verb)
}

func alters(v Verb) bool {
	switch v {
	case Write, Edit, Fill, Tree, Restart, Serve:
		return true
	}
	return false
}
