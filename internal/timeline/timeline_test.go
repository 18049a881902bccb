package timeline

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const second = time.Second

// fleet is a small deployment: two chains that meet, and two jobs that exclude each other.
func fleet() Plan {
	return Plan{Slots: 2, Jobs: []Job{
		{Name: "base", Duration: 4 * second},
		{Name: "dns", Duration: 2 * second, After: []string{"base"}},
		{Name: "certs", Duration: 6 * second, After: []string{"dns"}},
		{Name: "git", Duration: 5 * second, After: []string{"certs"}},
		{Name: "board", Duration: 3 * second, After: []string{"git", "absent"}},
		{Name: "pad", Duration: 4 * second, After: []string{"base"}, Holds: []string{"proxy"}},
		{Name: "paste", Duration: 4 * second, After: []string{"base"}, Holds: []string{"proxy"}},
	}}
}

func TestSimulate(t *testing.T) {
	s, err := Simulate(fleet())
	if err != nil {
		t.Fatal(err)
	}
	if s.Makespan != 20*second || s.Serial != 28*second || s.Ratio != 1 {
		t.Errorf("makespan %s, serial %s, ratio %v; want 20s, 28s, 1", s.Makespan, s.Serial, s.Ratio)
	}
	if d := cmp.Diff([]string{"base", "dns", "certs", "git", "board"}, s.Critical); d != "" {
		t.Errorf("critical (-want +got):\n%s", d)
	}
	var table bytes.Buffer
	if err := Table(&table, s); err != nil {
		t.Fatal(err)
	}
	want := `job       start       end      took  waited for
base         0s        4s        4s  nothing
dns          4s        6s        2s  dependency base, 4s
pad          4s        8s        4s  dependency base, 4s
certs        6s       12s        6s  dependency dns, 6s
paste        8s       12s        4s  dependency base, 4s; semaphore proxy held by pad, 4s
git         12s       17s        5s  dependency certs, 12s
board       17s       20s        3s  dependency git, 17s
`
	if d := cmp.Diff(want, table.String()); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
}

