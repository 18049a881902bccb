package timeline

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// seen makes builds of a schedule: each job starts a hand-over later than it could.
func seen(s *Schedule) []Build {
	at := func(d time.Duration) time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Add(d) }
	var out []Build
	for _, r := range s.Runs {
		out = append(out, Build{Job: r.Job, Queued: at(r.Queued), Start: at(r.Start), End: at(r.End)})
	}
	return out
}

// TestAgree: what was carried out as the simulation would have it agrees with it, in random graphs; what was begun in a bad
// order does not.
func TestAgree(t *testing.T) {
	for seed := range uint64(200) {
		p := deployment(rand.New(rand.NewPCG(seed, 11)), 15)
		p.Slots = 4
		s, err := Simulate(p)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Agree(p, seen(s))
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(a.Ratio-1) > 1e-9 || a.HandOver != 0 || a.Bare != s.Makespan {
			t.Fatalf("seed %d: %+v of a schedule of %s", seed, a, s.Makespan)
		}
	}
	// Two slots; the long one was begun last.
	second := func(n int) time.Time { return time.Date(2030, 1, 1, 0, 0, n, 0, time.UTC) }
	p := Plan{Slots: 2, Jobs: []Job{{Name: "a"}, {Name: "b"}, {Name: "long"}}}
	late, err := Agree(p, []Build{{Job: "a", Queued: second(0), Start: second(0), End: second(10)}, {Job: "b", Queued: second(0), Start: second(0), End: second(10)},
		{Job: "long", Queued: second(0), Start: second(10), End: second(40)}})
	if err != nil || math.Abs(late.Ratio-40./30) > 1e-9 {
		t.Errorf("a bad order: %+v, %v; want 1.33", late, err)
	}
	// A hand-over is none of the order's doing.
	slow, err := Agree(Plan{Slots: 2, Jobs: []Job{{Name: "a"}, {Name: "b", After: []string{"a"}}}},
		[]Build{{Job: "a", Queued: second(0), Start: second(1), End: second(10)}, {Job: "b", Queued: second(10), Start: second(13), End: second(20)}})
	if err != nil || slow.Ratio != 1 || slow.HandOver != 3*time.Second || slow.Bare != 16*time.Second {
		t.Errorf("with hand-overs: %+v, %v", slow, err)
	}
	if _, err := Agree(p, []Build{{Job: "a", Start: second(0)}}); err == nil {
		t.Error("a job that still runs is compared")
	}
}
