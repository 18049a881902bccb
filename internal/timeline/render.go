package timeline

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Row is one line of a table or a Gantt chart. Critical says that the makespan goes through it.
type Row struct {
	Run
	Critical bool   `json:"critical,omitempty"`
	Why      string `json:"why,omitempty"`
	// State is a word for the outcome, shown beside the name; empty where there is none to show.
	State string `json:"state,omitempty"`
}

// Rows gives the schedule as lines in order of start.
func (s *Schedule) Rows() []Row {
	out := make([]Row, 0, len(s.Runs))
	for _, r := range s.Runs {
		var why []string
		for _, w := range r.Waits {
			why = append(why, w.String())
		}
		out = append(out, Row{Run: r, Critical: slices.Contains(s.Critical, r.Job), Why: strings.Join(why, "; ")})
	}
	return out
}

// Short writes a duration for people: 350ms, 4.2s, 1m05s, 2h03m.
func Short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Short(-d)
	case d == 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 59950*time.Millisecond:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + "s"
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Summary says the figures in two lines.
func (s *Schedule) Summary() string {
	if len(s.Runs) == 0 {
		return "nothing has run"
	}
	out := fmt.Sprintf("%s for %s of work in %d jobs; at least %s", Short(s.Makespan), Short(s.Serial), len(s.Runs), s.Bound)
	if s.Ratio > 0 {
		out += fmt.Sprintf("; %.2f times that", s.Ratio)
	}
	return out + "\nwhat it consists of: " + strings.Join(s.Critical, ", ")
}

// TextOptions say how a chart is drawn. Width is that of the whole line (80 where it is 0). ASCII uses
// no other characters; Color adds it beside the words, for terminals.
type TextOptions struct {
	Width int
	ASCII bool
	Color bool
}

type glyphs struct {
	bar, critical, wait, left, right string
}

func (o TextOptions) glyphs() glyphs {
	if o.ASCII {
		return glyphs{bar: "=", critical: "#", wait: ".", left: "|", right: "|"}
	}
	return glyphs{bar: "▒", critical: "█", wait: "·", left: "│", right: "│"}
}

// Gantt draws one line a job: its name, the time it waited for room and the time it ran, and its
// duration. Jobs that the makespan consists of are drawn solid and marked with the word critical.
func Gantt(w io.Writer, s *Schedule, o TextOptions) error {
	g := o.glyphs()
	rows := s.Rows()
	name := 0
	for _, r := range rows {
		name = max(name, utf8.RuneCountInString(label(r)))
	}
	const right = 18 // a duration, and " critical"
	width := o.Width
	if width == 0 {
		width = 80
	}
	room := max(10, width-name-right-3)
	scale := func(d time.Duration) int {
		if s.Makespan == 0 {
			return 0
		}
		return min(room, int(int64(d)*int64(room)/int64(s.Makespan)))
	}
	for _, r := range rows {
		from, to, queued := scale(r.Start), scale(r.End), scale(min(r.Queued, r.Start))
		if to == from {
			if to = from + 1; to > room {
				from, to = room-1, room
				queued = min(queued, from)
			}
		}
		bar, word := g.bar, ""
		if r.Critical {
			bar, word = g.critical, " critical"
		}
		body := strings.Repeat(bar, to-from)
		if o.Color && r.Critical {
			body = "\x1b[33m" + body + "\x1b[0m"
		}
		line := pad(label(r), name) + " " + g.left + strings.Repeat(" ", queued) +
			strings.Repeat(g.wait, from-queued) + body + strings.Repeat(" ", room-to) + g.right +
			fmt.Sprintf(" %7s%s", Short(r.End-r.Start), word)
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

func label(r Row) string {
	if r.State != "" {
		return r.Job + " " + r.State
	}
	return r.Job
}

// Table writes one line a job: start, end, duration, and what it waited for.
func Table(w io.Writer, s *Schedule) error {
	rows := s.Rows()
	name := len("job")
	for _, r := range rows {
		name = max(name, utf8.RuneCountInString(r.Job))
	}
	if _, err := fmt.Fprintf(w, "%s  %8s  %8s  %8s  waited for\n", pad("job", name), "start", "end", "took"); err != nil {
		return err
	}
	for _, r := range rows {
		why := r.Why
		if why == "" {
			why = "nothing"
		}
		if _, err := fmt.Fprintf(w, "%s  %8s  %8s  %8s  %s\n", pad(r.Job, name), Short(r.Start), Short(r.End), Short(r.End-r.Start), why); err != nil {
			return err
		}
	}
	return nil
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}
