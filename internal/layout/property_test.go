package layout_test

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/config/gen"
	"github.com/gozer-ci/gozer/internal/layout"
)

// Freezing gives the same graph each time, whatever the order of unrelated projects and branches.
func TestFreezeIsDeterministic(t *testing.T) {
	files, tenant := generated(t, gen.Size{Projects: 12, Variants: 120, Pipelines: 6, Branches: 2})
	parsed := parseAll(files)
	want := map[string]string{}
	freezeAll := func(t *rapid.T, in layout.Input) map[string]string {
		l := layout.New(in)
		if len(l.Problems) > 0 {
			t.Fatal(l.Problems[0].Text)
		}
		out := map[string]string{}
		for _, p := range in.Projects {
			for _, s := range l.Pipelines {
				c := newChange(place{project: p.Project.Name, branch: "master"}, 1)
				f := l.Freeze(layout.FreezeInput{Pipeline: s.Name, Changes: []*change.Change{c}})
				out[p.Project.Name+" "+s.Name] = string(must(json.Marshal(f)))
			}
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		in := inputOf(tenant, parsed)
		rest := rapid.Permutation(in.Projects[1:]).Draw(t, "projects")
		in.Projects = append([]layout.ProjectInput{in.Projects[0]}, rest...)
		for i := range in.Projects {
			b := slices.Clone(in.Projects[i].Branches)
			in.Projects[i].Branches = rapid.Permutation(b).Draw(t, "branches")
		}
		got := freezeAll(t, in)
		if len(want) == 0 {
			want = got
		}
		for k, v := range want {
			if got[k] != v {
				t.Fatalf("%s:\n%s\nis now\n%s", k, v, got[k])
			}
		}
	})
}

// A layout has another identity for every difference in what it is made from, and only then.
func TestIdentity(t *testing.T) {
	files, tenant := generated(t, gen.Size{Projects: 3, Variants: 6, Pipelines: 2, Branches: 1})
	base := func() layout.Input { return inputOf(tenant, parseAll(files)) }
	id := layout.New(base()).ID
	if layout.New(base()).ID != id {
		t.Error("the same input has two identities")
	}
	seen := map[string]string{id: "the first"}
	for name, change := range map[string]func(*layout.Input){
		"a limit": func(in *layout.Input) { c := *in.Tenant; c.MaxNodesPerJob++; in.Tenant = &c },
		"a branch": func(in *layout.Input) {
			in.Projects[1].Branches = append(in.Projects[1].Branches, layout.BranchInput{Name: "b"})
		},
		"a mode": func(in *layout.Input) { in.Projects[1].MergeMode = "rebase" },
		"a file": func(in *layout.Input) {
			f := in.Projects[1].Branches[0].Files[0]
			in.Projects[1].Branches[0].Files = []*config.File{config.Parse(f.Source, []byte("- job: {name: z}"), config.Options{})}
		},
		"a path": func(in *layout.Input) {
			f := *in.Projects[1].Branches[0].Files[0]
			f.Source.Path = "other.yaml"
			in.Projects[1].Branches[0].Files = []*config.File{&f}
		},
		"an option": func(in *layout.Input) {
			o := *in.Projects[1].Options
			o.ImpliedBranchMatchers.Set = true
			in.Projects[1].Options = &o
		},
		"a project": func(in *layout.Input) { in.Projects = in.Projects[:3] },
		"a global":  func(in *layout.Input) { in.GlobalSemaphores = map[string]int{"g": 1} },
	} {
		in := base()
		change(&in)
		got := layout.New(in).ID
		if other, ok := seen[got]; ok {
			t.Errorf("with %s the identity is that of %s", name, other)
		}
		seen[got] = name
	}
}
