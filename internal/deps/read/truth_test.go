package read

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/deps"
)

// truth is what whoever wrote an example knows of it. An order or mutex entry stands for its first with
// each of the others.
type truth struct {
	// Checkout is the folder beside the file, where that is not in it.
	Checkout string
	Order    [][]string
	Mutex    [][]string
	// Beyond are orders that are true as well, and known not to be found: they count as missed.
	Beyond   [][]string
	Mistakes []struct {
		Rule string
		Jobs []string
		Text string
	}
	// Shown are edges of any confidence that must be there.
	Shown []struct {
		Rule string
		Jobs []string
	}
	// Allowed are pairs that are neither right nor wrong: a careful person may see them either way.
	Allowed [][]string
}

type pair struct {
	kind        deps.EdgeKind
	first, then string
}

func readTruth(t *testing.T, file string) *truth {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out truth
	if err := yaml.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

func short(job string) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(job, "infra-prod-"), "deploy-"), "service-")
}

func (tr *truth) pairs() map[pair]bool {
	out := map[pair]bool{}
	for _, list := range tr.Order {
		for _, then := range list[1:] {
			out[pair{deps.Order, list[0], then}] = true
		}
	}
	for _, list := range tr.Mutex {
		for _, then := range list[1:] {
			out[pair{deps.Mutex, min(list[0], then), max(list[0], then)}] = true
		}
	}
	return out
}

func (tr *truth) allowed(p pair) bool {
	return slices.ContainsFunc(tr.Allowed, func(l []string) bool {
		return slices.Contains(l[1:], p.then) && l[0] == p.first || slices.Contains(l[1:], p.first) && l[0] == p.then
	})
}

// judge compares what was inferred with the truth, prints precision and recall, and fails where something
// is wrong at high confidence, or where an enforced edge is missed.
func judge(t *testing.T, a *deps.Analysis, tr *truth) {
	t.Helper()
	true_ := tr.pairs()
	beyond := (&truth{Order: tr.Beyond}).pairs()
	maps.Copy(true_, beyond)
	right := map[deps.Confidence]int{}
	wrong := map[deps.Confidence]int{}
	found := map[pair]bool{}
	seen := map[pair]bool{}
	for _, e := range a.Edges { // surest first, so that a pair counts with its surest edge
		p := pair{e.Kind, short(e.First), short(e.Then)}
		if e.Kind == deps.Mutex && p.then < p.first {
			p.first, p.then = p.then, p.first
		}
		// An order keeps two jobs apart as well.
		ordered := e.Kind == deps.Mutex && (true_[pair{deps.Order, p.first, p.then}] || true_[pair{deps.Order, p.then, p.first}])
		if e.Enforced() {
			found[p] = true
		}
		if seen[p] {
			continue
		}
		seen[p] = true
		switch {
		case true_[p] || ordered:
			right[e.Confidence]++
		case tr.allowed(p):
		default:
			wrong[e.Confidence]++
			if e.Confidence == deps.High {
				t.Errorf("wrong at high confidence: %s %s -> %s: %s", e.Kind, p.first, p.then, e)
			} else if e.Confidence == deps.Medium {
				t.Logf("wrong at medium confidence: %s %s -> %s: %s", e.Kind, p.first, p.then, e)
			}
		}
	}
	hit := 0
	for p := range true_ {
		if found[p] {
			hit++
		} else if !beyond[p] {
			t.Errorf("missed: %s %s -> %s", p.kind, p.first, p.then)
		}
	}
	for _, s := range tr.Shown {
		if !slices.ContainsFunc(a.Edges, func(e deps.Edge) bool {
			return e.Rule == s.Rule && slices.Contains(s.Jobs, short(e.First)) && slices.Contains(s.Jobs, short(e.Then))
		}) {
			t.Errorf("not shown: %s %v", s.Rule, s.Jobs)
		}
	}
	rate := func(c ...deps.Confidence) (int, int) {
		r, w := 0, 0
		for _, x := range c {
			r, w = r+right[x], w+wrong[x]
		}
		return r, r + w
	}
	hr, ha := rate(deps.High)
	er, ea := rate(deps.High, deps.Medium)
	t.Logf("%d true pairs; precision at high %d/%d, at high and medium %d/%d; recall of enforced edges %d/%d", len(true_), hr, ha, er, ea, hit, len(true_))
}

// mistakes compares findings of high confidence with the planted mistakes: all are found, and no others.
func mistakes(t *testing.T, a *deps.Analysis, tr *truth) {
	t.Helper()
	audit := a.Audit(deps.AuditOptions{})
	is := func(rule string, jobs []string, f deps.Finding) bool {
		return f.Rule == rule && len(f.Jobs) == len(jobs) && !slices.ContainsFunc(f.Jobs, func(j string) bool { return !slices.Contains(jobs, short(j)) })
	}
	for _, m := range tr.Mistakes {
		if !slices.ContainsFunc(audit.Findings, func(f deps.Finding) bool { return is(m.Rule, m.Jobs, f) }) {
			t.Errorf("mistake not found: %s %v: %s", m.Rule, m.Jobs, m.Text)
		}
	}
	for _, f := range audit.Findings {
		known := false
		for _, m := range tr.Mistakes {
			known = known || is(m.Rule, m.Jobs, f)
		}
		if !known && f.Confidence == deps.High && f.Level != deps.LevelNote {
			t.Errorf("not a mistake: %s %v: %s", f.Rule, f.Jobs, f.Text)
		}
	}
}

func analyse(t testing.TB, path string) *deps.Analysis {
	t.Helper()
	r, err := Repo(t.Context(), Options{Path: path, Python: python(t)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := deps.Analyse(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestTruth judges what is inferred of repositories of which the truth is known.
func TestTruth(t *testing.T) {
	found, err := filepath.Glob("testdata/*/truth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(found, "../../../examples/opendev/truth.yaml") {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			tr := readTruth(t, f)
			a := analyse(t, filepath.Join(filepath.Dir(f), tr.Checkout))
			judge(t, a, tr)
			mistakes(t, a, tr)
			if t.Failed() || testing.Verbose() {
				for _, u := range slices.Concat(a.Problems, a.Unknown) {
					t.Logf("unknown: %s %s: %s", u.Job, u.At, u.Text)
				}
			}
		})
	}
}
