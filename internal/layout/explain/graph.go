package explain

import (
	"fmt"
	"io"
	"strings"

	"github.com/gozer-ci/gozer/internal/job"
)

// GraphFormats are those that Graph knows.
var GraphFormats = []string{"text", "mermaid", "dot", "json", "svg"}

// Graph writes a job graph. Arrows lead from a job to those that wait for it; soft dependencies are
// dashed. The title, which may be empty, stands above drawings.
func Graph(w io.Writer, format string, g *job.Graph, title string) error {
	var b strings.Builder
	switch format {
	case "text":
		text(&b, g)
	case "mermaid":
		mermaid(&b, g, title)
	case "dot":
		dot(&b, g, title)
	case "svg":
		draw(&b, g, title)
	case "json":
		return encode(w, g)
	default:
		return unknown(format, GraphFormats...)
	}
	return write(w, &b)
}

// steps tells for each job how many must be done one after another before it: 0 for those that wait
// for nothing. The graph has no cycles (see job.Graph.Check).
func steps(g *job.Graph) (of map[job.ID]int, count int) {
	of = map[job.ID]int{}
	var visit func(id job.ID) int
	visit = func(id job.ID) int {
		if n, done := of[id]; done {
			return n
		}
		n := 0
		if j := g.Job(id); j != nil {
			for _, d := range j.Dependencies {
				n = max(n, visit(d.Job)+1)
			}
		}
		of[id] = n
		count = max(count, n+1)
		return n
	}
	for _, j := range g.Jobs {
		visit(j.ID)
	}
	return of, count
}

// text lists the jobs step by step.
func text(b *strings.Builder, g *job.Graph) {
	of, count := steps(g)
	for n := range count {
		fmt.Fprintf(b, "step %d\n", n+1)
		for _, j := range g.Jobs {
			if of[j.ID] != n {
				continue
			}
			fmt.Fprintf(b, "  %s", j.ID)
			if !j.Voting {
				b.WriteString(" (non-voting)")
			}
			for i, d := range j.Dependencies {
				lead := ", "
				if i == 0 {
					lead = " after "
				}
				fmt.Fprintf(b, "%s%s", lead, d.Job)
				if d.Soft {
					b.WriteString(" (soft)")
				}
			}
			for i, s := range j.Semaphores {
				lead := ", "
				if i == 0 {
					lead = " holding "
				}
				b.WriteString(lead + s.Name)
			}
			b.WriteByte('\n')
		}
	}
	if len(g.Jobs) == 0 {
		b.WriteString("no jobs\n")
	}
}

// numbers gives each job a short name that every format takes.
func numbers(g *job.Graph) map[job.ID]string {
	out := make(map[job.ID]string, len(g.Jobs))
	for i, j := range g.Jobs {
		out[j.ID] = fmt.Sprintf("j%d", i)
	}
	return out
}

func mermaid(b *strings.Builder, g *job.Graph, title string) {
	name := numbers(g)
	if title != "" {
		fmt.Fprintf(b, "---\ntitle: %q\n---\n", title)
	}
	b.WriteString("flowchart LR\n")
	for _, j := range g.Jobs {
		open, end := "[", "]"
		if !j.Voting {
			open, end = "([", "])"
		}
		label := strings.NewReplacer(`"`, "#quot;", "\n", " ").Replace(string(j.ID))
		fmt.Fprintf(b, "  %s%s\"%s\"%s\n", name[j.ID], open, label, end)
	}
	for _, j := range g.Jobs {
		for _, d := range j.Dependencies {
			arrow := "-->"
			if d.Soft {
				arrow = "-.->"
			}
			fmt.Fprintf(b, "  %s %s %s\n", name[d.Job], arrow, name[j.ID])
		}
	}
}

func dot(b *strings.Builder, g *job.Graph, title string) {
	name := numbers(g)
	b.WriteString("digraph jobs {\n  rankdir=LR;\n  node [shape=box];\n")
	if title != "" {
		fmt.Fprintf(b, "  label=%q; labelloc=t;\n", title)
	}
	for _, j := range g.Jobs {
		style := ""
		if !j.Voting {
			style = ", style=rounded"
		}
		fmt.Fprintf(b, "  %s [label=%q%s];\n", name[j.ID], string(j.ID), style)
	}
	for _, j := range g.Jobs {
		for _, d := range j.Dependencies {
			style := ""
			if d.Soft {
				style = " [style=dashed]"
			}
			fmt.Fprintf(b, "  %s -> %s%s;\n", name[d.Job], name[j.ID], style)
		}
	}
	b.WriteString("}\n")
}
