package scheduler

import (
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/event"
)

// A timer fires once for each of its moments, also while the clock is set back a little; it fires once where the
// clock leaps over many of them, and goes on where the clock was quite wrong.
func TestTimersAndTheClock(t *testing.T) {
	every, err := event.ParseSchedule("0 * * * *")
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	last, fired := noon.Add(-3*time.Second), 0
	tick := func(at time.Duration) {
		next := since(last, noon.Add(at))
		if s := every.Next(last); !s.After(next) {
			fired++
		}
		last = next
	}
	for _, step := range []struct {
		at   time.Duration
		want int
		why  string
	}{
		{-time.Second, 0, "before its moment"},
		{0, 1, "at its moment"},
		{-30 * time.Second, 1, "the clock is set back by half a minute"},
		{0, 1, "its moment comes again"},
		{time.Second, 1, "after its moment"},
		{5*time.Hour + time.Second, 2, "the clock leaps over five moments"},
		{5*time.Hour + 2*time.Second, 2, "and goes on"},
		{-48 * time.Hour, 2, "the clock is set back by two days"},
		{-47 * time.Hour, 3, "and comes to a moment"},
	} {
		if tick(step.at); fired != step.want {
			t.Errorf("%s: fired %d times, want %d", step.why, fired, step.want)
		}
	}
}
