package deps

import (
	"fmt"
	"slices"
	"strings"
)

// softNowhere is L4: a soft dependency on a job that is never in the pipeline does nothing, and nobody
// says so.
func (a *Analysis) softNowhere(p *Pipeline) []Finding {
	var out []Finding
	setup := a.Setup()
	for _, m := range p.Members {
		for _, d := range m.After {
			// That a set-up job is absent is told by itself.
			if d.Soft && p.Member(d.Job) == nil && !slices.Contains(setup, d.Job) {
				out = append(out, Finding{Rule: "L4", Level: LevelWarning, Severity: Freshness, Confidence: High, Pipelines: []string{p.Name},
					Jobs: []string{d.Job, m.Job}, At: m.At,
					Text: fmt.Sprintf("%s depends softly on %s, which is never in the pipeline %s: the dependency does nothing", m.Job, d.Job, p.Name),
					Fix:  fmt.Sprintf("add %s to the pipeline, or remove the dependency", d.Job)})
			}
		}
	}
	return out
}

// setup is L5: a set-up job must be a hard dependency of all that work with what it makes, in every
// pipeline.
func (a *Analysis) setup(pipelines []string) []Finding {
	var out []Finding
	for _, s := range a.Setup() {
		level, conf := LevelError, High
		if !preparing.MatchString(s) && len(a.Settings.Setup) == 0 {
			level, conf = LevelWarning, Medium // only what others declare tells that it is one
		}
		for i := range a.Pipelines {
			p := &a.Pipelines[i]
			if !slices.Contains(pipelines, p.Name) {
				continue
			}
			var users []string
			for _, m := range p.Members {
				if a.Job(m.Job) != nil && m.Job != s && a.usesSetup(s, m.Job) {
					users = append(users, m.Job)
				}
			}
			if p.Member(s) == nil {
				if len(users) > 0 {
					out = append(out, Finding{Rule: "L5", Level: level, Severity: Freshness, Confidence: conf, Pipelines: []string{p.Name},
						Jobs: append([]string{s}, users...), At: p.Members[0].At,
						Text: fmt.Sprintf("the set-up job %s is not in the pipeline %s: what an earlier run left is used by %s", s, p.Name, list(users)),
						Fix:  fmt.Sprintf("add %s to the pipeline, and let the others depend on it", s)})
				}
				continue
			}
			var soft, none []Finding
			for _, u := range users {
				f, direct := a.softSetup(p, s, u)
				switch {
				case f == nil:
					continue
				case direct:
					soft = append(soft, *f)
				default:
					none = append(none, *f)
				}
			}
			soft = together(soft, fmt.Sprintf("depend only softly on the set-up job %s: where that is not run, they work with what an earlier run left", s))
			none = together(none, fmt.Sprintf("do not depend on the set-up job %s in the pipeline %s", s, p.Name))
			for _, f := range slices.Concat(soft, none) {
				f.Level, f.Confidence = level, conf
				out = append(out, f)
			}
		}
	}
	return out
}

// usesSetup reports whether a job depends on the set-up job in some pipeline.
func (a *Analysis) usesSetup(setup, job string) bool {
	for _, p := range a.Pipelines {
		if m := p.Member(job); m != nil && slices.ContainsFunc(m.After, func(d Dependency) bool { return d.Job == setup }) {
			return true
		}
	}
	return false
}

// softSetup tells of a job that may run without the set-up job; direct: though it depends on it.
func (a *Analysis) softSetup(p *Pipeline, setup, job string) (f *Finding, direct bool) {
	m := p.Member(job)
	if p.path(setup, job, map[string]bool{}, func(d Dependency) bool { return !d.Soft }) {
		return nil, false
	}
	direct = slices.ContainsFunc(m.After, func(d Dependency) bool { return d.Job == setup })
	if !direct && p.Before(setup, job) {
		return nil, false // the soft step on the way there is told of
	}
	f = &Finding{Rule: "L5", Severity: Freshness, Pipelines: []string{p.Name}, Jobs: []string{setup, job}, At: m.At,
		Text: fmt.Sprintf("%s depends only softly on the set-up job %s: where that is not run, it works with what an earlier run left", job, setup),
		Fix:  "make the dependency hard"}
	if !direct {
		f.Text = fmt.Sprintf("%s does not depend on the set-up job %s in the pipeline %s", job, setup, p.Name)
	}
	return f, direct
}

