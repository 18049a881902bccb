package executor

import (
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

func proposed(number string) *change.Change {
	return &change.Change{Kind: change.KindChange, Number: number, Patchset: "1", Branch: "main", Commit: "c" + number,
		Ref: "refs/changes/0" + number + "/" + number + "/1", Project: change.Project{Connection: "gerrit", Host: "forge.test", Name: "shop/web"}}
}

// The changes of a cycle have its item in common, whether it is the build's own or one ahead; others have none.
func TestItemsOfCycles(t *testing.T) {
	a, b, c, d := proposed("1"), proposed("2"), proposed("3"), proposed("4")
	op := func(item pipeline.ItemID, c *change.Change) *pipeline.MergeOp {
		return &pipeline.MergeOp{Key: c.Key(), Item: item}
	}
	for name, x := range map[string]struct {
		start pipeline.Start
		want  []string
	}{
		"ahead": {pipeline.Start{Item: "own", Own: []change.Key{d.Key()},
			Operations: []*pipeline.MergeOp{op("cycle", a), op("cycle", b), op("one", c), op("own", d)}}, []string{"cycle", "cycle", "", ""}},
		"own": {pipeline.Start{Item: "own", Own: []change.Key{c.Key(), d.Key()},
			Operations: []*pipeline.MergeOp{op("cycle", a), op("cycle", b), op("own", c), op("own", d)}}, []string{"cycle", "cycle", "own", "own"}},
	} {
		s := x.start
		s.Job, s.Changes, s.Refs = &job.Job{Name: "unit"}, []*change.Change{a, b, c, d}, s.Own[:1]
		items := ZuulVariables(&s, "shop", "gate")["items"].([]any)
		if len(items) != len(x.want) {
			t.Fatalf("%s: %d items, want %d", name, len(items), len(x.want))
		}
		for i, want := range x.want {
			if got, _ := items[i].(map[string]any)["bundle_id"].(string); got != want {
				t.Errorf("%s: bundle_id of item %d is %q, want %q", name, i, got, want)
			}
		}
	}
}

// What a build knows of its own change or ref.
func TestOwnVariables(t *testing.T) {
	p := change.Project{Connection: "gerrit", Host: "forge.test", Name: "shop/web"}
	for name, x := range map[string]struct {
		c    *change.Change
		want map[string]any // nil: absent
	}{
		"change": {proposed("7"), map[string]any{"change": "7", "patchset": "1", "branch": "main", "commit_id": "c7", "oldrev": nil, "newrev": nil, "tag": nil}},
		"branch": {&change.Change{Kind: change.KindBranch, Project: p, Branch: "main", Ref: "refs/heads/main", OldRev: "a1", NewRev: "b2"},
			map[string]any{"branch": "main", "ref": "refs/heads/main", "oldrev": "a1", "newrev": "b2", "commit_id": "b2", "change": nil, "tag": nil}},
		"deleted": {&change.Change{Kind: change.KindBranch, Project: p, Branch: "old", Ref: "refs/heads/old", OldRev: "a1", NewRev: change.Zero},
			map[string]any{"branch": "old", "oldrev": "a1", "newrev": nil, "commit_id": "a1"}},
		"tag": {&change.Change{Kind: change.KindTag, Project: p, Ref: "refs/tags/v1", OldRev: change.Zero, NewRev: "b2"},
			map[string]any{"tag": "v1", "ref": "refs/tags/v1", "branch": nil, "oldrev": nil, "newrev": "b2", "commit_id": "b2"}},
	} {
		s := &pipeline.Start{Job: &job.Job{Name: "unit", Tags: []string{"b", "a"}}, Changes: []*change.Change{x.c}, Own: []change.Key{x.c.Key()}, Refs: []change.Key{x.c.Key()}}
		got := ZuulVariables(s, "shop", "post")
		for k, want := range x.want {
			v, ok := got[k]
			if want == nil && ok || want != nil && v != want {
				t.Errorf("%s: %s is %v, want %v", name, k, v, want)
			}
		}
	}
}
