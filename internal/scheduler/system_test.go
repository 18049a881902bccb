package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/merger"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/reporter"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// gerrit is a forge of a few lines on real repositories: changes are refs, merges are pushes of what was
// tested, refused where the branch is elsewhere.
type gerrit struct {
	t   *testing.T
	dir string

	mu      sync.Mutex
	changes map[string]*change.Change
	said    []string
	// refuses are changes that it will not merge, and why; lies, those that it says it merged.
	refuses map[string]string
	lies    map[string]bool
	// lags are branches that it tells of as they were, so many more times.
	lags map[string]*lag
}

// lag is what a forge that is behind says of a branch.
type lag struct {
	times int
	was   string
}

// lag has the forge tell the present commit of a project's branch so many more times, whatever is pushed.
func (g *gerrit) lag(name string, times int) {
	was := g.git(g.path(name), "rev-parse", "master")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lags[name] = &lag{times, was}
}

func (g *gerrit) Name() string   { return "gerrit" }
func (g *gerrit) Driver() string { return "gerrit" }
func (g *gerrit) Host() string   { return "review.example.com" }

func (g *gerrit) git(dir string, args ...string) string {
	g.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g *gerrit) path(name string) string {
	return filepath.Join(g.dir, strings.ReplaceAll(name, "/", "_")+".git")
}

func (g *gerrit) project(name string) change.Project {
	return change.Project{Connection: "gerrit", Host: g.Host(), Name: name}
}

// create makes a repository with files on master.
func (g *gerrit) create(name string, files map[string]string) {
	g.git(g.dir, "init", "-q", "--bare", "-b", "master", g.path(name))
	g.commit(name, "refs/heads/master", "", files)
}

// commit puts files on top of a commit and points a ref to it.
func (g *gerrit) commit(name, ref, parent string, files map[string]string) string {
	work := g.t.TempDir()
	g.git(work, "init", "-q", "-b", "master")
	if parent != "" {
		g.git(work, "fetch", "-q", g.path(name), parent)
		g.git(work, "checkout", "-q", "FETCH_HEAD")
	}
	for path, text := range files {
		full := filepath.Join(work, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			g.t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			g.t.Fatal(err)
		}
	}
	g.git(work, "add", "-A")
	g.git(work, "commit", "-q", "--allow-empty", "-m", "change "+ref)
	g.git(work, "push", "-q", "-f", g.path(name), "HEAD:"+ref)
	return g.git(work, "rev-parse", "HEAD")
}

// propose makes a change on top of master.
func (g *gerrit) propose(name, number string, files map[string]string) *change.Change {
	ref := "refs/changes/0" + number + "/" + number + "/1"
	id := g.commit(name, ref, "refs/heads/master", files)
	c := &change.Change{Kind: change.KindChange, Project: g.project(name), Branch: "master", Ref: ref, Commit: id, Number: number, Patchset: "1",
		URL: "https://review.example.com/" + number, Message: "change " + number, Status: "NEW", Open: true, Current: true}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changes[number] = c
	return c
}

func (g *gerrit) Change(_ context.Context, _ change.Project, number, _ string) (*change.Change, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.changes[number]; c != nil {
		return c, nil
	}
	return nil, forge.ErrNotFound
}

func (g *gerrit) Resolve(context.Context, string) (*change.Change, bool, error) {
	return nil, false, nil
}

func (g *gerrit) Dependents(context.Context, *change.Change) ([]change.Key, error) { return nil, nil }

func (g *gerrit) Branches(_ context.Context, p change.Project) ([]forge.Branch, error) {
	now := g.git(g.path(p.Name), "rev-parse", "master")
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.lags[p.Name]; l != nil && l.times > 0 {
		l.times--
		now = l.was
	}
	return []forge.Branch{{Name: "master", Commit: now}}, nil
}

func (g *gerrit) Remote(p change.Project) forge.Remote { return forge.Remote{URL: g.path(p.Name)} }

func (g *gerrit) Report(_ context.Context, r forge.Report) (forge.Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !r.Merge {
		g.said = append(g.said, r.Change.Number+" "+r.Pipeline+" "+r.Action+": "+r.Message)
		return forge.Outcome{}, nil
	}
	if why := g.refuses[r.Change.Number]; why != "" {
		return forge.Outcome{Why: why}, nil
	}
	if g.lies[r.Change.Number] {
		return forge.Outcome{Merged: true}, nil
	}
	dir := g.path(r.Change.Project.Name)
	if now := g.git(dir, "rev-parse", "master"); now != r.Base {
		return forge.Outcome{Moved: true, Why: "master is at " + now}, nil
	}
	g.git(dir, "fetch", "-q", r.Objects, r.Result)
	g.git(dir, "update-ref", "refs/heads/master", r.Result, r.Base)
	m := *g.changes[r.Change.Number]
	m.Merged, m.Open, m.Status = true, false, "MERGED"
	g.changes[r.Change.Number] = &m
	return forge.Outcome{Merged: true}, nil
}

