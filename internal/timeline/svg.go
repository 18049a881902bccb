package timeline

import (
	"fmt"
	"html"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// SVG geometry, in user units.
const (
	svgRow    = 22
	svgLetter = 7.3
	svgChart  = 640
	svgHead   = 24
	svgAxis   = svgHead + 26
)

// svgSteps are the distances of lines of time, of which the first is taken that gives eight of them at most.
var svgSteps = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

func svgStep(whole time.Duration) time.Duration {
	for _, s := range svgSteps {
		if whole <= 8*s {
			return s
		}
	}
	return (whole/8 + time.Hour - 1).Truncate(time.Hour)
}

// tick is a round time: "10m", not "10m00s".
func tick(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return strings.TrimSuffix(strings.TrimSuffix(Short(d), "00s"), "00m")
}

// svgStyle follows the reader's light or dark setting; bars are told apart by outline and word as well
// as by colour.
const svgStyle = `<style>
svg { color-scheme: light dark; --ink: #1b1f24; --dim: #6e7781; --bar: #8ab4d8; --hot: #d1711c; --grid: #d0d7de; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --dim: #9198a1; --bar: #2f6f9f; --hot: #e08a3a; --grid: #3d444d; } }
text { font: 12px ui-monospace, monospace; fill: var(--ink); } .title { font: 600 14px system-ui, sans-serif; }
.dim { fill: var(--dim); } .bar { fill: var(--bar); } .hot { fill: var(--hot); stroke: var(--ink); }
.wait { fill: none; stroke: var(--dim); stroke-dasharray: 2 3; } .grid { stroke: var(--grid); }
</style>
`

// SVG draws the chart as a picture that stands by itself and fits light and dark pages. Each bar has a
// title that says when it ran and what it waited for.
func SVG(w io.Writer, s *Schedule, title string) error {
	rows := s.Rows()
	name := 0
	for _, r := range rows {
		name = max(name, utf8.RuneCountInString(label(r)))
	}
	left := int(float64(name)*svgLetter) + 24
	width, height := left+svgChart+150, svgAxis+len(rows)*svgRow+8
	x := func(d time.Duration) float64 {
		if s.Makespan == 0 {
			return float64(left)
		}
		return float64(left) + float64(d)/float64(s.Makespan)*svgChart
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n%s", html.EscapeString(title), svgStyle)
	fmt.Fprintf(&b, `<text class="title" x="8" y="16">%s</text><text class="dim" x="%d" y="16" text-anchor="end">%s</text>`+"\n",
		html.EscapeString(title), width-8, Short(s.Makespan)+" in all, at least "+Short(s.Bound.Total))
	for at, step := time.Duration(0), svgStep(s.Makespan); at <= s.Makespan; at += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="dim" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x(at), svgAxis-6, x(at), height-4, x(at), svgAxis-12, tick(at))
	}
	for i, r := range rows {
		y := svgAxis + i*svgRow
		class, word := "bar", ""
		if r.Critical {
			class, word = "hot", " critical"
		}
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`+"\n", y+14, html.EscapeString(label(r)))
		if r.Queued < r.Start {
			fmt.Fprintf(&b, `<line class="wait" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", x(r.Queued), y+10, x(r.Start), y+10)
		}
		why := r.Why
		if why == "" {
			why = "nothing"
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="3"><title>%s: %s to %s, waited for %s</title></rect>`,
			class, x(r.Start), y+2, max(1, x(r.End)-x(r.Start)), svgRow-6, html.EscapeString(r.Job), Short(r.Start), Short(r.End), html.EscapeString(why))
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s%s</text>`+"\n", x(r.End)+5, y+14, Short(r.End-r.Start), word)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
