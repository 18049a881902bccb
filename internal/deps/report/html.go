package report

import (
	"html/template"
	"io"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/deps"
)

// page is the audit as one file that needs nothing from elsewhere.
var page = template.Must(template.New("audit").Funcs(template.FuncMap{
	"rule": deps.RuleOf,
	"told": func(a *deps.Analysis, f deps.Finding) (out struct {
		deps.Finding
		What, Why string
	}) {
		out.Finding = f
		out.What, out.Why = split(a, f)
		return out
	},
	"stakes": func(s deps.Severity) string { return stakes[s] },
	"join":   join,
	"places": places,
	"where":  where,
	"word":   func(n int, word string) string { return strings.TrimPrefix(count(n, word), strconv.Itoa(n)+" ") },
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Dependencies: audit</title>
<style>
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6edf3); --dim: light-dark(#59636e, #9198a1); --line: light-dark(#d0d7de, #3d444d);
  --ground: light-dark(#fff, #0d1117); --card: light-dark(#f6f8fa, #151b23); --error: light-dark(#cf222e, #ff7b72); --warning: light-dark(#9a6700, #d29922); --note: light-dark(#0969da, #79c0ff); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; } code, .at { font: .86em ui-monospace, monospace; }
.lead { color: var(--dim); margin: .2rem 0 1.2rem; } .sums { display: flex; gap: 2rem; flex-wrap: wrap; margin: 1rem 0; } .sums b { font-size: 1.6rem; display: block; line-height: 1.2; }
.finding { border: 1px solid var(--line); border-left: 5px solid var(--dim); border-radius: 6px; background: var(--card); padding: .6rem .9rem; margin: .6rem 0; }
.finding.error { border-left-color: var(--error); } .finding.warning { border-left-color: var(--warning); } .finding.note { border-left-color: var(--note); }
.level { font-weight: 600; } .error .level, b.error { color: var(--error); } .warning .level, b.warning { color: var(--warning); } .note .level, b.note { color: var(--note); }
.meta { color: var(--dim); font-size: .9em; } .at { display: block; color: var(--dim); } .do::before { content: "To do: "; font-weight: 600; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .25rem .9rem .25rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; } .scroll svg { max-width: 100%; height: auto; } details { margin: .6rem 0; } summary { cursor: pointer; } p { margin: .3rem 0; }
</style>
<h1>What the deployment jobs depend on</h1>
<p class="lead">{{.Out.Jobs}} jobs in {{join .Out.Pipelines}}, {{where .A}}. Written by <code>gozer deps audit</code> from the Zuul configuration and the Ansible content.</p>
<div class="sums"><div><b class="error">{{.N.error}}</b>{{word .N.error "error"}}</div><div><b class="warning">{{.N.warning}}</b>{{word .N.warning "warning"}}</div><div><b class="note">{{.N.note}}</b>{{word .N.note "note"}}</div>
<div><b>{{.Pairs.Ordered}}</b>pairs ordered by evidence</div><div><b>{{.Pairs.Exclusive}}</b>pairs exclusive</div><div><b>{{.Pairs.Unknown}}</b>pairs of which nothing is known<br><span class="meta">no proof that they are independent</span></div></div>
{{range .Graphs}}<h2>{{.Name}}</h2><div class="scroll">{{.SVG}}</div>{{end}}
<h2>Findings</h2>
{{range .Found}}{{template "finding" (told $.A .)}}{{else}}<p>{{if .Notes}}Nothing but notes.{{else}}Nothing was found.{{end}}</p>{{end}}
{{if .Notes}}<details><summary>{{len .Notes}} {{word (len .Notes) "note"}}</summary>{{range .Notes}}{{template "finding" (told $.A .)}}{{end}}</details>{{end}}
{{if .Out.Waived}}<h2>Waived</h2>{{range .Out.Waived}}<p>{{.Rule}}: {{.Text}} <span class="meta">because {{.Waived}}</span></p>{{end}}{{end}}
<h2>All edges</h2><details><summary>{{len .A.Edges}} edges, with rule, confidence and evidence</summary><div class="scroll"><table><tr><th>edge<th>rule<th>confidence<th>evidence</tr>
{{range .A.Edges}}<tr><td>{{.First}}{{if eq .Kind "order"}} → {{else}} ⊘ {{end}}{{.Then}}<td>{{.Rule}}<td>{{.Confidence}}<td>{{.Text}}<span class="at">{{index .At 0}} · {{index .At 1}}</span></tr>
{{end}}</table></div><p class="meta">→ runs before, ⊘ not at once</p></details>
{{if .Unknown}}<h2>Unknown</h2><p class="meta">What could not be read. It is taken for neither ordered nor independent.</p>
<details {{if lt (len .Unknown) 12}}open{{end}}><summary>{{len .Unknown}} things</summary>{{range .Unknown}}<p>{{.Text}}<span class="at">{{if .At.File}}{{.At}}{{if .Jobs}} · {{end}}{{end}}{{if .Jobs}}{{join .Jobs}}{{end}}</span></p>{{end}}</details>{{end}}
<h2>Rules</h2><details><summary>what the rules look for</summary><table>{{range .Rules}}<tr><td>{{.ID}}<td>{{.Title}}<td>{{.About}}</tr>{{end}}</table></details>
</html>
{{define "finding"}}<div class="finding {{.Level}}"><p><span class="level">{{.Level}}</span> · {{.Rule}}, {{(rule .Rule).Title}} {{if .Pipelines}}<span class="meta">· in {{join .Pipelines}}</span>{{end}}</p>
<p><b>{{.What}}</b>{{if .Why}}: {{.Why}}{{end}}</p><p class="meta">{{.Confidence}} confidence · at stake: {{stakes .Severity}}</p>{{range places .Finding}}<span class="at">{{.}}</span>{{end}}
{{if gt (len .Edges) 1}}<details><summary>all {{len .Edges}} pieces of evidence</summary>{{range .Edges}}<p>{{.Rule}}, {{.Confidence}}: {{.Text}}<span class="at">{{index .At 0}} · {{index .At 1}}</span></p>{{end}}</details>{{end}}
{{if .Fix}}<p class="do">{{.Fix}}</p>{{end}}</div>
{{end}}`))

type drawn struct {
	Name  string
	SVG   template.HTML
	body  string
	names []string
}

// trusted is a picture of ours, which escapes the names that it writes.
func trusted(svg string) template.HTML { return template.HTML(svg) } //nolint:gosec

func auditHTML(w io.Writer, a *deps.Analysis, out *deps.Audit) error {
	n := map[string]int{"error": 0, "warning": 0, "note": 0}
	for _, f := range out.Findings {
		n[string(f.Level)]++
	}
	var found, notes []deps.Finding
	for _, f := range out.Findings {
		if f.Level == deps.LevelNote {
			notes = append(notes, f)
		} else {
			found = append(found, f)
		}
	}
	return page.Execute(w, map[string]any{"A": a, "Out": out, "N": n, "Found": found, "Notes": notes, "Pairs": a.Count(out.Pipelines), "Graphs": alike(a, out.Pipelines), "Unknown": Unknown(out), "Rules": deps.Rules})
}
