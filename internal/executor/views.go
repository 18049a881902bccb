package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// views are source trees that builds share: for each project and state of its refs one repository, made
// once from the bare copy and given to jobs as cheap copies; and for each commit from which playbooks and
// roles are read one plain folder, which sandboxes see read-only.
type views struct {
	dir     string
	sources Sources
	remerge func(ctx context.Context, g *git.Repo, op *pipeline.MergeOp, base string, when time.Time) (string, error)
	log     *slog.Logger

	// making are the folders that are under way: whoever asked for one may be gone before it is whole.
	making sync.WaitGroup

	mu    sync.Mutex
	made  map[string]*made
	repos map[change.Project]*git.Repo
}

// made is one folder that is being made, or is there.
type made struct {
	done  chan struct{}
	err   error
	path  string
	users int
	idle  time.Time
	keep  time.Duration
}

// How long a folder that nobody uses is kept: one that every build can use, and one of a buildset.
const (
	keepShared = 10 * time.Minute
	keepLent   = time.Minute
)

func newViews(dir string, s Sources, remerge func(context.Context, *git.Repo, *pipeline.MergeOp, string, time.Time) (string, error), log *slog.Logger) *views {
	return &views{dir: dir, sources: s, remerge: remerge, log: log, made: map[string]*made{}, repos: map[change.Project]*git.Repo{}}
}

func (v *views) close() error {
	v.making.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, r := range v.repos {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// repo is a project's bare repository with all of the commits in it, fetched only where one is missing.
func (v *views) repo(ctx context.Context, p change.Project, commits ...string) (*git.Repo, error) {
	v.mu.Lock()
	r := v.repos[p]
	if r == nil {
		if o, err := git.Open(git.Config{Dir: v.sources.Path(p)}); err == nil {
			r, v.repos[p] = o, o
		}
	}
	v.mu.Unlock()
	if r != nil {
		missing, err := lacking(ctx, r, commits)
		if err != nil || missing == "" {
			return r, err
		}
	}
	return v.sources.Fresh(ctx, p)
}

func lacking(ctx context.Context, r *git.Repo, commits []string) (string, error) {
	for _, c := range commits {
		has, err := r.Has(ctx, c)
		if err != nil {
			return "", err
		}
		if !has {
			return c, nil
		}
	}
	return "", nil
}

// errMerge: a merge could not be repeated as the merger had made it.
var errMerge = errors.New("the merge cannot be repeated")

// ensure makes the buildset's speculative commits available here: they are there where the merger works
// on the same machine; else its merges are repeated, and must come to the same commits.
func (v *views) ensure(ctx context.Context, s *pipeline.Start) error {
	if s.Merge == nil {
		return nil
	}
	for i, c := range s.Merge.Commits {
		if c.Commit == "" || c.Commit == change.Zero {
			continue
		}
		r, err := v.repo(ctx, c.Project)
		if err != nil {
			return err
		}
		if has, err := r.Has(ctx, c.Commit); err != nil || has {
			if err != nil {
				return err
			}
			continue
		}
		if i >= len(s.Operations) || v.remerge == nil {
			return fmt.Errorf("%w: commit %s of %s is not here", errMerge, c.Commit, c.Project)
		}
		op := s.Operations[i]
		if op.Ref == "" {
			r, err = v.sources.Fresh(ctx, c.Project)
		} else {
			r, err = v.sources.Fresh(ctx, c.Project, op.Ref)
		}
		if err != nil {
			return err
		}
		if op.NewRev != "" {
			continue // a ref that was fetched, nothing to merge
		}
		got, err := v.remerge(ctx, r, op, c.Base, s.Time)
		if err != nil {
			return fmt.Errorf("%w: %w", errMerge, err)
		}
		if got != c.Commit {
			return fmt.Errorf("%w: merging %s into %s gave %s, not %s as the merger had", errMerge, op.Key, c.Project, got, c.Commit)
		}
	}
	return nil
}

// shared gives the folder of a key, made by the first who asks. release says that it is no longer used; then it is kept
// for a while.
func (v *views) shared(ctx context.Context, key string, keep time.Duration, fill func(ctx context.Context, path string) error) (path string, release func(), err error) {
	v.mu.Lock()
	m := v.made[key]
	if m == nil {
		m = &made{done: make(chan struct{}), path: filepath.Join(v.dir, key), keep: keep}
		v.made[key] = m
		v.making.Go(func() {
			m.err = v.build(context.WithoutCancel(ctx), m.path, fill)
			close(m.done)
		})
	}
	m.users++
	v.mu.Unlock()
	release = sync.OnceFunc(func() { v.leave(key, m) })
	select {
	case <-m.done:
	case <-ctx.Done():
		release()
		return "", nil, context.Cause(ctx)
	}
	if m.err != nil {
		release()
		return "", nil, m.err
	}
	return m.path, release, nil
}

// build makes a folder under another name first: what has its name is whole.
func (v *views) build(ctx context.Context, path string, fill func(ctx context.Context, path string) error) error {
	tmp := path + ".new"
	if err := removeTree(tmp); err != nil {
		return err
	}
	if err := fill(ctx, tmp); err != nil {
		return errors.Join(err, removeTree(tmp))
	}
	return os.Rename(tmp, path)
}

// leave counts a user less and removes what nobody has used for a while.
func (v *views) leave(key string, m *made) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m.users--
	m.idle = time.Now()
	if m.users == 0 && m.err != nil {
		delete(v.made, key)
	}
	for k, old := range v.made {
		if old.users == 0 && time.Since(old.idle) > old.keep {
			delete(v.made, k)
			go removeTree(old.path)
		}
	}
}

func key(kind string, p change.Project, parts ...string) string {
	sum := sha256.Sum256([]byte(p.Connection + "\x00" + p.Canonical() + "\x00" + strings.Join(parts, "\x00")))
	return kind + "-" + p.Short() + "-" + hex.EncodeToString(sum[:12])
}

// tree is a read-only folder with the files of a commit, without history.
func (v *views) tree(ctx context.Context, p change.Project, commit string) (string, func(), error) {
	return v.shared(ctx, key("tree", p, commit), keepShared, func(ctx context.Context, path string) error {
		r, err := v.repo(ctx, p, commit)
		if err != nil {
			return err
		}
		return r.Export(ctx, commit, path)
	})
}

// workspace puts a repository of its own at dir: branches and tags as in all, remote branches at bases,
// no remote to reach, and at checked out. Workspaces of one buildset share the files of objects. Not those of others:
// a job can alter what is linked into its workspace, whatever the permissions say, because the files are its user's.
func (v *views) workspace(ctx context.Context, id pipeline.BuildsetID, p change.Project, all, bases refs, at checkout, dir string) error {
	have := map[string]string{}
	var sum []string
	for name, commit := range all {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			have[name] = commit
		}
		if b, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			base := bases[name]
			if base == "" {
				base = commit
			}
			have["refs/remotes/origin/"+b] = base
		}
	}
	branch, onBranch := strings.CutPrefix(at.Ref, "refs/heads/")
	if !onBranch {
		have["refs/gozer/checkout"] = at.Commit
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		sum = append(sum, name+" "+have[name])
	}
	view, release, err := v.shared(ctx, key("view", p, sum...), keepShared, func(ctx context.Context, path string) error {
		r, err := v.repo(ctx, p, slices.Collect(maps.Values(have))...)
		if err != nil {
			return err
		}
		if !onBranch {
			if branch, err = anyBranch(have); err != nil {
				return err
			}
		}
		return makeView(ctx, r, path, branch, have)
	})
	if err != nil {
		return err
	}
	defer release()
	objects := filepath.Join(view, ".git", "objects")
	lent, release, err := v.shared(ctx, key("lent", p, append([]string{string(id)}, sum...)...), keepLent, func(_ context.Context, path string) error {
		return copyTree(objects, path, copyFile)
	})
	if err != nil {
		return err
	}
	defer release()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	link := func(object, to string) error {
		return linkFile(lent+strings.TrimPrefix(object, objects), to)
	}
	if err := copyTree(view, dir, link); err != nil {
		return err
	}
	return point(ctx, dir, at)
}

