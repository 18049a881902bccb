package deps

import (
	"fmt"
	"slices"
)

// around is what a playbook that many jobs share does to one resource before and after it runs the playbook of
// each: all of these jobs do the same there.
type around struct {
	jobs []string
	at   Place
	verb Verb
}

// sharedWrapper reports whether the first of two accesses is one of a playbook that several jobs share to run theirs
// on a bastion. Every such job does the same there, which says nothing of one pair: what they alter is kept for
// one finding.
func (a *Analysis) sharedWrapper(m meeting) bool {
	x, y := m.x, m.y
	if !a.common(x) || y.Task == nil {
		return false
	}
	if !alters(x.Verb) || !alters(y.Verb) || x.Resource != y.Resource || x.Kind == File && shared(x.Name) {
		// Whom it writes for is not one of them; what it reads is an edge like any other.
		return alters(x.Verb) && x.Verb != Restart || a.common(y)
	}
	if a.arounds == nil {
		a.arounds = map[Resource]*around{}
	}
	s := a.arounds[x.Resource]
	if s == nil {
		s = &around{at: x.Place(), verb: x.Verb}
		a.arounds[x.Resource] = s
	}
	for _, j := range []string{m.a, m.b} {
		if !slices.Contains(s.jobs, j) {
			s.jobs = append(s.jobs, j)
		}
	}
	return true
}

// common reports whether an access is that of a task of a playbook that runs those of several jobs.
func (a *Analysis) common(x Access) bool {
	if x.Task == nil || !x.Task.Outer {
		return false
	}
	if a.outer == nil {
		a.outer = map[Place][]string{}
		for i := range a.Jobs {
			j := &a.Jobs[i]
			for k := range j.Tasks {
				if t := &j.Tasks[k]; t.Outer && !slices.Contains(a.outer[t.At], j.Name) {
					a.outer[t.At] = append(a.outer[t.At], j.Name)
				}
			}
		}
	}
	return len(a.outer[x.Task.At]) > 1
}

// wrappers tells of what jobs do to the same thing through the playbook that runs theirs, where some of them may
// run at once: one finding for all of them.
func (a *Analysis) wrappers(p *Pipeline) []Finding {
	var out []Finding
	for r, s := range a.arounds {
		var here []string
		for _, m := range p.Members {
			if slices.Contains(s.jobs, m.Job) {
				here = append(here, m.Job)
			}
		}
		apart := true
		for i, x := range here {
			for _, y := range here[i+1:] {
				apart = apart && a.apart(p, x, y)
			}
		}
		if apart {
			continue
		}
		thing := r.String()
		if s.verb == Tree || s.verb == Fill {
			thing = fmt.Sprintf("everything below %s on %s", r.Name, r.Host)
		}
		out = append(out, Finding{Rule: "R4", Level: LevelWarning, Severity: Torn, Confidence: Medium, Pipelines: []string{p.Name}, Jobs: here, At: s.at,
			Text: fmt.Sprintf("%d jobs write %s by the playbook that they share to run theirs on the bastion: where two run at once, one may work with what the other leaves", len(here), thing),
			Fix:  "do it once a buildset, in a job on which the others depend; or give each build a path of its own"})
	}
	slices.SortFunc(out, compareFindings)
	return out
}

// apart reports whether a pipeline never runs two of its jobs at once.
func (a *Analysis) apart(p *Pipeline, x, y string) bool {
	return p.Before(x, y) || p.Before(y, x) || a.share(p.Member(x), p.Member(y))
}
