package deps

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Level says how much a finding matters.
type Level string

// The levels, worst first.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelNote    Level = "note"
)

var levels = []Level{LevelError, LevelWarning, LevelNote}

// Worse reports whether l is at least as bad as o.
func (l Level) Worse(o Level) bool { return slices.Index(levels, l) <= slices.Index(levels, o) }

// Finding is one thing that an audit has to say.
type Finding struct {
	// Rule is R1 to R15, L1 to L9, "collision", or "idle" for an edge that does nothing.
	Rule       string     `json:"rule"`
	Level      Level      `json:"level"`
	Severity   Severity   `json:"severity"`
	Confidence Confidence `json:"confidence"`
	Pipelines  []string   `json:"pipelines,omitempty"`
	// Jobs are those concerned: of a missing order edge first the one that must run first.
	Jobs []string `json:"jobs,omitempty"`
	Text string   `json:"text"`
	// Fix says what to do, in one line.
	Fix   string  `json:"fix,omitempty"`
	At    Place   `json:"at"`
	Also  []Place `json:"also,omitempty"`
	Edges []Edge  `json:"edges,omitempty"`
	// Waived is the reason of the waiver that covers it.
	Waived string `json:"waived,omitempty"`
}

// Audit is all findings, worst first, with figures for a summary.
type Audit struct {
	Pipelines []string  `json:"pipelines"`
	Jobs      int       `json:"jobs"`
	Findings  []Finding `json:"findings"`
	Waived    []Finding `json:"waived,omitempty"`
	Unknown   []Problem `json:"unknown,omitempty"`
	Problems  []Problem `json:"problems,omitempty"`
}

// AuditOptions narrow an audit. Today is for waivers that end ("2026-11-24").
type AuditOptions struct {
	Pipeline string
	Today    string
}

// Audit finds what is missing, what does nothing, and what is wrong with matchers and set-up.
func (a *Analysis) Audit(o AuditOptions) *Audit {
	out := &Audit{Pipelines: []string{}, Findings: []Finding{}}
	var found []Finding
	jobs := map[string]bool{}
	for i := range a.Pipelines {
		p := &a.Pipelines[i]
		if o.Pipeline != "" && p.Name != o.Pipeline || o.Pipeline == "" && !a.Deploys(p) {
			continue
		}
		out.Pipelines = append(out.Pipelines, p.Name)
		for _, m := range p.Members {
			if a.Job(m.Job) != nil {
				jobs[m.Job] = true
			}
		}
		found = append(found, a.missing(p)...)
		found = append(found, a.collisions(p, o.Today)...)
		found = append(found, a.wrappers(p)...)
		found = append(found, a.idle(p)...)
		found = append(found, a.softNowhere(p)...)
		found = append(found, a.cycle(p)...)
	}
	out.Jobs = len(jobs)
	here := func(list []Problem) (out []Problem) {
		for _, p := range list {
			if p.Job == "" || jobs[p.Job] {
				out = append(out, p)
			}
		}
		return out
	}
	out.Unknown, out.Problems = here(a.Unknown), here(a.Problems)
	found = append(found, a.setup(out.Pipelines)...)
	found = append(found, a.differing(out.Pipelines)...)
	for _, f := range slices.Concat(a.matchers(), a.excluded(), a.reboots()) {
		if o.Pipeline == "" || slices.ContainsFunc(f.Jobs, func(j string) bool { return jobs[j] }) {
			found = append(found, f)
		}
	}
	for _, p := range a.Broken {
		level := LevelWarning
		if p.Lost {
			level = LevelError
		}
		found = append(found, Finding{Rule: "config", Level: level, Severity: Blind, Confidence: High, At: p.At, Text: p.Text, Fix: "mend it: gozer config check shows it whole"})
	}
	for _, f := range mergePipelines(found) {
		if w := a.waiver(f, o.Today); w != nil {
			f.Waived = w.Reason
			out.Waived = append(out.Waived, f)
			continue
		}
		out.Findings = append(out.Findings, f)
	}
	slices.SortStableFunc(out.Findings, compareFindings)
	return out
}

// Deploys reports whether a pipeline has a job that touches what other builds touch too: pipelines that
// only test do not.
func (a *Analysis) Deploys(p *Pipeline) bool {
	return slices.ContainsFunc(p.Members, func(m Member) bool { return len(a.access[m.Job]) > 0 })
}

func compareFindings(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(slices.Index(levels, a.Level), slices.Index(levels, b.Level)),
		cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
		cmp.Compare(slices.Index(confidences, a.Confidence), slices.Index(confidences, b.Confidence)),
		cmp.Compare(a.Rule, b.Rule), cmp.Compare(strings.Join(a.Jobs, " "), strings.Join(b.Jobs, " ")), cmp.Compare(a.Text, b.Text),
	)
}