func TestGantt(t *testing.T) {
	s, err := Simulate(fleet())
	if err != nil {
		t.Fatal(err)
	}
	var chart bytes.Buffer
	if err := Gantt(&chart, s, TextOptions{Width: 46, ASCII: true}); err != nil {
		t.Fatal(err)
	}
	want := `base  |####                |      4s critical
dns   |    ##              |      2s critical
pad   |    ====            |      4s
certs |      ######        |      6s critical
paste |    ....====        |      4s
git   |            #####   |      5s critical
board |                 ###|      3s critical
`
	if d := cmp.Diff(want, chart.String()); d != "" {
		t.Errorf("chart (-want +got):\n%s", d)
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	p := fleet()
	p.Jobs[0].Name = `<b> & "c"`
	s, err := Simulate(p)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := SVG(&b, s, "deploy & more"); err != nil {
		t.Fatal(err)
	}
	bars := 0
	for d := xml.NewDecoder(&b); ; {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != len(p.Jobs) {
		t.Errorf("%d bars for %d jobs", bars, len(p.Jobs))
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name  string
		plan  Plan
		total time.Duration
		floor Floor
	}{
		{"path", Plan{Slots: 4, Jobs: fleet().Jobs}, 20 * second, FloorPath},
		{"work", Plan{Slots: 1, Jobs: fleet().Jobs}, 28 * second, FloorWork},
		{"mutex with head and tail", Plan{Jobs: []Job{
			{Name: "first", Duration: 3 * second},
			{Name: "a", Duration: 5 * second, After: []string{"first"}, Holds: []string{"m"}},
			{Name: "b", Duration: 6 * second, After: []string{"first"}, Holds: []string{"m"}},
			{Name: "last", Duration: 2 * second, After: []string{"a", "b"}},
		}}, 16 * second, FloorMutex},
		{"mutex for two at once", Plan{Capacity: map[string]int{"m": 2}, Jobs: []Job{
			{Name: "a", Duration: 4 * second, Holds: []string{"m"}},
			{Name: "b", Duration: 4 * second, Holds: []string{"m"}},
			{Name: "c", Duration: 4 * second, Holds: []string{"m"}},
		}}, 6 * second, FloorMutex},
		{"nothing", Plan{Slots: 3}, 0, FloorPath},
	} {
		b, err := LowerBound(c.plan)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if b.Total != c.total || b.Floor != c.floor {
			t.Errorf("%s: %s by %s, want %s by %s", c.name, b.Total, b.Floor, c.total, c.floor)
		}
	}
}

func TestBadPlans(t *testing.T) {
	for want, p := range map[string]Plan{
		"cycle among or before: [a b]": {Jobs: []Job{{Name: "a", After: []string{"b"}}, {Name: "b", After: []string{"a"}}}},
		"a is in the plan twice":       {Jobs: []Job{{Name: "a"}, {Name: "a"}}},
		"duration -1s":                 {Jobs: []Job{{Name: "a", Duration: -second}}},
	} {
		if _, err := Simulate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestAnalyseTellsWhatWasWaitedFor(t *testing.T) {
	t0 := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(n int) time.Time { return t0.Add(time.Duration(n) * second) }
	p := Plan{Slots: 2, Jobs: []Job{
		{Name: "a"}, {Name: "b"}, {Name: "c"},
		{Name: "d", After: []string{"a"}, Holds: []string{"m"}},
		{Name: "e", After: []string{"a"}, Holds: []string{"m"}},
	}}
	s, err := Analyse(p, []Build{
		{Job: "a", Queued: at(0), Start: at(1), End: at(5)},
		{Job: "b", Queued: at(0), Start: at(1), End: at(4)},
		{Job: "c", Queued: at(0), Start: at(4), End: at(9)},
		{Job: "d", Queued: at(5), Start: at(5), End: at(12)},
		{Job: "e", Queued: at(5), Start: at(12)},
	}, at(15))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range s.Rows() {
		got[r.Job] = r.Why
	}
	want := map[string]string{
		"a": "nodes, 1s", "b": "nodes, 1s", "c": "a slot, used by b, 4s",
		"d": "dependency a, 5s", "e": "dependency a, 5s; semaphore m held by d, 7s",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("why (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"a", "d", "e"}, s.Critical); d != "" {
		t.Errorf("critical (-want +got):\n%s", d)
	}
}

func TestPredict(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	f, err := Predict(fleet(), []Build{
		{Job: "base", Start: now.Add(-10 * second), End: now.Add(-6 * second)},
		{Job: "dns", Start: now.Add(-6 * second), End: now.Add(-4 * second)},
		{Job: "certs", Start: now.Add(-4 * second), Estimate: 6 * second},
		{Job: "pad", Start: now.Add(-20 * second), Estimate: 4 * second},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Duration{
		"base": -6 * second, "dns": -4 * second, "certs": 2 * second, "pad": 2 * second,
		"paste": 6 * second, "git": 7 * second, "board": 10 * second,
	}
	for job, d := range want {
		if f.Jobs[job] != now.Add(d) {
			t.Errorf("%s is done in %s, want %s", job, f.Jobs[job].Sub(now), d)
		}
	}
	if f.Done != now.Add(10*second) {
		t.Errorf("all is done in %s, want 10s", f.Done.Sub(now))
	}
}

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		past []time.Duration
		want Stats
	}{
		{nil, Stats{}},
		{[]time.Duration{10 * second}, Stats{1, 10 * second, 5 * second, 15 * second}},
		{[]time.Duration{4 * second, 8 * second, 1 * second, 2 * second, 3 * second}, Stats{5, 3 * second, 2 * second, 4 * second}},
	} {
		if d := cmp.Diff(c.want, Durations(c.past)); d != "" {
			t.Errorf("%v (-want +got):\n%s", c.past, d)
		}
	}
	// Only recent ones count.
	old := slices.Repeat([]time.Duration{time.Hour}, 50)
	if got := Durations(append(old, slices.Repeat([]time.Duration{second}, Recent)...)); got.Typical != second {
		t.Errorf("median %s, want 1s", got.Typical)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 350 * time.Millisecond: "350ms", 4200 * time.Millisecond: "4.2s", 4 * second: "4s",
		59960 * time.Millisecond: "1m00s", 65 * second: "1m05s", 123 * time.Minute: "2h03m", -second: "-1s",
	} {
		if got := Short(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

// plans draws plans of n jobs whose edges go from earlier to later jobs.
func plans(n, slots int) *rapid.Generator[Plan] {
	return rapid.Custom(func(t *rapid.T) Plan {
		p := Plan{Slots: slots, Capacity: map[string]int{"pair": 2}}
		if slots < 0 {
			p.Slots = rapid.IntRange(0, 6).Draw(t, "slots")
		}
		for i := range n {
			j := Job{Name: fmt.Sprint("j", i), Duration: time.Duration(rapid.IntRange(1, 300).Draw(t, "duration")) * second}
			for range rapid.IntRange(0, 2).Draw(t, "edges") {
				if i > 0 {
					j.After = append(j.After, fmt.Sprint("j", rapid.IntRange(0, i-1).Draw(t, "edge")))
				}
			}
			switch rapid.IntRange(0, 12).Draw(t, "mutex") {
			case 0:
				j.Holds = []string{"alone"}
			case 1:
				j.Holds = []string{"pair"}
			}
			p.Jobs = append(p.Jobs, j)
		}
		return p
	})
}

func TestSchedulesKeepEdgesMutexesAndSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := plans(rapid.IntRange(0, 30).Draw(t, "jobs"), -1).Draw(t, "plan")
		s, err := Simulate(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Runs) != len(p.Jobs) {
			t.Fatalf("%d runs of %d jobs", len(s.Runs), len(p.Jobs))
		}
		runs := map[string]Run{}
		for _, r := range s.Runs {
			runs[r.Job] = r
		}
		for _, j := range p.Jobs {
			for _, a := range j.After {
				if runs[a].End > runs[j.Name].Start {
					t.Fatalf("%s starts at %s, before %s ends at %s", j.Name, runs[j.Name].Start, a, runs[a].End)
				}
			}
		}
		for _, r := range s.Runs {
			at, held := 0, map[string]int{}
			for _, j := range p.Jobs {
				if o := runs[j.Name]; o.Start <= r.Start && o.End > r.Start {
					at++
					for _, m := range j.Holds {
						held[m]++
					}
				}
			}
			if p.Slots > 0 && at > p.Slots || held["alone"] > 1 || held["pair"] > 2 {
				t.Fatalf("at %s: %d run, mutexes %v", r.Start, at, held)
			}
		}
		if s.Makespan < s.Bound.Total {
			t.Fatalf("makespan %s is below the bound %s", s.Makespan, s.Bound)
		}
		if s.Makespan > s.Serial {
			t.Fatalf("makespan %s is more than one after another, %s", s.Makespan, s.Serial)
		}
	})
}

// The aim of the design: within 1.05 of the lower bound at 4 slots, the median over graphs of 30 jobs.
func TestDispatchIsCloseToTheBound(t *testing.T) {
	var ratios []float64
	for seed := range 200 {
		s, err := Simulate(plans(30, 4).Example(seed))
		if err != nil {
			t.Fatal(err)
		}
		ratios = append(ratios, s.Ratio)
	}
	slices.Sort(ratios)
	t.Logf("ratio to the bound: median %.3f, 90%% %.3f, worst %.3f", ratios[100], ratios[180], ratios[199])
	if ratios[100] > 1.05 {
		t.Errorf("median %.3f, want 1.05 or less", ratios[100])
	}
}
