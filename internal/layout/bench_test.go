package layout_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/config/gen"
	"github.com/gozer-ci/gozer/internal/layout"
)

// generated collects the files of a generated tenant, and the tenant.
func generated(tb testing.TB, size gen.Size) ([]gen.File, *config.Tenant) {
	tb.Helper()
	var files []gen.File
	if err := size.Write(func(f gen.File) error { files = append(files, f); return nil }); err != nil {
		tb.Fatal(err)
	}
	tf := config.ParseTenants(files[0].Path, files[0].Data, config.Options{Connections: connections})
	if len(tf.Problems) > 0 {
		tb.Fatal(tf.Problems[0].Text)
	}
	return files[1:], tf.Tenants[0]
}

func parseGenerated(f gen.File) *config.File {
	src := config.Source{Project: project(f.Project), Branch: f.Branch, Path: f.Path, Trusted: f.Project == "config"}
	return config.Parse(src, f.Data, config.Options{Connections: connections})
}

// parseAll parses all files with as many goroutines as there are processors, as a loader would.
func parseAll(files []gen.File) []*config.File {
	out := make([]*config.File, len(files))
	done := make(chan struct{})
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		go func() {
			for i := w; i < len(files); i += n {
				out[i] = parseGenerated(files[i])
			}
			done <- struct{}{}
		}()
	}
	for range n {
		<-done
	}
	return out
}

func inputOf(tenant *config.Tenant, files []*config.File) layout.Input {
	in := layout.Input{Tenant: tenant}
	at := map[string]int{}
	for _, o := range tenant.Projects {
		at[o.Name] = len(in.Projects)
		in.Projects = append(in.Projects, layout.ProjectInput{Project: project(o.Name), Options: o, Driver: "gerrit"})
	}
	for _, f := range files {
		p := &in.Projects[at[f.Source.Project.Name]]
		i := slices.IndexFunc(p.Branches, func(b layout.BranchInput) bool { return b.Name == f.Source.Branch })
		if i < 0 {
			p.Branches = append(p.Branches, layout.BranchInput{Name: f.Source.Branch})
			i = len(p.Branches) - 1
		}
		p.Branches[i].Files = append(p.Branches[i].Files, f)
	}
	return in
}

func bigLayout(tb testing.TB, size gen.Size) (layout.Input, *layout.Layout) {
	tb.Helper()
	files, tenant := generated(tb, size)
	in := inputOf(tenant, parseAll(files))
	l := layout.New(in)
	if len(l.Problems) > 0 {
		tb.Fatal(l.Problems[0].Text)
	}
	return in, l
}

// Cold: all files parsed and the layout assembled.
func BenchmarkCold(b *testing.B) {
	files, tenant := generated(b, gen.Big)
	var l *layout.Layout
	for b.Loop() {
		l = layout.New(inputOf(tenant, parseAll(files)))
	}
	b.StopTimer()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-live")
	b.ReportMetric(float64(len(l.Jobs())), "jobs")
}

// OneFile: one file of one project is another one; the rest was parsed before.
func BenchmarkOneFile(b *testing.B) {
	in, _ := bigLayout(b, gen.Big)
	old := in.Projects[1000].Branches[0].Files[0]
	n := 0
	for b.Loop() {
		n++
		text := fmt.Appendf(nil, "- job: {name: changed-%d}\n- project: {check: {jobs: [changed-%d]}}\n", n, n)
		f := config.Parse(old.Source, text, config.Options{Connections: connections})
		in.Projects = slices.Clone(in.Projects)
		in.Projects[1000].Branches = slices.Clone(in.Projects[1000].Branches)
		in.Projects[1000].Branches[0].Files = []*config.File{f}
		layout.New(in)
	}
}

// Dynamic: the same as a proposed change, with its decision.
func BenchmarkDynamic(b *testing.B) {
	in, l := bigLayout(b, gen.Big)
	p := in.Projects[1000]
	f := config.Parse(p.Branches[0].Files[0].Source, []byte("- job: {name: changed}\n"), config.Options{Connections: connections})
	c := newChange(place{project: p.Project.Name, branch: "master"}, 1)
	for b.Loop() {
		d := l.Dynamic(layout.DynamicInput{Changes: []*change.Change{c},
			Proposed: []layout.Proposal{{Project: p.Project, Branch: "master", Files: []*config.File{f}}}})
		if d.Blocked() {
			b.Fatal(d.Problems[0].Text)
		}
	}
}

// Freeze: a graph of forty jobs on five levels of inheritance.
func BenchmarkFreeze(b *testing.B) {
	_, l := bigLayout(b, gen.Size{Projects: 60, Variants: 600, Pipelines: 60, Branches: 1})
	pipeline, name := gen.Graph()
	in := layout.FreezeInput{Pipeline: pipeline, Changes: []*change.Change{newChange(place{project: name, branch: "master"}, 1)}}
	for b.Loop() {
		f := l.Freeze(in)
		if f.Graph == nil || len(f.Graph.Jobs) < 40 {
			b.Fatalf("%+v", f)
		}
	}
}