func (g *gerrit) messages() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.said)
}

const configuration = `
- pipeline:
    name: check
    manager: independent
    trigger: {gerrit: [{event: patchset-created}]}
    success: {gerrit: {Verified: 1}}
    failure: {gerrit: {Verified: -1}}
- pipeline:
    name: gate
    manager: dependent
    trigger: {gerrit: [{event: comment-added, approval: [{Approved: 1}]}]}
    success: {gerrit: {Verified: 2, submit: true}}
    failure: {gerrit: {Verified: -2}}
- job: {name: base, parent: null, run: playbooks/base.yaml}
`

const ofProject = `
- job: {name: unit, run: playbooks/unit.yaml}
- project:
    check: {jobs: [unit]}
    gate: {jobs: [unit]}
`

// system is scheduler, merger and reporter on one store, with executors that the test plays.
type system struct {
	*gerrit
	store  *store.Store
	starts chan *store.Task
	sink   func(event.Event)
	stop   func()
}

func start(t *testing.T, schedulers int) *system {
	t.Helper()
	return startWith(t, schedulers, func(_ int, s kv.Store) kv.Store { return s })
}

// startWith has each scheduler see the store as a function has it.
func startWith(t *testing.T, schedulers int, seen func(scheduler int, s kv.Store) kv.Store) *system {
	t.Helper()
	g := &gerrit{t: t, dir: t.TempDir(), changes: map[string]*change.Change{}, lags: map[string]*lag{}}
	g.create("config", map[string]string{"zuul.yaml": configuration, "playbooks/base.yaml": ""})
	g.create("org/project", map[string]string{"zuul.yaml": ofProject, "playbooks/unit.yaml": "", "README": "one\n"})
	file := filepath.Join(g.dir, "main.yaml")
	if err := os.WriteFile(file, []byte("- tenant: {name: t, source: {gerrit: {config-projects: [config], untrusted-projects: [org/project]}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := memkv.New(memkv.Config{})
	st, err := store.Open(ctx, store.Config{KV: m})
	if err != nil {
		t.Fatal(err)
	}
	forges, err := forge.NewSet(g)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	group, ctx := errgroup.WithContext(ctx)
	s := &system{gerrit: g, store: st, starts: make(chan *store.Task, 100)}
	run := func(fn func(context.Context, *kv.Session, string) error, id string) {
		ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: m, TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() error { return ses.Run(ctx) })
		group.Go(func() error { return fn(ctx, ses, id) })
	}
	var tenants *tenant.Service
	for i := range schedulers {
		st, err := store.Open(ctx, store.Config{KV: seen(i, m)})
		if err != nil {
			t.Fatal(err)
		}
		ts, err := tenant.New(tenant.Config{Store: st, Forges: forges, File: file, WebRoot: "http://zuul/", Log: log})
		if err != nil {
			t.Fatal(err)
		}
		tenants = ts
		run(func(ctx context.Context, ses *kv.Session, id string) error {
			return scheduler.New(scheduler.Config{Store: st, Session: ses, ID: id, Forges: forges, Tenants: ts, Log: log.With("scheduler", id)}).Run(ctx)
		}, fmt.Sprint("s", i))
	}
	repos := merger.NewRepos(filepath.Join(g.dir, "repos"), forges)
	run(func(ctx context.Context, ses *kv.Session, id string) error {
		return merger.New(merger.Config{Store: st, Session: ses, ID: id, Repos: repos, Log: log}).Run(ctx)
	}, "m")
	run(func(ctx context.Context, ses *kv.Session, id string) error {
		return reporter.New(reporter.Config{Store: st, Session: ses, ID: id, Forges: forges, Objects: repos, Log: log}).Run(ctx)
	}, "r")
	run(func(ctx context.Context, ses *kv.Session, id string) error {
		return store.Serve(ctx, st, store.ServeConfig{Kind: store.KindBuild, Session: ses, Owner: id}, func(ctx context.Context, task *store.Task) error {
			s.starts <- task
			<-ctx.Done() // the test ends it, unless the pipeline does not want it any more
			if !errors.Is(context.Cause(ctx), store.ErrCancelled) {
				return nil
			}
			var b pipeline.Start
			if err := task.Decode(ctx, &b); err != nil {
				return err
			}
			return task.Done(ctx, &pipeline.BuildEnded{Build: b.Build, Result: pipeline.Aborted, At: time.Now()})
		})
	}, "e")
	s.sink = func(e event.Event) {
		e.Connection, e.Driver = "gerrit", "gerrit"
		if err := st.AppendEvent(ctx, tenants.Interested(e.Project), e); err != nil {
			t.Error(err)
		}
	}
	s.stop = func() {
		cancel()
		_ = group.Wait()
		repos.Close()
		_ = m.Close()
	}
	t.Cleanup(s.stop)
	return s
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// build waits for the next build and reads what it is to do.
func (s *system) build(t *testing.T) (*store.Task, *pipeline.Start) {
	t.Helper()
	select {
	case task := <-s.starts:
		var b pipeline.Start
		if err := task.Decode(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		return task, &b
	case <-time.After(2 * time.Minute):
		t.Fatal("no build was started")
	}
	return nil, nil
}

func end(t *testing.T, task *store.Task, b *pipeline.Start, r pipeline.Result) {
	t.Helper()
	if err := task.Done(t.Context(), &pipeline.BuildEnded{Build: b.Build, Result: r, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

func (s *system) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2400 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: not within two minutes; said so far: %q", what, s.messages())
}

func approve(c *change.Change) event.Event {
	return event.Event{ID: "approve-" + c.Number, Type: "comment-added", Project: c.Project, Number: c.Number, Patchset: "1", Branch: "master",
		Votes: []event.Vote{{Vote: change.Vote{Label: "Approved", Value: 1}}}}
}

// A change is checked; two are gated one on top of the other; the first fails and the second is tested
// again without it; what lands is the very commit that was tested.
func TestOneChangeFromEventToMerge(t *testing.T) {
	s := start(t, 2)
	a := s.propose("org/project", "1", map[string]string{"a": "a\n"})
	b := s.propose("org/project", "2", map[string]string{"b": "b\n"})

	s.sink(event.Event{ID: "new", Type: "patchset-created", Project: a.Project, Number: "1", Patchset: "1", Branch: "master"})
	task, build := s.build(t)
	if build.Job.Name != "unit" || len(build.Job.Run) != 1 {
		t.Fatalf("job %s with %d playbooks was started, want unit with one", build.Job.Name, len(build.Job.Run))
	}
	end(t, task, build, pipeline.Success)
	s.eventually(t, "check reports", func() bool {
		m := s.messages()
		return len(m) == 1 && strings.HasPrefix(m[0], "1 check success: Build succeeded.")
	})

	s.sink(approve(a))
	taskA, buildA := s.build(t)
	s.sink(approve(b))
	taskB, buildB := s.build(t)
	if n := len(buildB.Merge.Commits); n != 2 {
		t.Fatalf("the second change is tested with %d merges, want 2", n)
	}
	if buildB.Merge.Commits[0].Commit != buildA.Merge.Commits[0].Commit {
		t.Error("the first change has another commit in the second's state: what lands would not be what was tested")
	}
	end(t, taskA, buildA, pipeline.Failure)
	taskB, buildB = s.build(t) // the one that runs is cancelled
	if n := len(buildB.Merge.Commits); n != 1 {
		t.Fatalf("the second change is tested again with %d merges, want 1", n)
	}
	end(t, taskB, buildB, pipeline.Success)
	s.eventually(t, "the second change lands", func() bool { c, _ := s.Change(t.Context(), b.Project, "2", ""); return c.Merged })
	if now := s.git(s.path("org/project"), "rev-parse", "master"); now != buildB.Merge.Commits[0].Commit {
		t.Errorf("master is at %s, what was tested is %s", now, buildB.Merge.Commits[0].Commit)
	}
}

// A proposed configuration is used for the change that proposes it; a broken one is told at its line.
func TestProposedConfiguration(t *testing.T) {
	s := start(t, 1)
	c := s.propose("org/project", "1", map[string]string{"zuul.yaml": strings.Replace(ofProject, "jobs: [unit]}", "jobs: [unit, more]}", 1) + "- job: {name: more, run: playbooks/unit.yaml}\n"})
	s.sink(event.Event{ID: "new", Type: "patchset-created", Project: c.Project, Number: "1", Patchset: "1", Branch: "master"})
	var names []string
	for range 2 {
		task, build := s.build(t)
		names = append(names, build.Job.Name)
		end(t, task, build, pipeline.Success)
	}
	slices.Sort(names) // they begin at the same time
	if !slices.Equal(names, []string{"more", "unit"}) {
		t.Errorf("jobs %v were started, want more and unit", names)
	}
	s.eventually(t, "check reports", func() bool { return len(s.messages()) == 1 })

	d := s.propose("org/project", "2", map[string]string{"zuul.yaml": ofProject + "- job: {name: bad, no-such-attribute: 1}\n"})
	s.sink(event.Event{ID: "bad", Type: "patchset-created", Project: d.Project, Number: "2", Patchset: "1", Branch: "master"})
	s.eventually(t, "the problem is reported", func() bool {
		m := s.messages()
		return len(m) == 2 && strings.Contains(m[1], "no-such-attribute")
	})
}