func anyBranch(have map[string]string) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if b, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			return b, nil
		}
	}
	return "", errors.New("the repository has no branch")
}

const viewConfig = `[remote "origin"]
	url = file:///dev/null
	fetch = +refs/heads/*:refs/remotes/origin/*
[gc]
	auto = 0
`

func makeView(ctx context.Context, r *git.Repo, path, branch string, have map[string]string) error {
	if err := r.MakeWorkspace(ctx, git.Workspace{Dir: path, Branch: branch, Refs: have}); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(path, ".git", "config"), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(viewConfig)
	return errors.Join(err, f.Close())
}

// point makes a copied view stand at its checkout: on the branch, or detached.
func point(ctx context.Context, dir string, at checkout) error {
	head, err := os.ReadFile(filepath.Join(dir, ".git", "HEAD"))
	if err != nil {
		return err
	}
	branch, onBranch := strings.CutPrefix(at.Ref, "refs/heads/")
	switch {
	case onBranch && strings.TrimSpace(string(head)) == "ref: "+at.Ref:
		return nil
	case onBranch && strings.HasPrefix(branch, "-"):
		return fmt.Errorf("branch %s cannot be checked out: git would take its name for an option", branch)
	}
	args := []string{"checkout", "--quiet", "--force", branch, "--"}
	if !onBranch {
		args = []string{"checkout", "--quiet", "--force", "--detach", at.Commit}
	}
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("check out %s in %s: %w: %s", at.Name, dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// copyTree copies a view: objects by the given function, all else by copyFile.
func copyTree(from, to string, object func(from, to string) error) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case e.IsDir():
			return os.MkdirAll(target, 0o755)
		case e.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case strings.HasPrefix(rel, ".git/objects/"):
			return object(path, target)
		}
		return copyFile(path, target)
	})
}

// linkFile gives a file another name, where the file system can.
func linkFile(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFile(from, to)
}

// copyFile copies a file, by reference where the file system can.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, st.Mode().Perm())
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		_, err = out.ReadFrom(in)
	}
	// The index knows files by their times.
	return errors.Join(err, out.Close(), os.Chtimes(to, st.ModTime(), st.ModTime()))
}

// head is the branch that HEAD of a project's bare copy names; empty where there is none.
func (v *views) head(p change.Project) string {
	r, err := git.Open(git.Config{Dir: v.sources.Path(p)})
	if err != nil {
		return ""
	}
	h, err := r.Head()
	if err != nil {
		return ""
	}
	return h
}
