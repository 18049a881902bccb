package explain

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gozer-ci/gozer/internal/job"
)

// The measures of the drawing, in pixels.
const (
	boxHeight   = 30
	rowHeight   = 46
	lineHeight  = 22
	charWidth   = 8
	columnGap   = 64
	padding     = 12
	titleHeight = 34
	noteHeight  = 30
)

// style makes the drawing readable on light and dark pages, and without styles of the page around it.
const style = `<style>
svg{color-scheme:light dark;--ink:#24292f;--paper:#fff;--line:#6e7781}
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--paper:#0d1117;--line:#8b949e}}
rect{fill:var(--paper,#fff);stroke:var(--ink,#24292f)}
text{fill:var(--ink,#24292f);font:13px ui-monospace,monospace}
.title{font-weight:bold;font-size:15px}.note{fill:var(--line,#6e7781);font-size:12px}
path{fill:none;stroke:var(--line,#6e7781);stroke-width:1.4}.soft{stroke-dasharray:5 4}
.tip{fill:var(--line,#6e7781);stroke:none}.quiet{stroke-dasharray:2 3}
</style>
`

// cell is a place of the drawing: of a job, or, without one, where a line passes a column.
type cell struct {
	job    *job.Job
	column int
	y      int
	// before and after are the neighbours in the columns beside it.
	before, after []*cell
	// weight is where the neighbours want it, while rows are settled.
	weight float64
}

// line is a dependency with the cells that it passes.
type line struct {
	soft  bool
	cells []*cell
}

// draw lays the graph out in columns, one for each step: jobs that wait for one another stand in a row as far as
// they can, and lines lead around the boxes. Dependencies that follow from others are not drawn.
func draw(b *strings.Builder, g *job.Graph, title string) {
	columns, lines := arrange(g)
	left, width := make([]int, len(columns)), make([]int, len(columns))
	x, height := padding, 0
	for n, col := range columns {
		for _, c := range col {
			if c.job != nil {
				width[n] = max(width[n], utf8.RuneCountInString(label(c.job))*charWidth+2*padding)
			}
			height = max(height, c.y+rowHeight)
		}
		left[n] = x
		x += width[n] + columnGap
	}
	top := padding
	if title != "" {
		top += titleHeight
	}
	note := "An arrow leads to the job that waits. "
	if slices.ContainsFunc(lines, func(l line) bool { return l.soft }) {
		note += "Dashed: only if the other runs. "
	}
	note += "What follows from other arrows is left out."
	whole := max(x-columnGap+padding, len(note)*7+2*padding, utf8.RuneCountInString(title)*10+2*padding)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		whole, top+height+noteHeight, whole, top+height+noteHeight)
	b.WriteString(style)
	if title != "" {
		fmt.Fprintf(b, "<title>%s</title>\n<text class=\"title\" x=\"%d\" y=\"%d\">%s</text>\n", html.EscapeString(title), padding, padding+18, html.EscapeString(title))
	}
	middle := func(c *cell) int { return top + c.y + boxHeight/2 }
	for _, l := range lines {
		drawLine(b, l, left, width, middle)
	}
	for n, col := range columns {
		for _, c := range col {
			if c.job != nil {
				drawBox(b, c.job, left[n], top+c.y, width[n])
			}
		}
	}
	fmt.Fprintf(b, "<text class=\"note\" x=\"%d\" y=\"%d\">%s</text>\n</svg>\n", padding, top+height+noteHeight-12, note)
}

func label(j *job.Job) string {
	if !j.Voting {
		return string(j.ID) + " (non-voting)"
	}
	return string(j.ID)
}

func drawLine(b *strings.Builder, l line, left, width []int, middle func(*cell) int) {
	class := ""
	if l.soft {
		class = ` class="soft"`
	}
	first, last := l.cells[0], l.cells[len(l.cells)-1]
	fmt.Fprintf(b, `<path%s d="M%d %d`, class, left[first.column]+width[first.column], middle(first))
	for i := 1; i < len(l.cells); i++ {
		was, c := l.cells[i-1], l.cells[i]
		from, to := left[was.column]+width[was.column], left[c.column]
		end := to
		if c == last {
			end -= 6
		}
		bend := columnGap / 2
		fmt.Fprintf(b, "C%d %d %d %d %d %d", from+bend, middle(was), to-bend, middle(c), end, middle(c))
		if c != last {
			fmt.Fprintf(b, "H%d", left[c.column]+width[c.column])
		}
	}
	tip, y := left[last.column], middle(last)
	fmt.Fprintf(b, `"/><path class="tip" d="M%d %dl-7 -4v8z"/>`+"\n", tip, y)
}

