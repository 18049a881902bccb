package merger

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
)

// Repos are bare copies of the projects, in one folder, kept up to date by fetching. Speculative merges
// are made in them as objects without refs. It is safe for use by many goroutines; several processes may
// share the folder.
type Repos struct {
	dir    string
	forges *forge.Set
	memo   memo

	mu    sync.Mutex
	repos map[change.Project]*repo
}

type repo struct {
	*git.Repo
	project change.Project

	mu sync.Mutex
	// last is the latest fetch that ended well; running, the one in progress; next, the one that begins after it and
	// serves everybody who came meanwhile.
	last, running, next *fetch
	// here are commits that were found, and when.
	here map[string]time.Time
}

// has tells whether a commit is here. What was found once is not looked for again for as long as merges are
// remembered.
func (x *repo) has(ctx context.Context, commit string) bool {
	x.mu.Lock()
	at, known := x.here[commit]
	x.mu.Unlock()
	if known && time.Since(at) < memory {
		return true
	}
	if has, err := x.Has(ctx, commit); err != nil || !has {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.here == nil || len(x.here) >= remembered {
		x.here = map[string]time.Time{}
	}
	x.here[commit] = time.Now()
	return true
}

type fetch struct {
	began time.Time
	refs  map[string]bool
	done  chan struct{}
	err   error

	mu   sync.Mutex
	tips map[string]string
}

// serves tells whether what the fetch brings, or brought, is what somebody needs who asked at a moment.
func (f *fetch) serves(since time.Time, refs []string) bool {
	return f != nil && !f.began.Before(since) && !slices.ContainsFunc(refs, func(ref string) bool { return !f.refs[ref] })
}

// state is all branches and tags as they were after the fetch; nobody may change it.
func (f *fetch) state(ctx context.Context, g *git.Repo) (map[string]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tips != nil {
		return f.tips, nil
	}
	refs, err := g.Refs(ctx, "refs/heads/", "refs/tags/")
	if err != nil {
		return nil, err
	}
	f.tips = make(map[string]string, len(refs))
	for _, ref := range refs {
		f.tips[ref.Name] = ref.Commit
	}
	return f.tips, nil
}

// NewRepos keeps its repositories below dir.
func NewRepos(dir string, forges *forge.Set) *Repos {
	return &Repos{dir: dir, forges: forges, repos: map[change.Project]*repo{}}
}

// Close ends the git processes that are kept open.
func (r *Repos) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.repos {
		_ = x.Close()
	}
}

// Path is the folder of a project's repository.
func (r *Repos) Path(p change.Project) string {
	return filepath.Join(r.dir, url.PathEscape(p.Connection), url.PathEscape(p.Name)+".git")
}

func (r *Repos) repo(p change.Project) (*repo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x := r.repos[p]; x != nil {
		return x, nil
	}
	g, err := git.Init(git.Config{Dir: r.Path(p)}, "main")
	if err != nil {
		return nil, err
	}
	x := &repo{Repo: g, project: p}
	r.repos[p] = x
	return x, nil
}

// Fresh gives a project's repository with all branches and tags, and the further refs, as they are at the
// forge now or were after the call began. Calls that come while a fetch runs share the next one.
func (r *Repos) Fresh(ctx context.Context, p change.Project, refs ...string) (*git.Repo, error) {
	x, _, err := r.since(ctx, p, time.Now(), refs)
	if err != nil {
		return nil, err
	}
	return x.Repo, nil
}

// Since is Fresh for somebody whom the state of the forge at an earlier moment serves as well: a gate that starts
// over asks for a hundred merges at once, and one fetch will do for all. It tells all branches and tags, which the
// caller must not change.
func (r *Repos) Since(ctx context.Context, p change.Project, since time.Time, refs ...string) (*git.Repo, map[string]string, error) {
	x, f, err := r.since(ctx, p, since, refs)
	if err != nil {
		return nil, nil, err
	}
	tips, err := f.state(ctx, x.Repo)
	return x.Repo, tips, err
}

// maxAge is how old what a fetch found may be: whoever waited longer for a turn gets what is new.
const maxAge = 5 * time.Second

func (r *Repos) since(ctx context.Context, p change.Project, since time.Time, refs []string) (*repo, *fetch, error) {
	x, err := r.repo(p)
	if err != nil {
		return nil, nil, err
	}
	remote, err := r.forges.Remote(p)
	if err != nil {
		return nil, nil, err
	}
	if oldest := time.Now().Add(-maxAge); since.Before(oldest) {
		since = oldest
	}
	f, err := x.fetch(ctx, git.Remote{URL: remote.URL, Env: remote.Env}, since, refs)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch %s: %w", p, err)
	}
	return x, f, nil
}

func (x *repo) fetch(ctx context.Context, remote git.Remote, since time.Time, refs []string) (*fetch, error) {
	x.mu.Lock()
	if x.last.serves(since, refs) {
		defer x.mu.Unlock()
		return x.last, nil
	}
	if f := x.running; f.serves(since, refs) {
		x.mu.Unlock()
		return f, f.wait(ctx)
	}
	f := x.next
	if f == nil {
		f = &fetch{refs: map[string]bool{}, done: make(chan struct{})}
		x.next = f
		go x.turn(context.WithoutCancel(ctx), remote, f)
	}
	for _, ref := range refs {
		f.refs[ref] = true
	}
	x.mu.Unlock()
	return f, f.wait(ctx)
}

func (f *fetch) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn waits for the fetch in progress and then does f. A fetch is bounded in time by git.Transfer.
func (x *repo) turn(ctx context.Context, remote git.Remote, f *fetch) {
	defer close(f.done)
	defer func() {
		if f.err == nil {
			x.mu.Lock()
			x.last = f
			x.mu.Unlock()
		}
	}()
	x.mu.Lock()
	before := x.running
	x.mu.Unlock()
	if before != nil {
		<-before.done
	}
	x.mu.Lock()
	x.running, x.next, f.began = f, nil, time.Now()
	refs := make([]string, 0, len(f.refs))
	for ref := range f.refs {
		refs = append(refs, ref)
	}
	x.mu.Unlock()
	slices.Sort(refs)
	f.err = x.Fetch(ctx, remote, git.FetchOptions{Refspecs: []string{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}, Prune: true})
	if f.err != nil || len(refs) == 0 {
		return
	}
	specs := make([]string, len(refs))
	for i, ref := range refs {
		specs[i] = "+" + ref + ":" + ref
	}
	f.err = x.Fetch(ctx, remote, git.FetchOptions{Refspecs: specs})
	if f.err == nil || len(specs) == 1 {
		return
	}
	// One ref that is gone must not keep the others from those who share this fetch.
	f.err = nil
	for _, s := range specs {
		_ = x.Fetch(ctx, remote, git.FetchOptions{Refspecs: []string{s}})
	}
}

// State is all branches and tags of some projects at one moment: commits by full ref name, by canonical
// project name.
type State map[string]map[string]string

// files reads configuration files at a commit: each path that is a file, and all files below each that
// ends with a slash.
func files(ctx context.Context, g *git.Repo, commit string, paths []string) (map[string]string, error) {
	all, err := g.ListFiles(ctx, commit, "")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, e := range all {
		if e.Mode == "160000" || !covered(e.Path, paths) {
			continue
		}
		b, err := g.ReadFile(ctx, commit, e.Path)
		if err != nil {
			return nil, fmt.Errorf("read %s at %s: %w", e.Path, commit, err)
		}
		out[e.Path] = string(b)
	}
	return out, nil
}

func covered(path string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return path == p || (strings.HasSuffix(p, "/") && strings.HasPrefix(path, p))
	})
}
