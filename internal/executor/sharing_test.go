package executor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/pipeline"
)

// A job may do with its workspace what it likes: builds of other buildsets have what was merged.
func TestWorkspacesOfOtherBuildsetsAreTheirOwn(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", map[string]string{"a": "as it was merged\n"})
	p := proj("org/app")
	all := refs(w.states[p.Canonical()])
	at := checkout{Ref: "refs/heads/main", Name: "main", Commit: all["refs/heads/main"]}
	lay := func(id pipeline.BuildsetID, dir string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), dir)
		if err := w.x.views.workspace(t.Context(), id, p, all, all, at, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	objects := func(dir string) (out []string) {
		t.Helper()
		if err := filepath.WalkDir(filepath.Join(dir, ".git", "objects"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				out = append(out, path)
			}
			return err
		}); err != nil || len(out) == 0 {
			t.Fatalf("%d objects, %v", len(out), err)
		}
		return out
	}
	harmful, beside := lay("one", "harmful"), lay("one", "beside")
	for i, path := range objects(harmful) {
		mine, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.Stat(objects(beside)[i])
		if err != nil || !os.SameFile(mine, other) {
			t.Errorf("builds of a buildset do not share %s: %v", filepath.Base(path), err)
		}
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("poison"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{lay("two", "next"), w.x.views.made[viewOf(t, w)].path} {
		w.git(dir, "fsck", "--full", "--strict")
		if text := w.git(dir, "show", "HEAD:a"); strings.TrimSpace(text) != "as it was merged" {
			t.Errorf("%s has %q", dir, text)
		}
	}
}

func viewOf(t *testing.T, w *world) string {
	t.Helper()
	for k := range w.x.views.made {
		if strings.HasPrefix(k, "view-") {
			return k
		}
	}
	t.Fatal("there is no view")
	return ""
}

// Git would take the name of such a branch for an option of its own.
func TestBranchesThatLookLikeOptions(t *testing.T) {
	w := newWorld(t, nil)
	dir := w.repo("org/app", map[string]string{"a": "a\n"})
	err := point(t.Context(), dir, checkout{Ref: "refs/heads/--pathspec-from-file=/etc/passwd", Name: "x"})
	if err == nil || strings.Contains(err.Error(), "root:") {
		t.Errorf("checked out: %v", err)
	}
}

// What a build has written is found wherever it puts it.
func TestUsageIsNotToBeHiddenFrom(t *testing.T) {
	dir := t.TempDir()
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := usage(dir)
	grown := func(what string, least, most int64) {
		t.Helper()
		now := usage(dir)
		if n := now - base; n < least<<20 || n > most<<20+1<<19 {
			t.Errorf("%s: %d KiB more", what, n>>10)
		}
		base = now
	}
	write(filepath.Join(dir, "a"))
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	grown("a file of two names", 1, 1)

	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(closed, "a"))
	if err := os.Chmod(closed, 0o300); err != nil {
		t.Fatal(err)
	}
	grown("a folder that cannot be listed", 1, 1)

	deep := dir
	fd, err := syscall.Open(dir, syscall.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 200)
	for range 60 { // twice what a path can have
		if err := syscall.Mkdirat(fd, name, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := syscall.Openat(fd, name, syscall.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Close(fd)
		fd, deep = next, filepath.Join(deep, name)
	}
	f, err := syscall.Openat(fd, "a", syscall.O_CREAT|syscall.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(f, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	_, _ = syscall.Close(f), syscall.Close(fd)
	if len(deep) < 2*unix.PathMax {
		t.Fatalf("the path is no longer than %d", len(deep))
	}
	grown("a path too long to be named", 1, 1)
	if err := removeTree(dir); err != nil {
		t.Error(err)
	}
}