func drawBox(b *strings.Builder, j *job.Job, x, y, width int) {
	radius, class := 3, ""
	if !j.Voting {
		radius, class = boxHeight/2, ` class="quiet"`
	}
	tip := string(j.ID)
	for _, s := range j.Semaphores {
		tip += "\nholds " + s.Name
	}
	for _, d := range j.Dependencies {
		tip += "\nafter " + string(d.Job)
		if d.Soft {
			tip += " (soft)"
		}
	}
	fmt.Fprintf(b, `<g><title>%s</title><rect%s x="%d" y="%d" width="%d" height="%d" rx="%d"/><text x="%d" y="%d">%s</text></g>`+"\n",
		html.EscapeString(tip), class, x, y, width, boxHeight, radius, x+padding, y+boxHeight-10, html.EscapeString(label(j)))
}

// arrange gives jobs and lines their columns and rows.
func arrange(g *job.Graph) ([][]*cell, []line) {
	of, count := steps(g)
	columns := make([][]*cell, count)
	cells := map[job.ID]*cell{}
	add := func(c *cell) *cell {
		columns[c.column] = append(columns[c.column], c)
		return c
	}
	for _, j := range g.Jobs {
		cells[j.ID] = add(&cell{job: j, column: of[j.ID]})
	}
	var lines []line
	for _, j := range g.Jobs {
		for _, d := range reduced(g, j) {
			from, to := cells[d.Job], cells[j.ID]
			if from == nil {
				continue
			}
			l := line{soft: d.Soft, cells: []*cell{from}}
			for n := from.column + 1; n < to.column; n++ {
				l.cells = append(l.cells, add(&cell{column: n}))
			}
			l.cells = append(l.cells, to)
			for i := 1; i < len(l.cells); i++ {
				a, c := l.cells[i-1], l.cells[i]
				a.after, c.before = append(a.after, c), append(c.before, a)
			}
			lines = append(lines, l)
		}
	}
	settleRows(columns)
	return columns, lines
}

// reduced are the dependencies of a job that do not follow from its others.
func reduced(g *job.Graph, j *job.Job) []job.Dependency {
	var out []job.Dependency
	for _, d := range j.Dependencies {
		follows := slices.ContainsFunc(j.Dependencies, func(o job.Dependency) bool {
			return o.Job != d.Job && reaches(g, o.Job, d.Job, map[job.ID]bool{})
		})
		twice := slices.ContainsFunc(out, func(o job.Dependency) bool { return o.Job == d.Job })
		if !follows && !twice {
			out = append(out, d)
		}
	}
	return out
}

// reaches tells whether a job waits, over others, for another.
func reaches(g *job.Graph, from, to job.ID, seen map[job.ID]bool) bool {
	j := g.Job(from)
	if j == nil || seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(j.Dependencies, func(d job.Dependency) bool { return d.Job == to || reaches(g, d.Job, to, seen) })
}

// sweeps is how often the order within columns is made better, forth and back.
const sweeps = 6

// settleRows orders each column by where the neighbours are, and gives the cells their heights.
func settleRows(columns [][]*cell) {
	for _, col := range columns {
		stack(col)
	}
	for i := range 2 * sweeps {
		for n := range columns {
			col, side := columns[n], func(c *cell) []*cell { return c.before }
			if i%2 == 1 {
				col, side = columns[len(columns)-1-n], func(c *cell) []*cell { return c.after }
			}
			for _, c := range col {
				c.weight = float64(c.y)
				if near := side(c); len(near) > 0 {
					sum := 0
					for _, o := range near {
						sum += o.y
					}
					c.weight = float64(sum) / float64(len(near))
				}
			}
			slices.SortStableFunc(col, func(a, b *cell) int { return cmp.Compare(a.weight, b.weight) })
			stack(col)
		}
	}
	center(columns)
}

// stack puts the cells of a column below one another; lines need less room than boxes.
func stack(col []*cell) {
	y := 0
	for _, c := range col {
		c.y = y
		if c.job != nil {
			y += rowHeight
		} else {
			y += lineHeight
		}
	}
}

// center moves each column to the middle of the highest.
func center(columns [][]*cell) {
	height := func(col []*cell) int {
		h := 0
		for _, c := range col {
			if c.job != nil {
				h += rowHeight
			} else {
				h += lineHeight
			}
		}
		return h
	}
	most := 0
	for _, col := range columns {
		most = max(most, height(col))
	}
	for _, col := range columns {
		shift := (most - height(col)) / 2
		for _, c := range col {
			c.y += shift
			if c.job == nil {
				c.y -= (boxHeight - lineHeight) / 2
			}
		}
	}
}
