package merger_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/merger"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// depot is a forge of one repository: 2,000 files, and changes that each alter one of them.
type depot struct {
	forge.Forge
	dir     string
	changes []*change.Change
}

var project = change.Project{Connection: "depot", Host: "depot.example.com", Name: "org/project"}

func (d *depot) Name() string                       { return "depot" }
func (d *depot) Host() string                       { return "depot.example.com" }
func (d *depot) Remote(change.Project) forge.Remote { return forge.Remote{URL: d.dir} }

func newDepot(b testing.TB, changes int) *depot {
	b.Helper()
	d := &depot{dir: filepath.Join(b.TempDir(), "project.git")}
	git := func(in string, args ...string) string {
		cmd := exec.Command("git", append([]string{"--git-dir", d.dir}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	git("", "init", "-q", "--bare", "-b", "master", d.dir)
	var s strings.Builder
	commit := func(ref string, mark int, from string) {
		fmt.Fprintf(&s, "commit %s\nmark :%d\ncommitter a <a@example.com> 1700000000 +0000\ndata 1\nx\n%s", ref, mark, from)
	}
	commit("refs/heads/master", 1, "")
	for i := range 2000 {
		fmt.Fprintf(&s, "M 100644 inline dir%d/file%d\ndata 4\none\n\n", i%40, i)
	}
	for i := range changes {
		n := fmt.Sprint(i + 1)
		ref := "refs/changes/" + n + "/1"
		commit(ref, i+2, "from :1\n")
		fmt.Fprintf(&s, "M 100644 inline dir%d/file%d\ndata 4\ntwo\n\n", i%40, i)
		d.changes = append(d.changes, &change.Change{Kind: change.KindChange, Project: project, Branch: "master", Number: n, Patchset: "1", Ref: ref,
			Files: []string{"file"}, Open: true, Current: true, Message: "change " + n})
	}
	git(s.String(), "fast-import", "--quiet")
	for i, line := range strings.Split(strings.TrimSpace(git("", "for-each-ref", "--sort=version:refname", "--format=%(objectname)", "refs/changes")), "\n") {
		d.changes[i].Commit = line
	}
	return d
}

func newMerger(b *testing.B, d *depot) *merger.Merger {
	b.Helper()
	space := memkv.New(memkv.Config{})
	st, err := store.Open(b.Context(), store.Config{KV: space})
	if err != nil {
		b.Fatal(err)
	}
	forges, err := forge.NewSet(d)
	if err != nil {
		b.Fatal(err)
	}
	repos := merger.NewRepos(b.TempDir(), forges)
	b.Cleanup(func() { repos.Close(); _ = space.Close() })
	return merger.New(merger.Config{Store: st, Repos: repos})
}

// BenchmarkGateReset is a gate of 100 changes in a real repository whose head fails: until all 99 behind are
// planned again by Step, and merged again by a merger. The aim is one second.
func BenchmarkGateReset(b *testing.B) {
	const items = 100
	d := newDepot(b, items)
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		m := newMerger(b, d)
		g := &gate{m: m, s: &pipeline.State{}, sem: &pipeline.Semaphores{}}
		g.step(&pipeline.Reconfigure{
			Settings: pipeline.Settings{Name: "gate", Manager: pipeline.Dependent, AllowOtherConnections: true},
			Tenant: pipeline.Tenant{Name: "t", Layout: "l", Projects: map[string]pipeline.Project{
				project.Canonical(): {Project: project, InPipeline: true, MergeMode: "merge"}}},
		})
		for _, c := range d.changes {
			g.step(&pipeline.Trigger{Event: event.Event{ID: c.Number}, Key: c.Key(), Changes: []*change.Change{c}, Match: true})
		}
		g.merge(b)
		g.configure(b)
		before := processorTime()
		b.StartTimer()
		g.step(&pipeline.BuildEnded{Build: g.head, Result: pipeline.Failure})
		g.merge(b)
		used += processorTime() - before
	}
	b.ReportMetric(used.Seconds()*1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(items-1, "items-merged-again")
}

// gate steps a pipeline, and has its merges made.
type gate struct {
	m      *merger.Merger
	s      *pipeline.State
	sem    *pipeline.Semaphores
	inputs int
	merges []*pipeline.Merge
	asked  []*pipeline.Configure
	head   pipeline.BuildID
}

func (g *gate) step(in pipeline.Input) {
	g.inputs++
	effects, _ := pipeline.Step(g.s, g.sem, pipeline.Meta{Now: time.Unix(1_700_000_000+int64(g.inputs), 0), Seed: fmt.Sprint(g.inputs)}, in)
	for _, e := range effects {
		switch e := e.(type) {
		case *pipeline.Merge:
			g.merges = append(g.merges, e)
		case *pipeline.Configure:
			g.asked = append(g.asked, e)
		case *pipeline.Start:
			if g.head == "" {
				g.head = e.Build
			}
		}
	}
}

// merge makes all merges that are asked for, four at once, as a merger does.
func (g *gate) merge(b *testing.B) {
	todo := g.merges
	g.merges = nil
	answers := make([]*pipeline.Merged, len(todo))
	asked := time.Now()
	work, ctx := errgroup.WithContext(context.Background())
	work.SetLimit(4)
	for i, e := range todo {
		work.Go(func() (err error) { answers[i], err = g.m.Merge(ctx, e, asked); return err })
	}
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
	for _, in := range answers {
		if in.Conflict != "" {
			b.Fatal(in.Conflict)
		}
		g.step(in)
	}
}

func (g *gate) configure(b *testing.B) {
	for len(g.asked) > 0 {
		e := g.asked[0]
		g.asked = g.asked[1:]
		g.step(&pipeline.Configured{Item: e.Item, Buildset: e.Buildset, Layout: "l", Graph: &job.Graph{Jobs: []*job.Job{{ID: "test", Name: "test", Voting: true, Attempts: 1}}}})
	}
}

// BenchmarkMerges is how many merges a second a merger makes in a bare repository, one on top of the other.
func BenchmarkMerges(b *testing.B) {
	const changes = 200
	d := newDepot(b, changes)
	m := newMerger(b, d)
	merges := 0
	for round := 0; b.Loop(); round++ {
		req := &pipeline.Merge{Item: "i", Buildset: "b", Time: time.Unix(1_700_000_000+int64(round), 0)}
		for _, c := range d.changes {
			req.Operations = append(req.Operations, &pipeline.MergeOp{Key: c.Key(), Project: project, Branch: "master", Ref: c.Ref, Commit: c.Commit, Mode: "merge",
				Number: c.Number, Patchset: c.Patchset, Time: req.Time})
		}
		out, err := m.Merge(b.Context(), req, time.Now())
		if err != nil || out.Conflict != "" {
			b.Fatal(err, out)
		}
		merges += len(out.Result.Commits)
	}
	b.ReportMetric(float64(merges)/b.Elapsed().Seconds(), "merges/s")
}

// processorTime is what this process and the gits that ended used of processors, which a busy machine alters little.
func processorTime() (all time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		_ = syscall.Getrusage(who, &r)
		all += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return all
}
