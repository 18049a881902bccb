package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/timeline"
)

// Page is the document of a pipeline: Markdown for people, and its picture.
type Page struct {
	Name     string
	Markdown string
	SVG      string
}

const mark = "<!-- gozer deps: "

// Document writes the page of a pipeline. Durations may be empty.
func Document(a *deps.Analysis, p *deps.Pipeline, d deps.Durations) (Page, error) {
	var path []string
	var total time.Duration
	if len(d.Known) > 0 {
		var err error
		if path, total, err = timeline.CriticalPath(a.Plan(p, d, nil).Jobs); err != nil {
			return Page{}, err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The jobs of %s\n\n", p.Name)
	b.WriteString("Written by `gozer deps doc`; `gozer deps check` tells when it no longer holds. Reasons are from evidence in\nthe repository, with file and line, and from `gozer.yaml`.\n\n")
	fmt.Fprintf(&b, "![The jobs of %s and what they wait for](%s.svg)\n\n", p.Name, p.Name)
	if len(path) > 0 {
		fmt.Fprintf(&b, "The critical path takes %s: %s.\n\n", timeline.Short(total), strings.Join(short(a, path), ", then "))
	}
	if gaps := a.Gaps(p); len(gaps) > 0 {
		b.WriteString("## What is missing\n\n")
		for _, f := range gaps {
			fmt.Fprintf(&b, "- %s\n", sentence(a, f))
		}
		b.WriteString("\n")
	}
	b.WriteString("## Jobs\n")
	for _, m := range ordered(p) {
		jobSection(&b, a, p, m, d, path)
	}
	b.WriteString("\n<details><summary>The same picture as Mermaid</summary>\n\n```mermaid\n" + Mermaid(a, p) + "```\n\n</details>\n\n")
	data, err := json.Marshal(d)
	if err != nil {
		return Page{}, err
	}
	fmt.Fprintf(&b, "%s%s -->\n", mark, data)
	return Page{p.Name, b.String(), Graph(a, p, path)}, nil
}

// Kept finds the durations that an earlier page was written with.
func Kept(markdown string) (d deps.Durations) {
	if _, rest, ok := strings.Cut(markdown, mark); ok {
		text, _, _ := strings.Cut(rest, " -->")
		if json.Unmarshal([]byte(text), &d) != nil {
			return deps.Durations{}
		}
	}
	return d
}

// ordered are the members so that each comes after those that it waits for.
func ordered(p *deps.Pipeline) []*deps.Member {
	var out []*deps.Member
	done := map[string]bool{}
	var visit func(m *deps.Member)
	visit = func(m *deps.Member) {
		if m == nil || done[m.Job] {
			return
		}
		done[m.Job] = true
		for _, d := range m.After {
			visit(p.Member(d.Job))
		}
		out = append(out, m)
	}
	for i := range p.Members {
		visit(&p.Members[i])
	}
	return out
}

func short(a *deps.Analysis, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = a.Short(n)
	}
	return out
}

func jobSection(b *strings.Builder, a *deps.Analysis, p *deps.Pipeline, m *deps.Member, d deps.Durations, path []string) {
	fmt.Fprintf(b, "\n### %s\n\n", m.Job)
	j := a.Job(m.Job)
	if j != nil && j.Description != "" {
		fmt.Fprintf(b, "%s\n\n", strings.Join(strings.Fields(j.Description), " "))
	}
	var facts []string
	if j != nil && len(j.Playbooks) > 0 {
		facts = append(facts, "Runs `"+strings.Join(j.Playbooks, "`, `")+"`.")
	}
	if t, ok := d.Known[m.Job]; ok {
		facts = append(facts, fmt.Sprintf("Usually takes %s.", timeline.Short(t)))
	}
	if slices.Contains(path, m.Job) {
		facts = append(facts, "On the critical path.")
	}
	if len(facts) > 0 {
		b.WriteString(strings.Join(facts, " ") + "\n\n")
	}
	if len(m.After) == 0 {
		b.WriteString("Waits for nothing.\n")
	}
	for _, dep := range m.After {
		soft := ""
		if dep.Soft {
			soft = ", where that runs"
		}
		fmt.Fprintf(b, "- after **%s**%s: %s\n", a.Short(dep.Job), soft, because(a, p, dep.Job, m.Job))
	}
	exclusions(b, a, p, m)
	if j != nil && a.Partial(j) {
		b.WriteString("- not all of its content is known, so that there may be more\n")
	}
}

// because says why a job waits for another.
func because(a *deps.Analysis, p *deps.Pipeline, first, then string) string {
	best := slices.MinFunc(append(a.Between(first, then), deps.Edge{Rule: "none"}), func(x, y deps.Edge) int {
		rank := func(e deps.Edge) int {
			switch {
			case e.Rule == "stated":
				return 0
			case e.Rule == "none":
				return 9
			case e.Kind == deps.Order && e.First == first && e.Enforced():
				return 1
			case e.Kind == deps.Mutex && e.Enforced():
				return 2
			}
			return 8
		}
		return cmp.Compare(rank(x), rank(y))
	})
	switch {
	case best.Rule == "none" && p.Member(first) == nil:
		return "that job is never in this pipeline"
	case best.Rule == "none" && slices.Contains(a.Setup(), first):
		return "it prepares the ground for all of them"
	case best.Rule == "none":
		return "no reason is known; say it in `gozer.yaml`"
	}
	return evidenceText(a, best)
}

func evidenceText(a *deps.Analysis, e deps.Edge) string {
	text := e.Text
	for _, n := range []string{e.First, e.Then} {
		text = strings.ReplaceAll(text, n, a.Short(n))
	}
	if e.Rule == "stated" {
		return fmt.Sprintf("%s (%s)", text, e.At[0])
	}
	return fmt.Sprintf("%s (%s, %s; `%s`, `%s`)", text, e.Rule, e.Confidence, e.At[0].File, e.At[1].File)
}

func sentence(a *deps.Analysis, f deps.Finding) string {
	e := f.Edges[0]
	switch {
	case len(f.Jobs) > 2:
		text, files := f.Text, []string{}
		for _, n := range f.Jobs {
			text = strings.ReplaceAll(text, n, "**"+a.Short(n)+"**")
		}
		for _, at := range append([]deps.Place{f.At}, f.Also...) {
			if name := "`" + at.File + "`"; !slices.Contains(files, name) {
				files = append(files, name)
			}
		}
		return fmt.Sprintf("%s (%s, %s; %s)", text, f.Rule, f.Confidence, some(files, 3))
	case e.Kind == deps.Mutex:
		return fmt.Sprintf("**%s** and **%s** may run at once: %s", a.Short(e.First), a.Short(e.Then), evidenceText(a, e))
	}
	return fmt.Sprintf("**%s** does not wait for **%s**: %s", a.Short(e.Then), a.Short(e.First), evidenceText(a, e))
}

func exclusions(b *strings.Builder, a *deps.Analysis, p *deps.Pipeline, m *deps.Member) {
	for _, s := range m.Semaphores {
		var with []string
		for _, o := range p.Members {
			if o.Job != m.Job && slices.Contains(o.Semaphores, s) {
				with = append(with, a.Short(o.Job))
			}
		}
		if len(with) == 0 {
			continue
		}
		why := ""
		for _, pair := range a.Kept(p) {
			if pair[0] == m.Job || pair[1] == m.Job {
				if e := a.Between(pair[0], pair[1]); len(e) > 0 {
					why = ": " + evidenceText(a, e[0])
				}
			}
		}
		fmt.Fprintf(b, "- not at once with **%s**, by the semaphore `%s`%s\n", join(with), s, why)
	}
}
