package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
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

// environ is what git has of whoever runs the tests, without their configuration and their proxy.
func environ() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "no_proxy=127.0.0.1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
}

func (x *fixture) run(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = x.work
	cmd.Env = environ()
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
	cmd.Dir, cmd.Env, cmd.Stdin = x.work, environ(), strings.NewReader("HEAD\n")
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

// served is a forge behind HTTP, and a clone of its project.
func served(t *testing.T) (*fixture, *Client) {
	t.Helper()
	x := newFixture(t)
	srv := httptest.NewServer(x.Handler())
	t.Cleanup(srv.Close)
	x.BaseURL = srv.URL
	x.run("remote", "add", "origin", srv.URL+"/org/project")
	x.run("fetch", "-q", "origin")
	hook, err := http.Get(srv.URL + "/tools/hooks/commit-msg")
	if err != nil {
		t.Fatal(err)
	}
	defer hook.Body.Close()
	text, err := io.ReadAll(hook.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.work, ".git/hooks/commit-msg"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	return x, &Client{URL: srv.URL, User: "ada"}
}

func (x *fixture) commitFile(file, text string, commit ...string) {
	x.t.Helper()
	if err := os.WriteFile(filepath.Join(x.work, file), []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
	x.run("add", "-A")
	x.run(append([]string{"commit", "-q"}, commit...)...)
}

// refusedPush pushes and gives what git said of the refusal.
func (x *fixture) refusedPush(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("git", append([]string{"push"}, args...)...)
	cmd.Dir, cmd.Env = x.work, environ()
	out, err := cmd.CombinedOutput()
	if err == nil {
		x.t.Errorf("git push %v went through:\n%s", args, out)
	}
	return string(out)
}

// People push with git as it is: a change, its next patch set, a chain of two, and everything else is
// refused in words that help.
func TestGitOverHTTP(t *testing.T) {
	x, client := served(t)
	ctx := t.Context()
	x.commitFile("a", "a\n", "-m", "add a")
	if out := x.run("push", "origin", "HEAD:refs/for/main%topic=letters"); !strings.Contains(out, "/c/org/project/+/1 add a [new]") {
		t.Errorf("the push did not tell the change's address:\n%s", out)
	}
	x.commitFile("a", "b\n", "--amend", "--no-edit")
	x.run("push", "-q", "origin", "HEAD:refs/for/main")
	x.commitFile("b", "b\n", "-m", "add b")
	x.run("push", "-q", "origin", "HEAD:refs/for/main")
	d, err := client.Change(ctx, 1)
	if err != nil || d.Patchset != 2 || d.Topic != "letters" {
		t.Fatalf("change 1 reads %+v, %v", d, err)
	}
	c, err := x.Change(ctx, x.project(), "2", "")
	if err != nil || len(c.GitNeeds) != 1 || c.GitNeeds[0] != change.ChangeKey(x.project(), "1", "2") {
		t.Errorf("change 2 needs %v (%v), want change 1", c.GitNeeds, err)
	}
	if err := client.Review(ctx, 1, Review{Message: "good", Votes: map[string]int{"Code-Review": 2}}); err != nil {
		t.Fatal(err)
	}
	if err := client.Review(ctx, 1, Review{Votes: map[string]int{"Code-Review": 7}}); !Refused(err) {
		t.Errorf("a vote of 7 gave %v, want a refusal", err)
	}
	if text, err := client.Diff(ctx, 2, 0); err != nil || !strings.Contains(text, "+b") {
		t.Errorf("the diff reads %q, %v", text, err)
	}
	if list, err := client.Changes(ctx, Filter{Status: StatusNew}); err != nil || len(list) != 2 {
		t.Errorf("%d changes are listed, %v, want 2", len(list), err)
	}
	x.run("fetch", "-q", "origin", "refs/changes/01/1/2")
	for _, r := range []struct{ ref, says string }{
		{"HEAD:refs/for/mian", "there are: main"},
		{"HEAD:main", "refs/for/main"},
		{"HEAD:refs/changes/01/1/3", "refs/for/main"},
		{"HEAD:refs/for/main", "no new changes"},
		{"HEAD:refs/for/main%frobnicate", "not known"},
	} {
		if out := x.refusedPush("origin", r.ref); !strings.Contains(out, r.says) {
			t.Errorf("push of %s was refused without %q:\n%s", r.ref, r.says, out)
		}
	}
}

// The administrator pushes to branches; the push is an event.
func TestAdministratorPushesDirectly(t *testing.T) {
	x, _ := served(t)
	x.commitFile("a", "a\n", "-m", "direct")
	u := strings.Replace(x.BaseURL, "http://", "http://admin:"+x.AdminToken+"@", 1) + "/a/org/project.git"
	x.run("push", "-q", u, "HEAD:main", "HEAD:refs/heads/stable", "HEAD:refs/tags/v1")
	var refs []string
	for _, e := range x.events {
		refs = append(refs, e.Type+" "+e.Ref)
	}
	slices.Sort(refs)
	if want := []string{"ref-updated main", "ref-updated refs/tags/v1", "ref-updated stable"}; !slices.Equal(refs, want) {
		t.Errorf("events %q, want %q", refs, want)
	}
	wrong := strings.Replace(x.BaseURL, "http://", "http://admin:nonsense@", 1) + "/a/org/project.git"
	x.refusedPush(wrong, "HEAD:refs/heads/other")
}