// mergePipelines makes one finding of those that differ in the pipeline only.
func mergePipelines(found []Finding) []Finding {
	var out []Finding
	for _, f := range found {
		i := slices.IndexFunc(out, func(o Finding) bool { return o.Rule == f.Rule && o.Text == f.Text && slices.Equal(o.Jobs, f.Jobs) })
		if i < 0 {
			out = append(out, f)
			continue
		}
		for _, p := range f.Pipelines {
			if !slices.Contains(out[i].Pipelines, p) {
				out[i].Pipelines = append(out[i].Pipelines, p)
			}
		}
	}
	return out
}

// waiver finds the waiver that covers a finding.
func (a *Analysis) waiver(f Finding, today string) *Waiver {
	for i := range a.Settings.Waivers {
		w := &a.Settings.Waivers[i]
		if w.Until != "" && today != "" && w.Until < today {
			continue
		}
		if w.Rule != "" && w.Rule != f.Rule {
			continue
		}
		ok := true
		for _, j := range w.Jobs {
			ok = ok && slices.Contains(f.Jobs, a.full(j))
		}
		if ok {
			return w
		}
	}
	return nil
}

// levelOf gives the level of a missing edge.
func levelOf(e Edge) Level {
	switch {
	case e.Confidence == Low:
		return LevelNote
	case e.Severity == Freshness || e.Confidence == Medium:
		return LevelWarning
	}
	return LevelError
}

// missing are order edges that are inferred, but that the pipeline does not keep.
func (a *Analysis) missing(p *Pipeline) []Finding {
	setup := a.Setup()
	var out []Finding
	for _, pair := range a.pairs(p, Order) {
		e := pair[0]
		if p.Before(e.First, e.Then) || slices.Contains(setup, e.Then) || a.outweighed(e) {
			continue
		}
		f := Finding{Rule: e.Rule, Level: levelOf(e), Severity: e.Severity, Confidence: e.Confidence, Pipelines: []string{p.Name},
			Jobs: []string{e.First, e.Then}, At: e.At[1], Also: []Place{e.At[0]}, Edges: pair,
			Text: fmt.Sprintf("%s does not wait for %s: %s", e.Then, e.First, e.Text),
			Fix:  fmt.Sprintf("let %s depend on %s (soft, if that is not always run)", e.Then, e.First)}
		if p.Before(e.Then, e.First) {
			f.Text = fmt.Sprintf("%s waits for %s, and should be the other way round: %s", e.First, e.Then, e.Text)
		}
		out = append(out, f)
	}
	return out
}

// outweighed reports whether a surer edge leads the other way: not both can be declared, and a cycle is told of.
func (a *Analysis) outweighed(e Edge) bool {
	return slices.ContainsFunc(a.Edges, func(o Edge) bool {
		return o.Kind == Order && o.First == e.Then && o.Then == e.First && o.Enforced() && compareEdges(o, e) < 0
	})
}

// pairs groups the edges of a kind between the jobs of a pipeline, by jobs; the surest of each first.
func (a *Analysis) pairs(p *Pipeline, kind EdgeKind) [][]Edge {
	index := map[[2]string]int{}
	var out [][]Edge
	for _, e := range a.Edges {
		if e.Kind != kind || p.Member(e.First) == nil || p.Member(e.Then) == nil {
			continue
		}
		k := [2]string{e.First, e.Then}
		i, ok := index[k]
		if !ok {
			i = len(out)
			index[k] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], e)
	}
	return out
}

// idle are declared edges for which nothing speaks, or that others imply.
func (a *Analysis) idle(p *Pipeline) []Finding {
	setup := a.Setup()
	var out []Finding
	for _, m := range p.Members {
		j := a.Job(m.Job)
		for _, d := range m.After {
			k := a.Job(d.Job)
			if j == nil || k == nil || p.Member(d.Job) == nil || slices.Contains(setup, d.Job) {
				continue
			}
			if slices.ContainsFunc(a.Edges, func(e Edge) bool { return e.First == d.Job && e.Then == m.Job && e.Kind == Order }) ||
				len(a.Between(d.Job, m.Job)) > 0 {
				continue
			}
			f := Finding{Rule: "idle", Level: LevelNote, Severity: Info, Confidence: Medium, Pipelines: []string{p.Name}, Jobs: []string{d.Job, m.Job}, At: m.At,
				Text: fmt.Sprintf("nothing is known for which %s must wait for %s", m.Job, d.Job),
				Fix:  "remove the dependency, or say the reason in gozer.yaml"}
			if a.Partial(j) || a.Partial(k) {
				f.Confidence = Low
				f.Text += ", but not all of their content is known"
			}
			out = append(out, f)
		}
	}
	return out
}

// Partial reports whether some of a job's content is unknown.
func (a *Analysis) Partial(j *Job) bool {
	return j.Partial || slices.ContainsFunc(a.Unknown, func(p Problem) bool { return p.Job == j.Name })
}
