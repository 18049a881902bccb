// Package term shows a tenant's live view in a terminal: pipelines, items and jobs with an icon and a word
// for every state, refreshed in place where there is a terminal, and as plain lines elsewhere. It draws
// what package api says and decides nothing.
package term

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"

	"github.com/gozer-ci/gozer/internal/api"
)

// tone colours a state; the icon and the word say it without.
type tone struct {
	icon, word string
	color      lipgloss.AdaptiveColor
}

var (
	good = lipgloss.AdaptiveColor{Light: "28", Dark: "78"}
	bad  = lipgloss.AdaptiveColor{Light: "160", Dark: "210"}
	busy = lipgloss.AdaptiveColor{Light: "25", Dark: "110"}
	dim  = lipgloss.AdaptiveColor{Light: "242", Dark: "245"}
)

// of finds the tone of a job's or an item's state.
func of(state string) tone {
	switch state {
	case "success", "succeeded":
		return tone{"✓", "passed", good}
	case "failure", "failed":
		return tone{"✕", "failed", bad}
	case "problem":
		return tone{"✕", "problem", bad}
	case "failing":
		return tone{"!", "failing", bad}
	case "running":
		return tone{"▸", "running", busy}
	case "paused":
		return tone{"‖", "paused", busy}
	case "merging", "configuring":
		return tone{"»", state, busy}
	case "queued":
		return tone{"◷", "queued", dim}
	case "skipped":
		return tone{"–", "skipped", dim}
	case "canceled":
		return tone{"⊘", "canceled", dim}
	}
	return tone{"·", state, dim}
}

// Mark is icon and word of a job's or an item's state.
func Mark(state string) string {
	t := of(state)
	return t.icon + " " + t.word
}

// Draw writes the view for a terminal of that width (0: any), with colours as the renderer has them.
func Draw(v *api.View, now time.Time, width int, r *lipgloss.Renderer) string {
	d := &drawing{now: now, width: width, r: r}
	idle := []string{}
	for _, p := range v.Ordered() {
		if len(p.Queues) == 0 {
			name := p.Name
			if p.State != "normal" {
				name += d.paint(bad, " ‖ "+p.State+": "+p.Reason)
			}
			idle = append(idle, name)
			continue
		}
		d.pipeline(v, &p)
	}
	if d.b.Len() == 0 {
		d.line("Nothing is in the pipelines.")
	}
	if len(idle) > 0 {
		d.line(d.paint(dim, "idle: ") + strings.Join(idle, ", "))
	}
	return d.b.String()
}

type drawing struct {
	b     strings.Builder
	now   time.Time
	width int
	r     *lipgloss.Renderer
}

func (d *drawing) paint(c lipgloss.TerminalColor, s string) string {
	return d.r.NewStyle().Foreground(c).Render(s)
}

// line writes one line, cut to the width.
func (d *drawing) line(s string) {
	if d.width > 0 {
		s = d.r.NewStyle().MaxWidth(d.width).Render(s)
	}
	d.b.WriteString(strings.TrimRight(s, " ") + "\n")
}

func (d *drawing) pipeline(v *api.View, p *api.Pipeline) {
	head := d.r.NewStyle().Bold(true).Render(p.Name) + d.paint(dim, "  "+p.Manager)
	if p.State != "normal" {
		head += d.paint(bad, "  ‖ "+p.State+": "+p.Reason)
	}
	d.line(head)
	for _, q := range p.Queues {
		for _, id := range q.Items {
			if it, ok := v.Items[id]; ok && it.Live {
				d.item(&it)
			}
		}
	}
	d.b.WriteByte('\n')
}

func (d *drawing) item(it *api.Item) {
	t := of(it.State)
	var names []string
	for _, r := range it.Refs {
		name := r.Project + " " + short(r.ID)
		if r.Title != "" {
			name += " " + r.Title
		}
		names = append(names, name)
	}
	when := Duration(d.now.Sub(it.Enqueued))
	if !it.Ends.IsZero() && it.Ends.After(d.now) {
		when += ", " + Duration(it.Ends.Sub(d.now)) + " left"
	}
	d.line(fmt.Sprintf("  %s %s  %s", d.paint(t.color, t.icon+" "+t.word), strings.Join(names, " + "), d.paint(dim, when)))
	if it.Note != "" {
		d.line("      " + d.paint(dim, it.Note))
	}
	for i := range it.Jobs {
		d.job(&it.Jobs[i], it.Note)
	}
}