// together makes one finding of those that say the same of three jobs or more, whose first job is the same.
func together(same []Finding, text string) []Finding {
	if len(same) < 3 {
		return same
	}
	one := same[0]
	var jobs []string
	for _, f := range same {
		jobs = append(jobs, f.Jobs[1])
		one.Also = append(one.Also, f.At)
	}
	one.Also, one.Jobs = one.Also[1:], append([]string{one.Jobs[0]}, jobs...)
	one.Text = fmt.Sprintf("%d jobs %s: %s", len(jobs), text, list(jobs))
	one.Fix = "make the dependency hard, best in a parent that they share"
	return []Finding{one}
}

// differing is L7: a job whose dependencies differ between pipelines that have all of these jobs.
func (a *Analysis) differing(pipelines []string) []Finding {
	var out []Finding
	for i := range a.Pipelines {
		for k := i + 1; k < len(a.Pipelines); k++ {
			p, q := &a.Pipelines[i], &a.Pipelines[k]
			if !slices.Contains(pipelines, p.Name) || !slices.Contains(pipelines, q.Name) {
				continue
			}
			for _, m := range p.Members {
				n := q.Member(m.Job)
				if n == nil || a.Job(m.Job) == nil {
					continue
				}
				var only []string
				for _, d := range m.After {
					if q.Member(d.Job) != nil && p.Member(d.Job) != nil && !slices.ContainsFunc(n.After, func(o Dependency) bool { return o.Job == d.Job }) {
						only = append(only, d.Job+" (only in "+p.Name+")")
					}
				}
				for _, d := range n.After {
					if p.Member(d.Job) != nil && q.Member(d.Job) != nil && !slices.ContainsFunc(m.After, func(o Dependency) bool { return o.Job == d.Job }) {
						only = append(only, d.Job+" (only in "+q.Name+")")
					}
				}
				if len(only) > 0 {
					slices.Sort(only)
					out = append(out, Finding{Rule: "L7", Level: LevelWarning, Severity: Freshness, Confidence: High, Pipelines: []string{p.Name, q.Name},
						Jobs: []string{m.Job}, At: n.At, Also: []Place{m.At},
						Text: fmt.Sprintf("%s depends on different jobs in %s and %s: %s", m.Job, p.Name, q.Name, list(only)),
						Fix:  "declare the same dependencies in both, or waive it with the reason"})
				}
			}
		}
	}
	return out
}

// cycle is L8: the enforced inferred edges and the declared ones together must have no cycle.
func (a *Analysis) cycle(p *Pipeline) []Finding {
	type step struct {
		to   string
		edge *Edge
	}
	next := map[string][]step{}
	for _, m := range p.Members {
		for _, d := range m.After {
			next[d.Job] = append(next[d.Job], step{to: m.Job})
		}
	}
	for _, pair := range a.pairs(p, Order) {
		if e := pair[0]; e.Enforced() {
			next[e.First] = append(next[e.First], step{e.Then, &pair[0]})
		}
	}
	var path []string
	var edges []*Edge
	done := map[string]bool{}
	var found []Finding
	var visit func(at string) bool
	visit = func(at string) bool {
		if i := slices.Index(path, at); i >= 0 {
			if f, ok := describe(p, append(slices.Clone(path[i:]), at), edges[i:]); ok {
				found = append(found, f)
				return true
			}
			return false
		}
		if done[at] {
			return false
		}
		path = append(path, at)
		for _, s := range next[at] {
			edges = append(edges, s.edge)
			stop := visit(s.to)
			edges = edges[:len(edges)-1]
			if stop {
				return true
			}
		}
		path = path[:len(path)-1]
		done[at] = true
		return false
	}
	for _, m := range p.Members {
		if visit(m.Job) {
			break
		}
	}
	return found
}

// describe words a cycle, and names its weakest edge; a cycle of declared edges alone is for the
// configuration to complain of.
func describe(p *Pipeline, path []string, edges []*Edge) (Finding, bool) {
	var weakest *Edge
	var also []Place
	for _, e := range edges {
		if e == nil {
			continue
		}
		also = append(also, e.At[1])
		if weakest == nil || compareEdges(*e, *weakest) > 0 {
			weakest = e
		}
	}
	if weakest == nil {
		return Finding{}, false
	}
	return Finding{Rule: "L8", Level: LevelError, Severity: Outage, Confidence: weakest.Confidence, Pipelines: []string{p.Name}, Jobs: path[:len(path)-1],
		At: weakest.At[1], Also: also, Edges: []Edge{*weakest},
		Text: fmt.Sprintf("with the inferred edges there is a cycle: %s; the weakest edge is %s before %s: %s", strings.Join(path, ", then "), weakest.First, weakest.Then, weakest.Text),
		Fix:  "split a job, or waive the weakest edge with the reason"}, true
}

