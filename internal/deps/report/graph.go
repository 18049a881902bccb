package report

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gozer-ci/gozer/internal/deps"
)

// line is an edge of a picture.
type line struct {
	from, to string
	class    string
	title    string
}

// picture is a pipeline as it is drawn: jobs in columns, so that lines of order lead to the right.
type picture struct {
	a     *deps.Analysis
	p     *deps.Pipeline
	lines []line
	// column and row of each job.
	column, row map[string]int
	columns     [][]string
}

// The measures of a picture, in user units.
const (
	boxHeight = 26
	rowHeight = 40
	gapWidth  = 58
	letter    = 7.25
	edgeSpace = 16
)

// draw lays a pipeline out. Lines that others imply are left out.
func draw(a *deps.Analysis, p *deps.Pipeline) *picture {
	d := &picture{a: a, p: p, column: map[string]int{}, row: map[string]int{}}
	for _, m := range p.Members {
		for _, dep := range m.After {
			if p.Member(dep.Job) != nil && !d.implied(dep.Job, m.Job) {
				l := line{dep.Job, m.Job, "hard", dep.Job + " before " + m.Job}
				if dep.Soft {
					l.class, l.title = "soft", l.title+" (soft)"
				}
				d.lines = append(d.lines, l)
			}
		}
	}
	for _, e := range a.Lacking(p) {
		if e.Kind == deps.Mutex {
			d.lines = append(d.lines, line{e.First, e.Then, "mutex", "not at once: " + e.Text})
		} else if !p.Before(e.Then, e.First) {
			d.lines = append(d.lines, line{e.First, e.Then, "missing", "missing: " + e.Text})
		}
	}
	for _, pair := range a.Kept(p) {
		d.lines = append(d.lines, line{pair[0], pair[1], "kept", "a semaphore keeps them apart"})
	}
	d.place()
	return d
}

// implied reports whether a longer declared way leads from one job to another.
func (d *picture) implied(from, to string) bool {
	for _, dep := range d.p.Member(to).After {
		if dep.Job != from && d.p.Before(from, dep.Job) {
			return true
		}
	}
	return false
}

func (d *picture) place() {
	var depth func(job string, seen []string) int
	depth = func(job string, seen []string) int {
		if c, ok := d.column[job]; ok || slices.Contains(seen, job) {
			return c
		}
		c := 0
		for _, l := range d.lines {
			if l.to == job && (l.class == "hard" || l.class == "soft" || l.class == "missing") {
				c = max(c, depth(l.from, append(seen, job))+1)
			}
		}
		d.column[job] = c
		return c
	}
	for _, m := range d.p.Members {
		c := depth(m.Job, nil)
		for len(d.columns) <= c {
			d.columns = append(d.columns, nil)
		}
		d.columns[c] = append(d.columns[c], m.Job)
	}
	for _, jobs := range d.columns {
		for i, j := range jobs {
			d.row[j] = i
		}
	}
	// Jobs go where those before them are, so that few lines cross.
	for range 4 {
		for c := 1; c < len(d.columns); c++ {
			weight := map[string]float64{}
			for _, j := range d.columns[c] {
				sum, n := 0.0, 0.0
				for _, l := range d.lines {
					if l.to == j && d.column[l.from] < c {
						sum, n = sum+float64(d.row[l.from]), n+1
					}
				}
				if weight[j] = float64(d.row[j]); n > 0 {
					weight[j] = sum / n
				}
			}
			slices.SortStableFunc(d.columns[c], func(x, y string) int {
				switch {
				case weight[x] < weight[y]:
					return -1
				case weight[x] > weight[y]:
					return 1
				}
				return 0
			})
			for i, j := range d.columns[c] {
				d.row[j] = i
			}
		}
	}
}

// pictureStyle follows the reader's light or dark setting; kinds of lines differ in their dashes too.
const pictureStyle = `<style>
svg.deps { color-scheme: light dark; --ink: #1b1f24; --dim: #6e7781; --line: #57606a; --bad: #cf222e; --box: #eef3f8; --apart: #8250df; }
@media (prefers-color-scheme: dark) { svg.deps { --ink: #e6edf3; --dim: #9198a1; --line: #9198a1; --bad: #ff7b72; --box: #1c2733; --apart: #d2a8ff; } }
.deps text { font: 12px ui-monospace, monospace; fill: var(--ink); } .deps .dim { fill: var(--dim); }
.deps rect { fill: var(--box); stroke: var(--line); } .deps .hot { stroke: var(--ink); stroke-width: 2.5; }
.deps path { fill: none; stroke: var(--line); stroke-width: 1.2; } .deps .soft { stroke-dasharray: 5 3; }
.deps .missing { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 8 3; } .deps .mutex { stroke: var(--bad); stroke-dasharray: 2 3; stroke-width: 2; }
.deps .kept { stroke: var(--apart); stroke-dasharray: 2 3; stroke-width: 2; } .deps marker path { fill: var(--line); stroke: none; } .deps #tip-bad path { fill: var(--bad); }
</style>
`

