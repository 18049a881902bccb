package reporter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/forge/fake"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/reporter"
)

// A cycle of which a part can be seen not to merge any more stays as it is: half of it on the branch would be
// something that nobody tested. Once a part is merged, the rest follows.
func TestCyclesMergeWhole(t *testing.T) {
	for _, test := range []struct {
		name         string
		before       func(t *testing.T, f *fake.Forge)
		first, other bool
		why          string
	}{
		{name: "all fine", before: func(*testing.T, *fake.Forge) {}, first: true, other: true},
		{name: "a newer patch set", before: func(t *testing.T, f *fake.Forge) { must(t, f.Patchset(t.Context(), 2, nil, false)) }, why: "2,1 has a newer patch set"},
		{name: "abandoned", before: func(t *testing.T, f *fake.Forge) { must(t, f.Abandon(2)) }, why: "2,1 is not open any more"},
		{name: "a part is merged", before: func(t *testing.T, f *fake.Forge) {
			must(t, f.Merge(t.Context(), 1))
			must(t, f.Abandon(2))
		}, first: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			repos := fake.NewRepositories(t.TempDir())
			t.Cleanup(repos.Close)
			must(t, repos.Create(t.Context(), "org/project", "content", fake.Text(map[string]string{"README": "hello\n"}), "init"))
			f := fake.New(fake.Config{Name: "gerrit", Host: "review.example.com", Repositories: repos, User: "gozer"})
			rep := &pipeline.Report{ID: "r", Merge: true, Reporters: []pipeline.Reporter{{Connection: "gerrit", Driver: "gerrit", Merges: true}}}
			for i := range 2 {
				n, err := f.Propose(t.Context(), fake.Proposal{Project: "org/project", Subject: fmt.Sprint("change ", i)})
				must(t, err)
				c, err := f.Change(t.Context(), change.Project{Connection: "gerrit", Host: "review.example.com", Name: "org/project"}, fmt.Sprint(n), "1")
				must(t, err)
				rep.Changes = append(rep.Changes, c)
			}
			test.before(t, f)
			forges, err := forge.NewSet(f)
			must(t, err)
			out := reporter.New(reporter.Config{Forges: forges}).Carry(t.Context(), "t", "gate", rep)
			a, b := rep.Changes[0].Key(), rep.Changes[1].Key()
			if out.Merged[a] != test.first || out.Merged[b] != test.other {
				t.Errorf("merged %v", out.Merged)
			}
			if !strings.Contains(out.Why[a], test.why) || !strings.Contains(out.Why[b], test.why) {
				t.Errorf("why: %v", out.Why)
			}
			if c, err := f.Look(1); err != nil || (c.Status == fake.StatusMerged) != test.first {
				t.Errorf("the first change is %s, %v", c.Status, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