// excluded is L6: a group that most plays which could touch its hosts exclude ("all:!disabled"), but some
// do not.
func (a *Analysis) excluded() []Finding {
	type count struct{ out, in int }
	counts := map[string]*count{}
	each := func(f func(j *Job, p *Play)) {
		for i := range a.Jobs {
			for k := range a.Jobs[i].Plays {
				f(&a.Jobs[i], &a.Jobs[i].Plays[k])
			}
		}
	}
	each(func(_ *Job, p *Play) {
		for _, g := range exclusions(p.Pattern) {
			if counts[g] == nil {
				counts[g] = &count{}
			}
			counts[g].out++
		}
	})
	touches := func(p *Play, g string) bool {
		return !slices.Contains(exclusions(p.Pattern), g) && slices.ContainsFunc(p.Hosts, func(h string) bool { return slices.Contains(a.Hosts[h], g) })
	}
	each(func(_ *Job, p *Play) {
		for g, c := range counts {
			if touches(p, g) {
				c.in++
			}
		}
	})
	var out []Finding
	each(func(j *Job, p *Play) {
		for _, g := range keys(counts) {
			c := counts[g]
			// A play that names the group itself means its hosts.
			if c.out < 3 || c.out < 2*c.in || !touches(p, g) || slices.Contains(parts(p.Pattern), g) {
				continue
			}
			out = append(out, Finding{Rule: "L6", Level: LevelWarning, Severity: Outage, Confidence: Medium, Jobs: []string{j.Name}, At: p.At,
				Text: fmt.Sprintf("the play %q of %s runs on hosts of the group %s, which %d of %d plays exclude that could", p.Name, j.Name, g, c.out, c.out+c.in),
				Fix:  fmt.Sprintf("add :!%s to its hosts", g)})
		}
	})
	slices.SortFunc(out, compareFindings)
	return out
}

func parts(pattern string) []string {
	return strings.FieldsFunc(pattern, func(c rune) bool { return c == ':' || c == ',' || c == ' ' || c == '&' })
}

func exclusions(pattern string) []string {
	var out []string
	for _, part := range parts(pattern) {
		if g, ok := strings.CutPrefix(strings.TrimSpace(part), "!"); ok {
			out = append(out, g)
		}
	}
	return out
}

// volatile are words of commands whose effect a reboot undoes.
var volatile = []string{"iptables ", "ip link", "ip addr", "brctl ", "ovs-vsctl", "swapon", "mount ", "sysctl -w", "modprobe ", "setenforce "}

// reboots is L9: a step that needs a reboot after steps whose state a reboot loses.
func (a *Analysis) reboots() []Finding {
	var out []Finding
	for i := range a.Jobs {
		j := &a.Jobs[i]
		var lost *Task
		for k := range j.Tasks {
			t := &j.Tasks[k]
			text := strings.Join(append(lookup(t.Args, "_raw_params"), lookup(t.Args, "argv")...), " ")
			rebooting := a.isReboot(t) || strings.Contains(text, "fips-mode-setup --enable")
			switch {
			case rebooting && lost != nil && slices.ContainsFunc(t.Hosts, func(h string) bool { return slices.Contains(lost.Hosts, h) }):
				out = append(out, Finding{Rule: "L9", Level: LevelWarning, Severity: Bootstrap, Confidence: Medium, Jobs: []string{j.Name}, At: t.At, Also: []Place{lost.At},
					Text: fmt.Sprintf("%s reboots (%s) after %q, whose effect a reboot loses", j.Name, t.Name, lost.Name),
					Fix:  "reboot first; for FIPS, ask for nodes with the feature fips"})
			case slices.ContainsFunc(volatile, func(v string) bool { return strings.Contains(text+" ", v) }) || t.Module == "iptables" || t.Module == "zuul_console" || t.Module == "modprobe":
				lost = t
			}
		}
	}
	return out
}

// list joins with commas and "and".
func list(words []string) string {
	switch len(words) {
	case 0:
		return "none"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