var legend = []struct{ class, text string }{
	{"hard", "waits for"}, {"soft", "waits for, where that runs (soft)"}, {"missing", "missing: evidence says that it must wait"},
	{"mutex", "missing: they must not run at once"}, {"kept", "a semaphore keeps them apart"},
}

// Graph is the picture of a pipeline as SVG, which stands by itself and fits light and dark pages. Jobs
// in critical are drawn with a thick outline.
func Graph(a *deps.Analysis, p *deps.Pipeline, critical []string) string {
	d := draw(a, p)
	left := make([]float64, len(d.columns)+1)
	left[0] = 10
	rows := 0
	width := make([]float64, len(d.columns))
	for c, jobs := range d.columns {
		for _, j := range jobs {
			width[c] = max(width[c], float64(utf8.RuneCountInString(a.Short(j)))*letter+20)
		}
		left[c+1] = left[c] + width[c] + gapWidth
		rows = max(rows, len(jobs))
	}
	used := d.used()
	total := max(left[len(d.columns)]-gapWidth+40, 420)
	height := float64(rows*rowHeight + 16 + 20*len(used))
	y := func(j string) float64 {
		// Short columns stand in the middle.
		return 10 + float64(rows-len(d.columns[d.column[j]]))*rowHeight/2 + float64(d.row[j]*rowHeight)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="deps" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">`+"\n<title>%s</title>\n%s",
		total, height, total, height, html.EscapeString("The jobs of "+p.Name), pictureStyle)
	b.WriteString(`<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker><marker id="tip-bad" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>` + "\n")
	for _, l := range d.lines {
		cf, ct := d.column[l.from], d.column[l.to]
		x1, y1 := left[cf]+width[cf], y(l.from)+boxHeight/2
		x2, y2 := left[ct], y(l.to)+boxHeight/2
		tip := ""
		switch l.class {
		case "hard", "soft":
			tip = ` marker-end="url(#tip)"`
		case "missing":
			tip = ` marker-end="url(#tip-bad)"`
		}
		bend := max((x2-x1)/2, gapWidth/2)
		if cf == ct {
			x2, bend = left[ct]+width[ct], edgeSpace*2
			fmt.Fprintf(&b, `<path class="%s" d="M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f"%s><title>%s</title></path>`+"\n", l.class, x1, y1, x1+bend, y1, x2+bend, y2, x2, y2, tip, html.EscapeString(l.title))
			continue
		}
		fmt.Fprintf(&b, `<path class="%s" d="M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f"%s><title>%s</title></path>`+"\n", l.class, x1, y1, x1+bend, y1, x2-bend, y2, x2, y2, tip, html.EscapeString(l.title))
	}
	for c, jobs := range d.columns {
		for _, j := range jobs {
			class := ""
			if slices.Contains(critical, j) {
				class = ` class="hot"`
			}
			text := ""
			if job := a.Job(j); job != nil && job.Description != "" {
				text = ": " + job.Description
			}
			fmt.Fprintf(&b, `<g><title>%s</title><rect%s x="%.0f" y="%.0f" width="%.0f" height="%d" rx="4"/><text x="%.0f" y="%.0f">%s</text></g>`+"\n",
				html.EscapeString(j+text), class, left[c], y(j), width[c], boxHeight, left[c]+10, y(j)+17, html.EscapeString(a.Short(j)))
		}
	}
	at := float64(rows*rowHeight + 16)
	for _, l := range legend {
		if !slices.Contains(used, l.class) {
			continue
		}
		fmt.Fprintf(&b, `<path class="%s" d="M10 %.0fh44"/><text class="dim" x="64" y="%.0f">%s</text>`+"\n", l.class, at+8, at+12, l.text)
		at += 20
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (d *picture) used() []string {
	var out []string
	for _, l := range d.lines {
		if !slices.Contains(out, l.class) {
			out = append(out, l.class)
		}
	}
	return out
}

// Mermaid is the same picture for pages that draw it themselves.
func Mermaid(a *deps.Analysis, p *deps.Pipeline) string {
	d := draw(a, p)
	id := map[string]string{}
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, m := range p.Members {
		id[m.Job] = fmt.Sprintf("j%d", i)
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", id[m.Job], strings.ReplaceAll(a.Short(m.Job), `"`, "#quot;"))
	}
	arrows := map[string]string{"hard": "-->", "soft": "-.->", "missing": "== missing ==>", "mutex": "-. not at once .-", "kept": "-. apart .-"}
	for _, l := range d.lines {
		fmt.Fprintf(&b, "  %s %s %s\n", id[l.from], arrows[l.class], id[l.to])
	}
	return b.String()
}
