package deps

import (
	"fmt"
	"regexp"
	"slices"
)

// rebooting are commands that reboot the host that they run on.
var rebooting = regexp.MustCompile(`(?:^|[\s;&|/])(?:shutdown\s+(?:-\S+\s+)*-r|reboot|systemctl\s+reboot|init\s+6)\b`)

func (a *Analysis) isReboot(t *Task) bool {
	switch a.table.name(t.Module) {
	case "reboot", "win_reboot":
		return true
	case "command", "shell", "raw":
		return rebooting.MatchString(words(t))
	}
	return false
}

// outages is R16: a job that reboots a host excludes all that work there.
func (a *Analysis) outages() {
	type reboot struct {
		job  *Job
		task *Task
	}
	on := map[string][]reboot{}
	a.tasks(func(j *Job, t *Task, hosts []string) {
		if !a.isReboot(t) || t.Dry {
			return
		}
		for _, h := range hosts {
			if !slices.ContainsFunc(on[h], func(r reboot) bool { return r.job == j }) {
				on[h] = append(on[h], reboot{j, t})
			}
		}
	})
	if len(on) == 0 {
		return
	}
	seen := map[[3]string]bool{}
	a.tasks(func(j *Job, t *Task, hosts []string) {
		if a.harmless(t) {
			return
		}
		for _, h := range hosts {
			for _, r := range on[h] {
				if key := [3]string{r.job.Name, j.Name, h}; r.job != j && !seen[key] {
					seen[key], seen[[3]string{j.Name, r.job.Name, h}] = true, true
					x := Access{Resource: Resource{Machine, h, ""}, Task: r.task, Sure: !r.task.Guarded && !r.task.Handler}
					a.mutex("R16", certain(High, x), Outage, meeting{a: r.job.Name, b: j.Name, x: x, y: Access{Resource: x.Resource, Task: t, Sure: true}},
						"%s reboots %s, on which %s works", r.job.Name, x.Resource, j.Name)
					a.Edges[len(a.Edges)-1].By = r.job.Name
				}
			}
		}
	})
}

// tasks calls f for each task of each job that works on hosts that others work on too.
func (a *Analysis) tasks(f func(j *Job, t *Task, hosts []string)) {
	for i := range a.Jobs {
		j := &a.Jobs[i]
		if j.Private {
			continue
		}
		b := &builder{Analysis: a, job: j}
		for k := range j.Tasks {
			t := &j.Tasks[k]
			if hosts, ok := b.where(t); ok && !t.Outer {
				f(j, t, hosts)
			}
		}
	}
}

// harmless reports whether a task does nothing on its host that a reboot could disturb.
func (a *Analysis) harmless(t *Task) bool {
	switch a.table.name(t.Module) {
	case "debug", "assert", "fail", "set_fact", "meta", "add_host", "group_by", "include_vars", "pause", External:
		return true
	}
	return false
}

// outagesOf makes one finding of the pairs that are due to the same job's reboots.
func (a *Analysis) outagesOf(p *Pipeline, pairs []Finding) []Finding {
	by := map[string][]Finding{}
	for _, f := range pairs {
		who := f.Edges[0].By
		by[who] = append(by[who], f)
	}
	var out []Finding
	for _, who := range keys(by) {
		pairs := by[who]
		if len(pairs) == 1 {
			out = append(out, pairs[0])
			continue
		}
		f := pairs[0]
		if f.Edges[0].Then == who {
			f.At = f.Edges[0].At[1]
		}
		f.Jobs, f.Also, f.Edges = []string{who}, nil, nil
		var hosts, others []string
		for _, o := range pairs {
			f.Edges = append(f.Edges, o.Edges[0])
			for _, h := range o.Edges[0].Hosts {
				if !slices.Contains(hosts, h) {
					hosts = append(hosts, h)
				}
			}
			for _, j := range o.Jobs {
				if j != who {
					others = append(others, j)
				}
			}
		}
		slices.Sort(hosts)
		f.Jobs = append(f.Jobs, others...)
		f.Text = fmt.Sprintf("%s reboots %s, while %d other jobs may be at work there: %s", who, a.hostsText(hosts), len(others), list(others))
		f.Fix = fmt.Sprintf("give %s and these a semaphore for one, or let them run in a pipeline or at a time of their own", who)
		out = append(out, f)
	}
	return out
}
