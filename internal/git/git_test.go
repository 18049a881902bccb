package git_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/git"
)

var who = git.Signature{Name: "Gozer", Email: "gozer@example.com", When: time.Unix(1_700_000_000, 0).UTC()}

// history is a repository with the commits that the tests need, made by the git program.
type history struct {
	*git.Repo
	dir string
	t   testing.TB
}

func newHistory(t testing.TB) *history {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r.git")
	r, err := git.Init(git.Config{Dir: dir}, "main")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &history{Repo: r, dir: dir, t: t}
}

// commit makes a commit with exactly these files on the parents, by fast-import.
func (h *history) commit(msg string, files map[string]string, parents ...string) string {
	h.t.Helper()
	var b strings.Builder
	b.WriteString("commit refs/tmp/x\nmark :1\nauthor A <a@example.com> 1600000000 +0200\ncommitter A <a@example.com> 1600000000 +0200\n")
	data := func(s string) { b.WriteString("data " + itoa(len(s)) + "\n" + s + "\n") }
	data(msg)
	for i, p := range parents {
		b.WriteString([]string{"from ", "merge "}[min(i, 1)] + p + "\n")
	}
	b.WriteString("deleteall\n")
	for name, text := range files {
		b.WriteString("M 100644 inline " + name + "\n")
		data(text)
	}
	b.WriteString("get-mark :1\n")
	cmd := exec.Command("git", "--git-dir="+h.dir, "fast-import", "--quiet", "--force", "--cat-blob-fd=1")
	cmd.Stdin = strings.NewReader(b.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("fast-import: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func itoa(n int) string {
	var s string
	for ; n > 9; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return string(rune('0'+n)) + s
}

func (h *history) files(commit string) map[string]string {
	h.t.Helper()
	entries, err := h.ListFiles(h.t.Context(), commit, "")
	if err != nil {
		h.t.Fatal(err)
	}
	m := map[string]string{}
	for _, e := range entries {
		b, err := h.ReadFile(h.t.Context(), commit, e.Path)
		if err != nil {
			h.t.Fatal(err)
		}
		m[e.Path] = string(b)
	}
	return m
}

func TestMergeModes(t *testing.T) {
	h := newHistory(t)
	root := h.commit("root", map[string]string{"a": "1\n", "b": "1\n"})
	main := h.commit("main", map[string]string{"a": "2\n", "b": "1\n"}, root)
	c1 := h.commit("first", map[string]string{"a": "1\n", "b": "2\n"}, root)
	c2 := h.commit("second", map[string]string{"a": "1\n", "b": "2\n", "dir/c": "1\n"}, c1)
	for _, tc := range []struct {
		mode    git.Mode
		files   map[string]string
		parents []string
		message string
		author  string
	}{
		{git.Merge, map[string]string{"a": "2\n", "b": "2\n", "dir/c": "1\n"}, []string{main, c2}, "msg\n", "Gozer"},
		{git.MergeResolve, map[string]string{"a": "2\n", "b": "2\n", "dir/c": "1\n"}, []string{main, c2}, "msg\n", "Gozer"},
		{git.SquashMerge, map[string]string{"a": "2\n", "b": "2\n", "dir/c": "1\n"}, []string{main}, "msg\n", "A"},
		{git.CherryPick, map[string]string{"a": "2\n", "b": "1\n", "dir/c": "1\n"}, []string{main}, "second\n", "A"},
		{git.Rebase, map[string]string{"a": "2\n", "b": "2\n", "dir/c": "1\n"}, nil, "second\n", "A"},
	} {
		t.Run(string(tc.mode), func(t *testing.T) {
			req := git.MergeRequest{Mode: tc.mode, Base: main, Change: c2, Message: "msg", By: who}
			res, err := h.Merge(t.Context(), req)
			if err != nil || res.Conflict != nil {
				t.Fatalf("Merge = %+v, %v", res, err)
			}
			if d := cmp.Diff(tc.files, h.files(res.Commit)); d != "" {
				t.Errorf("files (-want +got):\n%s", d)
			}
			c, err := h.ReadCommit(t.Context(), res.Commit)
			if err != nil {
				t.Fatal(err)
			}
			if tc.parents != nil && !slices.Equal(c.Parents, tc.parents) {
				t.Errorf("parents %v, want %v", c.Parents, tc.parents)
			}
			if c.Message != tc.message || c.Author.Name != tc.author || c.Committer.Name != "Gozer" || !c.Committer.When.Equal(who.When) {
				t.Errorf("commit %+v", c)
			}
			if again, err := h.Merge(t.Context(), req); err != nil || again != res {
				t.Errorf("the same merge again = %+v, %v; want %+v", again, err, res)
			}
			if tc.mode == git.CherryPick {
				return // the first commit is not part of it
			}
			done, err := h.Merge(t.Context(), git.MergeRequest{Mode: tc.mode, Base: res.Commit, Change: c2, Message: "again", By: who})
			if err != nil || done.Commit != res.Commit && tc.mode != git.SquashMerge {
				t.Errorf("merge of what is merged = %+v, %v; want %s", done, err, res.Commit)
			}
		})
	}
	out, err := exec.Command("git", "--git-dir="+h.dir, "fsck", "--strict").CombinedOutput()
	if err != nil {
		t.Errorf("git fsck: %v: %s", err, out)
	}
}

func TestMergeConflict(t *testing.T) {
	h := newHistory(t)
	root := h.commit("root", map[string]string{"a": "1\n", "x": "1\n"})
	main := h.commit("main", map[string]string{"a": "2\n", "x": "2\n"}, root)
	c := h.commit("change", map[string]string{"a": "3\n", "x": "3\n"}, root)
	alone := h.commit("alone", map[string]string{"z": "1\n"})
	for _, mode := range git.Modes() {
		res, err := h.Merge(t.Context(), git.MergeRequest{Mode: mode, Base: main, Change: c, By: who})
		if err != nil || res.Conflict == nil || !slices.Equal(res.Conflict.Files, []string{"a", "x"}) || res.Commit != "" {
			t.Errorf("%s: %+v %+v, %v; want conflict in a, x", mode, res, res.Conflict, err)
		}
		res, err = h.Merge(t.Context(), git.MergeRequest{Mode: mode, Base: main, Change: alone, By: who})
		if err != nil || res.Conflict == nil || res.Conflict.Reason == "" {
			t.Errorf("%s of an unrelated commit: %+v, %v; want a conflict with a reason", mode, res, err)
		}
	}
	// The process that refused is replaced.
	if res, err := h.Merge(t.Context(), git.MergeRequest{Base: root, Change: c, By: who}); err != nil || res.Commit == "" {
		t.Errorf("merge after a refusal: %+v, %v", res, err)
	}
	if _, err := h.MergeTree(t.Context(), main, strings.Repeat("1", 40), git.TreeOptions{}); err == nil {
		t.Error("merge of a commit that does not exist: no error")
	}
}

func TestMergeFollowsRenames(t *testing.T) {
	h := newHistory(t)
	long := strings.Repeat("line\n", 20)
	root := h.commit("root", map[string]string{"old": long})
	main := h.commit("main", map[string]string{"new": long}, root)
	c := h.commit("change", map[string]string{"old": long + "more\n"}, root)
	res, err := h.Merge(t.Context(), git.MergeRequest{Mode: git.Merge, Base: main, Change: c, By: who})
	if err != nil || res.Conflict != nil {
		t.Fatalf("merge: %+v, %v", res, err)
	}
	if d := cmp.Diff(map[string]string{"new": long + "more\n"}, h.files(res.Commit)); d != "" {
		t.Error(d)
	}
}

func TestUpdateRefs(t *testing.T) {
	h := newHistory(t)
	ctx := t.Context()
	a, b := h.commit("a", map[string]string{"a": "1"}), h.commit("b", map[string]string{"a": "2"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/x", New: a, Old: git.Zero}, git.RefUpdate{Ref: "refs/heads/y", New: a, Old: git.Zero}))
	err := h.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/x", New: b, Old: a}, git.RefUpdate{Ref: "refs/heads/y", New: b, Old: b})
	if !errors.Is(err, git.ErrMoved) {
		t.Errorf("update with a wrong old value: %v; want ErrMoved", err)
	}
	if got, err := h.ResolveRef(ctx, "refs/heads/x"); err != nil || got != a {
		t.Errorf("x is %s, %v: the refused transaction wrote it", got, err)
	}
	must(h.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/x", New: b})) // whatever it was
	must(h.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/y", New: git.Zero}))
	if got, err := h.ResolveRef(ctx, "refs/heads/x"); err != nil || got != b {
		t.Errorf("x is %s, %v, want %s", got, err, b)
	}
	if _, err := h.ResolveRef(ctx, "refs/heads/y"); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("y was deleted whatever it was: %v", err)
	}
	must(h.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/x", New: git.Zero, Old: b}))
	if _, err := h.ResolveRef(ctx, "refs/heads/x"); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("deleted ref: %v; want ErrNotFound", err)
	}
	for _, name := range []string{"-x", "refs/heads/a b", "refs/heads/a\nb", "refs/heads/../x", "refs/heads/x.lock", "heads/x", "refs/heads/"} {
		if err := h.UpdateRefs(ctx, git.RefUpdate{Ref: name, New: a}); err == nil {
			t.Errorf("ref %q was accepted", name)
		}
	}
}

func TestRemoteRefused(t *testing.T) {
	h := newHistory(t)
	for _, u := range []string{"", "-x", "--upload-pack=touch /tmp/x", "ext::sh -c id", "relative/path", "ftp://x/y", "ssh://-oProxyCommand=x/y", "a\nb:c"} {
		if err := h.Fetch(t.Context(), git.Remote{URL: u}, git.FetchOptions{Refspecs: []string{"refs/heads/x:refs/heads/x"}}); err == nil || errorsIsExec(err) {
			t.Errorf("remote %q: %v; want refusal before git runs", u, err)
		}
	}
	for _, s := range []string{"--force", "a:b", ":refs/heads/x", "refs/heads/*:refs/*/*"} {
		if err := h.Fetch(t.Context(), git.Remote{URL: h.dir}, git.FetchOptions{Refspecs: []string{s}}); err == nil || errorsIsExec(err) {
			t.Errorf("refspec %q: %v; want refusal before git runs", s, err)
		}
	}
}

func errorsIsExec(err error) bool {
	var e *git.Error
	return errors.As(err, &e)
}

func TestKindsOfErrors(t *testing.T) {
	r := newHistory(t)
	err := r.Fetch(t.Context(), git.Remote{URL: "file:///no/such/repository"}, git.FetchOptions{Refspecs: []string{"+refs/heads/*:refs/heads/*"}})
	if !errors.Is(err, git.ErrGone) || errors.Is(err, git.ErrRefused) {
		t.Errorf("no repository: %v", err)
	}
	for text, kind := range map[string]error{
		"remote: Repository not found.\nfatal: repository 'https://x/' not found":              git.ErrGone,
		"fatal: unable to access 'https://x/': The requested URL returned error: 403":          git.ErrRefused,
		"git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.": git.ErrRefused,
		"fatal: could not read Username for 'https://x': terminal prompts disabled":            git.ErrRefused,
		"Host key verification failed.":                                                                       git.ErrRefused,
		"fatal: unable to access 'https://x/': Failed to connect to x port 443":                               nil,
		"fatal: unable to access 'https://x/': The requested URL returned error: 502":                         nil,
		"ssh: connect to host x port 22: Connection timed out\nfatal: Could not read from remote repository.": nil,
	} {
		for _, k := range []error{git.ErrGone, git.ErrRefused} {
			if got := errors.Is(&git.Error{Stderr: text, Err: errors.New("exit status 128")}, k); got != (k == kind) {
				t.Errorf("%q is %v: %t", text, k, got)
			}
		}
	}
}

func TestErrorHidesCredentials(t *testing.T) {
	h := newHistory(t)
	err := h.Fetch(t.Context(), git.Remote{URL: "http://user:hunter2@127.0.0.1:1/x"}, git.FetchOptions{Refspecs: []string{"refs/heads/x:refs/heads/x"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v: want the address without the password", err)
	}
}

func TestFetchPushWorkspace(t *testing.T) {
	a, b := newHistory(t), newHistory(t)
	ctx := t.Context()
	c1 := a.commit("c1", map[string]string{"f": "1", "d/g": "2"})
	c2 := a.commit("c2", map[string]string{"f": "2", "d/g": "2"}, c1)
	if err := a.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/main", New: c1}, git.RefUpdate{Ref: "refs/heads/old", New: c1}); err != nil {
		t.Fatal(err)
	}
	all := git.FetchOptions{Refspecs: []string{"+refs/heads/*:refs/heads/*"}, Prune: true}
	if err := b.Fetch(ctx, git.Remote{URL: a.dir}, all); err != nil {
		t.Fatal(err)
	}
	if err := a.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/old", New: git.Zero, Old: c1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Fetch(ctx, git.Remote{URL: a.dir}, all); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Branches(ctx); err != nil || cmp.Diff(map[string]string{"main": c1}, got) != "" {
		t.Errorf("branches after prune: %v, %v", got, err)
	}
	// A commit without a ref, as the forge fetches a merge result from the merger.
	if err := b.Fetch(ctx, git.Remote{URL: a.dir}, git.FetchOptions{Refspecs: []string{c2}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Push(ctx, git.Remote{URL: a.dir}, git.Transfer{}, git.RefUpdate{Ref: "refs/heads/main", New: c2, Old: c2}); !errors.Is(err, git.ErrMoved) {
		t.Errorf("push with a wrong old commit: %v; want ErrMoved", err)
	}
	if err := b.Push(ctx, git.Remote{URL: a.dir}, git.Transfer{}, git.RefUpdate{Ref: "refs/heads/main", New: c2, Old: c1}); err != nil {
		t.Fatal(err)
	}
	refs, err := b.ListRemote(ctx, git.Remote{URL: a.dir}, git.Transfer{}, "refs/heads/*")
	if err != nil || len(refs) != 1 || refs[0].Object != c2 {
		t.Errorf("refs after push: %v, %v", refs, err)
	}
	for _, shared := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "ws")
		if err := b.MakeWorkspace(ctx, git.Workspace{Dir: dir, Branch: "main", Refs: map[string]string{"refs/heads/main": c2, "refs/heads/stable": c1}, Shared: shared}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != "2" {
			t.Errorf("work tree: %q, %v", got, err)
		}
		cmd := exec.Command("git", "-C", dir, "status", "--porcelain", "--branch")
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "## main\n" {
			t.Errorf("status of the workspace: %q, %v", out, err)
		}
	}
	dir := t.TempDir()
	if err := b.Export(ctx, c1, dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "d/g")); err != nil || string(got) != "2" {
		t.Errorf("exported file: %q, %v", got, err)
	}
	var tar strings.Builder
	if err := b.Archive(ctx, c1, "p/", &tar); err != nil || !strings.Contains(tar.String(), "p/d/g") {
		t.Errorf("archive: %v", err)
	}
}

func TestLog(t *testing.T) {
	h := newHistory(t)
	ctx := t.Context()
	root := h.commit("root", map[string]string{"a": "1"})
	c1 := h.commit("one\n\nbody", map[string]string{"a": "2"}, root)
	c2 := h.commit("two", map[string]string{"a": "2"}, c1)
	side := h.commit("side", map[string]string{"a": "1", "s p": "1"}, root)
	m := h.commit("merge", map[string]string{"a": "2", "s": "1"}, c2, side)
	got, err := h.Log(ctx, git.LogOptions{From: []string{m}, Files: true})
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	files := map[string][]string{}
	for i, c := range got {
		at[c.ID], files[c.Subject()] = i, c.Files
	}
	if len(got) != 5 || at[root] != 0 || at[m] != 4 || at[c1] > at[c2] {
		t.Errorf("order: %v", at)
	}
	want := map[string][]string{"root": {"a"}, "one": {"a"}, "two": nil, "merge": {"s"}, "side": {"s p"}}
	if d := cmp.Diff(want, files); d != "" {
		t.Error(d)
	}
	if c := got[at[c1]]; c.Message != "one\n\nbody\n" || c.Author.Email != "a@example.com" || c.Author.When.Unix() != 1600000000 {
		t.Errorf("commit %+v", c)
	}
	if base, err := h.MergeBase(ctx, c2, side); err != nil || base != root {
		t.Errorf("merge base %s, %v", base, err)
	}
	if f, err := h.ChangedFiles(ctx, root, side); err != nil || len(f) != 1 {
		t.Errorf("changed files %q, %v", f, err)
	}
	if d, err := h.Diff(ctx, root, c1, 1000); err != nil || !strings.Contains(d, "+2") {
		t.Errorf("diff %q, %v", d, err)
	}
}

func TestQuarantine(t *testing.T) {
	a, b := newHistory(t), newHistory(t)
	ctx := t.Context()
	c := a.commit("c", map[string]string{"f": "1"})
	pack := func(revs string) string {
		cmd := exec.Command("git", "--git-dir="+a.dir, "pack-objects", "--stdout", "--revs", "-q")
		cmd.Stdin = strings.NewReader(revs)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	q, err := b.Receive(ctx, strings.NewReader(pack(c+"\n")), 0)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := b.Has(ctx, c); ok || err != nil {
		t.Errorf("quarantined object is visible: %v", err)
	}
	if log, err := b.Log(ctx, git.LogOptions{From: []string{c}, Quarantine: q}); err != nil || len(log) != 1 {
		t.Errorf("log in quarantine: %v, %v", log, err)
	}
	if err := q.Accept(); err != nil {
		t.Fatal(err)
	}
	if ok, err := b.Has(ctx, c); !ok || err != nil {
		t.Errorf("accepted object is missing: %v", err)
	}
	c2 := a.commit("c2", map[string]string{"f": "2"}, c)
	c3 := a.commit("c3", map[string]string{"f": "3"}, c2)
	for name, p := range map[string]string{"a pack with a missing parent": pack(c3 + "\n^" + c2 + "\n"), "garbage": "PACKgarbage", "nothing": ""} {
		if _, err := b.Receive(ctx, strings.NewReader(p), 0); err == nil {
			t.Errorf("%s was received", name)
		}
	}
	left, err := filepath.Glob(filepath.Join(b.dir, "objects", "tmp_objdir*"))
	if err != nil || len(left) != 0 {
		t.Errorf("quarantines left: %v, %v", left, err)
	}
}

func TestCancelEndsProcess(t *testing.T) {
	dir := t.TempDir()
	slow := filepath.Join(dir, "git")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\necho $$ > "+dir+"/pid\nexec sleep 1200\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHistory(t)
	r, err := git.Open(git.Config{Dir: h.dir, Program: slow})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := r.Refs(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled command: %v", err)
	}
	if d := time.Since(start); d > 10*time.Minute {
		t.Errorf("the cancel took %v: the command ended by itself", d)
	}
}

func TestVersion(t *testing.T) {
	if _, err := git.Version(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "git")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho git version 2.30.2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := git.Version(t.Context(), old); !errors.Is(err, git.ErrTooOld) || !strings.Contains(err.Error(), "2.38") {
		t.Errorf("git 2.30: %v; want ErrTooOld that names 2.38", err)
	}
}

func BenchmarkMerge(b *testing.B) {
	h := newHistory(b)
	root := h.commit("root", map[string]string{"a": "1\n", "b": "1\n"})
	main := h.commit("main", map[string]string{"a": "2\n", "b": "1\n"}, root)
	c := h.commit("first", map[string]string{"a": "1\n", "b": "2\n"}, root)
	for b.Loop() {
		if _, err := h.Merge(b.Context(), git.MergeRequest{Base: main, Change: c, By: who, Message: b.Name()}); err != nil {
			b.Fatal(err)
		}
	}
}