// job draws one job; what its item's note says already is not said again.
func (d *drawing) job(j *api.Job, said string) {
	t := of(j.State)
	note := ""
	if j.State == "waiting" || j.State == "queued" || j.State == "skipped" || j.State == "canceled" || j.State == "paused" {
		note = cmp.Or(j.Why, j.Waiting)
	}
	if note == said {
		note = ""
	}
	switch {
	case !j.Ended.IsZero() && !j.Started.IsZero():
		note = Duration(j.Ended.Sub(j.Started))
	case !j.Started.IsZero():
		note = Duration(d.now.Sub(j.Started))
		if left := j.Started.Add(time.Duration(j.EstimateMS) * time.Millisecond).Sub(d.now); j.EstimateMS > 0 && left > 0 {
			note += ", " + Duration(left) + " left"
		}
	}
	if !j.Voting {
		note = strings.TrimSuffix("non-voting, "+note, ", ")
	}
	d.line(fmt.Sprintf("      %s %-28s %s", d.paint(t.color, fmt.Sprintf("%s %-8s", t.icon, t.word)), j.Name, d.paint(dim, note)))
}

func short(id string) string {
	if len(id) == 40 {
		return id[:8]
	}
	return id
}

// Duration says how long, in at most two units: 45s, 3m 12s, 2h 5m.
func Duration(d time.Duration) string {
	s := int(max(0, d).Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s/3600%24)
}

// ShowConfig of Show.
type ShowConfig struct {
	Client *api.Client
	Tenant string
	Out    io.Writer
	// Size of the terminal, asked before every drawing; nil: there is none, so the view is written
	// once, plainly.
	Size func() (width, height int)
	Now  func() time.Time
}

// errOnce ends a stream after its first event.
var errOnce = errors.New("once is enough")

// Show writes the view once, or keeps it up to date in place until ctx ends.
func Show(ctx context.Context, c ShowConfig) error {
	if c.Now == nil {
		c.Now = time.Now
	}
	r := lipgloss.NewRenderer(c.Out)
	if c.Size == nil {
		err := c.Client.Follow(ctx, c.Tenant, func(v *api.View) error {
			if _, err := io.WriteString(c.Out, Draw(v, v.Now, 0, r)); err != nil {
				return err
			}
			return errOnce
		})
		if errors.Is(err, errOnce) {
			return nil
		}
		return err
	}
	return inPlace(ctx, c, r)
}

// inPlace draws on every event and every second, because times pass.
func inPlace(ctx context.Context, c ShowConfig, r *lipgloss.Renderer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	views, ended := make(chan api.View), make(chan error, 1)
	go func() {
		ended <- c.Client.Follow(ctx, c.Tenant, func(v *api.View) error {
			copied := api.View{Version: v.Version, Now: v.Now}
			copied.Apply(v.Snapshot())
			select {
			case views <- copied:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	if _, err := io.WriteString(c.Out, "\x1b[?25l"); err != nil { // the cursor would flicker
		return err
	}
	defer io.WriteString(c.Out, "\x1b[?25h") //nolint:errcheck // nothing is left to do
	var v *api.View
	var skew time.Duration
	for {
		select {
		case next := <-views:
			v, skew = &next, next.Now.Sub(c.Now())
		case <-tick.C:
		case err := <-ended:
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if v == nil {
			continue
		}
		if err := frame(c, v, c.Now().Add(skew), r); err != nil {
			return err
		}
	}
}

// frame draws over the last one: each line is cleared to its end, and the rest of the screen after it.
func frame(c ShowConfig, v *api.View, now time.Time, r *lipgloss.Renderer) error {
	width, height := c.Size()
	lines := strings.Split(strings.TrimSuffix(Visible(Draw(v, now, width, r)), "\n"), "\n")
	if height > 1 && len(lines) > height-1 {
		more := len(lines) - (height - 2)
		lines = append(lines[:height-2], fmt.Sprintf("… and %d more lines", more))
	}
	_, err := io.WriteString(c.Out, "\x1b[H"+strings.Join(lines, "\x1b[K\n")+"\x1b[K\n\x1b[J")
	return err
}
