package scheduler

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/store"
)

// tickEvery is how often the timers are looked at: their finest unit is a second.
const tickEvery = time.Second

// shift is the jitter of one project-branch: the same in every run and on every scheduler.
func shift(s event.Schedule, tenant string, p change.Project, branch string) time.Duration {
	if s.Jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, tenant, "\x00", p.Canonical(), "\x00", branch)
	return time.Duration(h.Sum64() % uint64(s.Jitter))
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
			next := since(last, now)
			if err := d.due(ctx, last, next); err != nil {
				return err
			}
			last = next
		}
	}
}

// setBack is by how much a clock may be set back without timers taking notice.
const setBack = time.Hour

// since is up to when the timers have been looked at, after they were up to last, when the clock says now. A clock
// that is set back a little does not make a timer fire again; one that was quite wrong is believed anew. One that
// is set forward makes a timer fire once, however many of its moments were skipped.
func since(last, now time.Time) time.Time {
	last, now = last.Round(0), now.Round(0) // as the clock on the wall has it, not as time passes
	if now.Before(last) && last.Sub(now) <= setBack {
		return last
	}
	return now
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
				s, err := event.ParseSchedule(text)
				if err != nil {
					d.log.Warn("a timer is left out", "pipeline", l.Pipelines[i].Name, "error", err)
					continue
				}
				for _, b := range l.TimerTargets(l.Pipelines[i].Name) {
					by := shift(s, d.tenant, b.Project, b.Branch)
					if at := s.Next(after.Add(-by)).Add(by); !at.After(upTo) {
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
