package scheduler

import (
	"context"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/store"
)

// tickEvery is how often the timers are looked at: their finest unit is a second.
const tickEvery = time.Second

// schedule is a timer's time expression: five cron fields with Monday as day 0, then seconds, then jitter
// in seconds (semantics 3.6).
type schedule struct {
	cron.Schedule
	jitter time.Duration
}

// parseSchedule reads a time expression.
func parseSchedule(text string) (schedule, error) {
	f := strings.Fields(text)
	if len(f) < 5 || len(f) > 7 {
		return schedule{}, fmt.Errorf("timer %q has %d fields, not 5 to 7", text, len(f))
	}
	second := "0"
	if len(f) > 5 {
		second = f[5]
	}
	var s schedule
	if len(f) > 6 {
		n, err := strconv.Atoi(f[6])
		if err != nil || n < 0 {
			return schedule{}, fmt.Errorf("timer %q: jitter %q is no number of seconds", text, f[6])
		}
		s.jitter = time.Duration(n) * time.Second
	}
	fields := []string{second, f[0], f[1], f[2], f[3], days(f[4])}
	c, err := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(strings.Join(fields, " "))
	if err != nil {
		return schedule{}, fmt.Errorf("timer %q: %w", text, err)
	}
	s.Schedule = c
	return s, nil
}

// days turns a day-of-week field with Monday as 0 into one with Sunday as 0. Names stay.
func days(f string) string {
	var out []string
	for part := range strings.SplitSeq(f, ",") {
		spec, step, stepped := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(spec, "-")
		a, aerr := strconv.Atoi(from)
		b, berr := strconv.Atoi(to)
		switch {
		case ranged && aerr == nil && berr == nil:
			by := 1
			if n, err := strconv.Atoi(step); stepped && err == nil && n > 0 {
				by = n
			}
			for d := a; d <= b; d += by {
				out = append(out, strconv.Itoa((d+1)%7))
			}
			continue
		case !ranged && aerr == nil:
			spec = strconv.Itoa((a + 1) % 7)
		}
		if stepped {
			spec += "/" + step
		}
		out = append(out, spec)
	}
	return strings.Join(out, ",")
}

// shift is the jitter of one project-branch: the same in every run and on every scheduler.
func (s schedule) shift(tenant string, p change.Project, branch string) time.Duration {
	if s.jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, tenant, "\x00", p.Canonical(), "\x00", branch)
	return time.Duration(h.Sum64() % uint64(s.jitter))
}

// ticks appends the events of the timers of the tenant's pipelines. Where the tenant had no owner when one
// was due, that tick is left out: the next one does the same work.
func (d *desk) ticks(ctx context.Context) error {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-t.C:
			if err := d.due(ctx, last, now); err != nil {
				return err
			}
			last = now
		}
	}
}

// due appends the events of the ticks after one moment, up to another.
func (d *desk) due(ctx context.Context, after, upTo time.Time) error {
	l := d.present()
	var out []event.Event
	for i := range l.Pipelines {
		for _, f := range l.Pipelines[i].Triggers {
			if f.Driver != "timer" {
				continue
			}
			for _, text := range f.Schedules {
				s, err := parseSchedule(text)
				if err != nil {
					d.log.Warn("a timer is left out", "pipeline", l.Pipelines[i].Name, "error", err)
					continue
				}
				for _, b := range l.TimerTargets(l.Pipelines[i].Name) {
					shift := s.shift(d.tenant, b.Project, b.Branch)
					if at := s.Next(after.Add(-shift)).Add(shift); !at.After(upTo) {
						out = append(out, d.tick(l.Pipelines[i].Name, text, b.Project, b.Branch, at))
					}
				}
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	ops, err := d.Store.EventOps(ctx, d.tenant, out...)
	if err != nil {
		return err
	}
	_, err = d.Store.Write(ctx, d.fence, ops...)
	return err
}

func (d *desk) tick(pipe, text string, p change.Project, branch string, at time.Time) event.Event {
	return event.Event{
		ID: store.NewID(), Connection: "timer", Driver: "timer", Type: "timer", Project: p, Pipeline: pipe,
		Branch: branch, Ref: "refs/heads/" + branch, Schedule: text, At: at, Received: time.Now(),
	}
}
