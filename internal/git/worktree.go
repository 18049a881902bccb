package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Export writes the files of a commit to directory dir, which is made, and may hold files of
// others. No .git appears there.
func (r *Repo) Export(ctx context.Context, commit, dir string) error {
	if err := errors.Join(checkID("commit", commit), checkAbs(dir)); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("export %s: %w", commit, err)
	}
	tmp, err := os.MkdirTemp("", "gozer-index-")
	if err != nil {
		return fmt.Errorf("export %s: %w", commit, err)
	}
	defer os.RemoveAll(tmp)
	_, err = r.run(ctx, command{
		args: []string{"--work-tree=" + dir, "read-tree", "--reset", "-u", commit},
		env:  []string{"GIT_INDEX_FILE=" + filepath.Join(tmp, "index")},
	})
	return err
}

// Archive writes the files of a commit to w as a tar file, below prefix.
func (r *Repo) Archive(ctx context.Context, commit, prefix string, w io.Writer) error {
	if err := checkID("commit", commit); err != nil {
		return err
	}
	_, err := r.run(ctx, command{args: []string{"archive", "--format=tar", "--prefix=" + prefix, commit}, stdout: w})
	return err
}

// Workspace is a repository with a work tree, as jobs get it.
type Workspace struct {
	// Dir is the work tree; it must not exist.
	Dir string
	// Branch is checked out; it must be among Refs.
	Branch string
	// Refs are the full names of the refs that it has, and their objects. Nothing else of this
	// repository can be reached in it.
	Refs map[string]string
	// Shared borrows objects from this repository in place of copying them: it takes no time, and
	// the workspace is good only as long as, and where, this repository can be read.
	Shared bool
}

// MakeWorkspace makes a repository with a work tree from this one. An error leaves nothing behind.
func (r *Repo) MakeWorkspace(ctx context.Context, w Workspace) (err error) {
	if err := checkAbs(w.Dir); err != nil {
		return err
	}
	head := "refs/heads/" + w.Branch
	commit, ok := w.Refs[head]
	if !ok {
		return fmt.Errorf("make workspace %s: branch %q is not among its refs", w.Dir, w.Branch)
	}
	gitDir := filepath.Join(w.Dir, ".git")
	if _, err := os.Lstat(w.Dir); err == nil {
		return fmt.Errorf("make workspace %s: it exists", w.Dir)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(w.Dir)
		}
	}()
	if err := initBare(gitDir, w.Branch); err != nil {
		return fmt.Errorf("make workspace %s: %w", w.Dir, err)
	}
	const config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
	if err := os.WriteFile(filepath.Join(gitDir, "config"), []byte(config), 0o644); err != nil {
		return fmt.Errorf("make workspace %s: %w", w.Dir, err)
	}
	ws := &Repo{cfg: Config{Dir: gitDir, Env: r.cfg.Env, Program: r.cfg.Program}}
	defer ws.Close()
	if err := r.lend(ctx, ws, w); err != nil {
		return err
	}
	updates := make([]RefUpdate, 0, len(w.Refs))
	for name, id := range w.Refs {
		updates = append(updates, RefUpdate{Ref: name, New: id, Old: Zero})
	}
	if err := ws.UpdateRefs(ctx, updates...); err != nil {
		return err
	}
	_, err = ws.run(ctx, command{args: []string{"--work-tree=" + w.Dir, "read-tree", "--reset", "-u", commit}})
	return err
}

// lend gives ws the objects that it needs: by reference, or as a pack.
func (r *Repo) lend(ctx context.Context, ws *Repo, w Workspace) error {
	if w.Shared {
		text := filepath.Join(r.cfg.Dir, "objects") + "\n"
		return os.WriteFile(filepath.Join(ws.cfg.Dir, "objects/info/alternates"), []byte(text), 0o644)
	}
	o := FetchOptions{}
	seen := map[string]bool{}
	for _, id := range w.Refs {
		if !seen[id] {
			seen[id] = true
			o.Refspecs = append(o.Refspecs, id)
		}
	}
	return ws.Fetch(ctx, Remote{URL: r.cfg.Dir}, o)
}

func checkAbs(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("directory %q must be absolute", dir)
	}
	return nil
}
