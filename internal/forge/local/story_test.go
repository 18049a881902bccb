package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
)

const footer = "\n\nChange-Id: I0123456789012345678901234567890123456789\n"

type fixture struct {
	*Forge
	t      *testing.T
	work   string
	events []event.Event
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	m := memkv.New(memkv.Config{})
	t.Cleanup(func() { _ = m.Close() })
	x := &fixture{t: t, work: t.TempDir()}
	f, err := New(t.Context(), Config{Name: "local", Dir: t.TempDir(), Store: m, BaseURL: "http://127.0.0.1:1", Projects: []string{"org/project"},
		Sink: func(_ context.Context, e event.Event) error { x.events = append(x.events, e); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	x.Forge = f
	x.run("init", "-q", "-b", "main")
	x.run("pull", "-q", x.dir(), "main")
	return x
}

func (x *fixture) dir() string { return filepath.Join(x.Dir, "org/project.git") }

func (x *fixture) project() change.Project {
	return change.Project{Connection: "local", Host: "local", Name: "org/project"}
}

func (x *fixture) run(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = x.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		x.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// push commits a file and proposes the commit, as a push to refs/for/ does.
func (x *fixture) push(message, file, text string) ([]made, error) {
	x.t.Helper()
	if err := os.WriteFile(filepath.Join(x.work, file), []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
	x.run("add", "-A")
	x.run("commit", "-q", "-m", message)
	cmd := exec.Command("git", "pack-objects", "--revs", "--stdout", "-q")
	cmd.Dir, cmd.Stdin = x.work, strings.NewReader("HEAD\n")
	pack, err := cmd.Output()
	if err != nil {
		x.t.Fatal(err)
	}
	repo, err := x.repo("org/project")
	if err != nil {
		x.t.Fatal(err)
	}
	q, err := repo.Receive(x.t.Context(), bytes.NewReader(pack), 1<<20)
	if err != nil {
		x.t.Fatal(err)
	}
	return x.propose(x.t.Context(), &proposal{project: "org/project", branch: "main", repo: repo, commit: x.run("rev-parse", "HEAD"),
		by: identity{Name: "ada", Email: "ada@example.com"}, quarantine: q})
}

// A change is proposed, voted on and merged as the commit that was tested; asking again changes nothing.
func TestChangeFromPushToMerge(t *testing.T) {
	x := newFixture(t)
	ctx := t.Context()
	if _, err := x.push("add a"+footer, "a", "a\n"); err != nil {
		t.Fatal(err)
	}
	c, err := x.Change(ctx, x.project(), "1", "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Branch != "main" || c.Patchset != "1" || len(c.MissingLabels) != 2 || !c.Open {
		t.Errorf("the change reads %+v", c)
	}
	for _, v := range []map[string]int{{"Approved": 1}} {
		if _, err := x.Review(ctx, 1, "bob", Review{Votes: v}); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := x.repo("org/project")
	if err != nil {
		t.Fatal(err)
	}
	base, err := repo.ResolveRef(ctx, "refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	m, err := repo.Merge(ctx, git.MergeRequest{Base: base, Change: c.Commit, Message: "merge\n", By: git.Signature{Name: "g", Email: "g@example.com", When: time.Unix(1, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Report(ctx, forge.Report{ID: "r1", Change: c, Action: "success", Message: "Build succeeded.", Options: map[string]any{"Verified": 2, "submit": true}}); err != nil {
		t.Fatal(err)
	}
	stale, err := x.Report(ctx, forge.Report{ID: "r2", Change: c, Merge: true, Base: c.Commit, Result: m.Commit})
	if err != nil || stale.Merged || !stale.Moved {
		t.Errorf("a merge that was tested on another base gave %+v, %v; want it refused as moved", stale, err)
	}
	for range 2 {
		o, err := x.Report(ctx, forge.Report{ID: "r3", Change: c, Merge: true, Base: base, Result: m.Commit})
		if err != nil || !o.Merged {
			t.Fatalf("merge: %+v, %v", o, err)
		}
	}
	if now, _ := repo.ResolveRef(ctx, "refs/heads/main"); now != m.Commit {
		t.Errorf("main is at %s, the tested commit is %s", now, m.Commit)
	}
	var types []string
	for _, e := range x.events {
		types = append(types, e.Type)
	}
	slices.Sort(types) // the two of a merge come in either order
	want := []string{"change-merged", "comment-added", "comment-added", "patchset-created", "ref-updated"}
	if !slices.Equal(types, want) {
		t.Errorf("events %q, want %q", types, want)
	}
}

func TestPushWithoutChangeIDIsRefused(t *testing.T) {
	x := newFixture(t)
	_, err := x.push("add a", "a", "a\n")
	if !Refused(err) || !strings.Contains(err.Error(), "Change-Id") {
		t.Errorf("got %v, want a refusal that speaks of the Change-Id", err)
	}
	if _, err := x.Change(t.Context(), x.project(), "1", ""); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a refused push left something: %v", err)
	}
}
