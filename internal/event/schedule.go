package event

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is a timer's time expression: five cron fields with Monday as day 0, then seconds, then jitter
// in seconds (semantics 3.6).
type Schedule struct {
	cron cron.Schedule
	// Jitter bounds by how much the times of project-branches are spread.
	Jitter time.Duration
}

// ParseSchedule reads a time expression.
func ParseSchedule(text string) (Schedule, error) {
	f := strings.Fields(text)
	if len(f) < 5 || len(f) > 7 {
		return Schedule{}, fmt.Errorf("timer %q has %d fields, not 5 to 7", text, len(f))
	}
	second := "0"
	if len(f) > 5 {
		second = f[5]
	}
	var s Schedule
	if len(f) > 6 {
		n, err := strconv.Atoi(f[6])
		if err != nil || n < 0 {
			return Schedule{}, fmt.Errorf("timer %q: jitter %q is no number of seconds", text, f[6])
		}
		s.Jitter = time.Duration(n) * time.Second
	}
	dow, ok := days(f[4])
	if !ok {
		return Schedule{}, fmt.Errorf("timer %q: the day of the week is 0 (Monday) to 6 (Sunday)", text)
	}
	fields := []string{second, f[0], f[1], f[2], f[3], dow}
	c, err := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(strings.Join(fields, " "))
	if err != nil {
		return Schedule{}, fmt.Errorf("timer %q: %w", text, err)
	}
	s.cron = c
	return s, nil
}

// days turns a day-of-week field with Monday as 0 into one with Sunday as 0. Names stay. Not ok: a day above 6.
func days(f string) (field string, ok bool) {
	var out []string
	for part := range strings.SplitSeq(f, ",") {
		spec, step, stepped := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(spec, "-")
		a, aerr := strconv.Atoi(from)
		b, berr := strconv.Atoi(to)
		if aerr == nil && a > 6 || berr == nil && b > 6 {
			return "", false
		}
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
	return strings.Join(out, ","), true
}

// Next is the first time after t, without jitter.
func (s Schedule) Next(t time.Time) time.Time { return s.cron.Next(t) }
