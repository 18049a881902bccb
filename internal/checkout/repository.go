package checkout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/layout"
)

// repository is one that was found.
type repository struct {
	// dir is the working tree, plain folder or bare repository; git the repository, empty where there is none.
	dir, git string
	bare     bool
	// rev is the one revision that is read; empty: the working tree, or all branches.
	rev string
	// name is the project's: given (named), told by the remote, or that of the folder. Below: it was found in a
	// folder of repositories.
	name         string
	named, below bool
	// remote is the project's name at its remote, host where that is.
	remote, host  string
	defaultBranch string
	branches      []*branch
}

// branch is one branch of a repository with its files.
type branch struct {
	name string
	// rev is the revision that it is read from; empty: the files of the working tree. Commit is its object.
	rev, commit string
	files       map[string][]byte
}

func (r *repository) files() int {
	n := 0
	for _, b := range r.branches {
		n += len(b.files)
	}
	return n
}

// inspect asks git what the repositories are: branches, remote, default branch.
func inspect(ctx context.Context, repos []*repository, o Options) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for _, r := range repos {
		g.Go(func() error { return r.inspect(ctx, o) })
	}
	return g.Wait()
}

func (r *repository) inspect(ctx context.Context, o Options) error {
	refs, err := r.refs(ctx)
	if err != nil {
		if r.bare || r.rev != "" {
			return err
		}
		refs = &refList{} // git does not want to (owner, no program): the files are there all the same
	}
	if r.git != "" {
		r.readRemote()
	}
	r.defaultBranch = refs.defaultBranch()
	switch {
	case r.rev != "":
		b, err := r.revision(ctx, refs, o)
		if err != nil {
			return err
		}
		r.branches = []*branch{b}
	case r.bare:
		for _, name := range refs.sorted("refs/heads/") {
			r.branches = append(r.branches, &branch{name: name, rev: name, commit: refs.of["refs/heads/"+name]})
		}
	default:
		own := or(o.Branch, refs.target())
		r.branches = []*branch{{name: own}}
		if o.AllBranches {
			from := refs.from()
			for _, name := range refs.sorted(from) {
				if name != own && name != "HEAD" {
					r.branches = append(r.branches, &branch{name: name, rev: strings.TrimPrefix(from, "refs/") + name, commit: refs.of[from+name]})
				}
			}
		}
		if len(r.branches) == 1 {
			r.defaultBranch = own
		}
	}
	if r.defaultBranch == "" && len(r.branches) > 0 {
		r.defaultBranch = r.branches[0].name
	}
	return nil
}

// refList is what git knows of branches.
type refList struct {
	of map[string]string
	// head is the branch that is checked out (or that HEAD of a bare repository names); upstream its upstream;
	// originHead the remote's default branch.
	head, upstream, originHead string
}

// at says git where the repository is. Who has safe.bareRepository set has to name those.
func (r *repository) at() []string {
	if r.bare {
		return []string{"--git-dir=" + r.dir}
	}
	return []string{"-C", r.dir}
}

func (r *repository) refs(ctx context.Context) (*refList, error) {
	l := &refList{of: map[string]string{}}
	if r.git == "" {
		if r.rev != "" {
			return nil, fmt.Errorf("%s@%s: the folder is no git repository", r.dir, r.rev)
		}
		return l, nil
	}
	cmd := exec.CommandContext(ctx, "git", append(r.at(), "for-each-ref", "--format=%(refname)\t%(objectname)\t%(symref)\t%(HEAD)\t%(upstream)", "refs/heads", "refs/remotes/origin")...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the branches of %s: %w", r.dir, said(err))
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 5 {
			continue
		}
		l.of[f[0]] = f[1]
		if f[3] == "*" {
			l.head, l.upstream = strings.TrimPrefix(f[0], "refs/heads/"), strings.TrimPrefix(f[4], "refs/remotes/origin/")
		}
		if f[0] == "refs/remotes/origin/HEAD" {
			l.originHead = strings.TrimPrefix(f[2], "refs/remotes/origin/")
		}
	}
	if l.head == "" { // HEAD of a bare repository has no mark
		if text, err := os.ReadFile(filepath.Join(r.git, "HEAD")); err == nil {
			l.head = strings.TrimPrefix(strings.TrimSpace(string(text)), "ref: refs/heads/")
			if git.IsID(l.head) {
				l.head = ""
			}
		}
	}
	return l, nil
}

// said is what git wrote when it failed.
func said(err error) error {
	var x *exec.ExitError
	if errors.As(err, &x) && len(x.Stderr) > 0 {
		return errors.New(strings.TrimSpace(string(x.Stderr)))
	}
	return err
}

func (l *refList) sorted(prefix string) []string {
	var out []string
	for name := range l.of {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			out = append(out, short)
		}
	}
	slices.Sort(out)
	return out
}

// from is where the branches of the forge are.
func (l *refList) from() string {
	if len(l.sorted("refs/remotes/origin/")) > 0 {
		return "refs/remotes/origin/"
	}
	return "refs/heads/"
}

func (l *refList) defaultBranch() string {
	if l.originHead != "" {
		return l.originHead
	}
	for _, name := range []string{l.head, "main", "master"} {
		if name != "" && l.of[l.from()+name] != "" {
			return name
		}
	}
	return ""
}

// target is the branch that the working tree is a proposal for: the upstream of what is checked out, the branch
// of that name at the remote, the remote's default, and without a remote what is checked out.
func (l *refList) target() string {
	switch {
	case l.upstream != "" && l.upstream != "refs/heads/"+l.head:
		return strings.TrimPrefix(l.upstream, "refs/heads/")
	case l.of["refs/remotes/origin/"+l.head] != "":
		return l.head
	}
	return or(l.originHead, or(l.head, "master"))
}

// revision is one revision as the branch that it stands for.
func (r *repository) revision(ctx context.Context, l *refList, o Options) (*branch, error) {
	cmd := exec.CommandContext(ctx, "git", append(r.at(), "rev-parse", "--verify", "--end-of-options", r.rev+"^{commit}")...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s has no revision %q", shorten(r.dir), r.rev)
	}
	b := &branch{rev: r.rev, commit: strings.TrimSpace(string(out)), name: o.Branch}
	short := strings.TrimPrefix(r.rev, "origin/")
	switch {
	case b.name != "":
	case l.of[l.from()+short] != "":
		b.name = short
	default:
		b.name = or(l.defaultBranch(), l.target())
	}
	r.defaultBranch = b.name
	return b, nil
}

// readRemote finds the project's name and host in the URL of the remote origin.
func (r *repository) readRemote() {
	text, err := os.ReadFile(filepath.Join(r.git, "config"))
	if err != nil {
		return
	}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if ok && section == `[remote "origin"]` && strings.TrimSpace(key) == "url" {
			r.host, r.remote = remoteName(strings.TrimSpace(value))
		}
	}
}

// remoteName takes host and project out of the URL of a remote; nothing, where it is a path on this machine.
func remoteName(raw string) (host, name string) {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		path := strings.TrimPrefix(u.Path, "/a/") // Gerrit's prefix for those who have signed in
		return u.Hostname(), strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	}
	// user@host:path
	if head, path, ok := strings.Cut(raw, ":"); ok && !strings.Contains(head, "/") && len(head) > 1 {
		return head[strings.LastIndexByte(head, '@')+1:], strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	}
	return "", ""
}

// wanted are the branches to be read, with the further paths that tenants ask for.
type wanted map[*branch]*need

type need struct {
	repo  *repository
	extra []string
}

// add wants the branches of a repository that count for a project; nil: all.
func (w wanted) add(r *repository, x *config.TenantProject, load string) {
	if x == nil {
		for _, b := range r.branches {
			w[b] = &need{repo: r}
		}
		return
	}
	branches, _ := r.as(x, load)
	for _, b := range branches {
		if !counts(x, b.name) {
			continue
		}
		n := w[b.branch]
		if n == nil {
			n = &need{repo: r}
			w[b.branch] = n
		}
		for _, p := range x.ExtraConfigPaths {
			if !slices.Contains(n.extra, p) {
				n.extra = append(n.extra, p)
			}
		}
	}
}

// read fills the files of all branches that are wanted, repository by repository.
func (l *loader) read(ctx context.Context, want wanted) error {
	byRepo := map[*repository][]*branch{}
	for b, n := range want {
		byRepo[n.repo] = append(byRepo[n.repo], b)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	var mu sync.Mutex
	done := 0
	for r, branches := range byRepo {
		g.Go(func() error {
			if err := r.read(ctx, branches, want); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if l.o.Progress != nil {
				l.o.Progress(done, len(byRepo))
			}
			return nil
		})
	}
	return g.Wait()
}

func (r *repository) read(ctx context.Context, branches []*branch, want wanted) error {
	var repo *git.Repo
	for _, b := range branches {
		paths := append(config.NewTenantProject("", "", true).Paths(), want[b].extra...)
		b.files = map[string][]byte{}
		if b.rev == "" {
			if err := readTree(r.dir, paths, b.files); err != nil {
				return fmt.Errorf("read %s: %w", shorten(r.dir), err)
			}
			continue
		}
		if repo == nil {
			var err error
			if repo, err = git.Open(git.Config{Dir: r.git}); err != nil {
				return err
			}
			defer func() { _ = repo.Close() }()
		}
		if err := readCommit(ctx, repo, b.commit, paths, b.files); err != nil {
			return fmt.Errorf("read %s at %s: %w", shorten(r.dir), b.rev, err)
		}
	}
	return nil
}

// readTree reads the files at the paths of a folder. Links are left out: git has no content for them.
func readTree(dir string, paths []string, into map[string][]byte) error {
	for _, p := range paths {
		top := filepath.Join(dir, filepath.FromSlash(p))
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if !d.Type().IsRegular() {
				return nil
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			if into[filepath.ToSlash(rel)], err = readFile(path); err != nil {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readFile reads a file, but of one that is too large only so much that parsing refuses it.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var b bytes.Buffer
	info, err := f.Stat()
	if err == nil && info.Size() > config.MaxBytes {
		return make([]byte, config.MaxBytes+1), nil
	}
	if _, err := b.ReadFrom(f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// readCommit reads the files at the paths of a commit.
func readCommit(ctx context.Context, repo *git.Repo, commit string, paths []string, into map[string][]byte) error {
	for _, p := range paths {
		if !strings.HasSuffix(p, "/") {
			data, err := repo.ReadFile(ctx, commit, p)
			if errors.Is(err, git.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			into[p] = data
			continue
		}
		entries, err := repo.ListFiles(ctx, commit, strings.TrimSuffix(p, "/"))
		if errors.Is(err, git.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Mode, "100") {
				continue
			}
			if into[e.Path], err = repo.ReadFile(ctx, commit, e.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

// parse makes the branch's files what a layout takes.
func (l *loader) parse(b *branch, name string, p change.Project, x *config.TenantProject) layout.BranchInput {
	chosen, ignored := config.SelectFiles(b.files, x.ExtraConfigPaths)
	out := layout.BranchInput{Name: name, Ignored: ignored}
	for _, path := range chosen {
		c := l.content(b.files[path])
		out.Files = append(out.Files, c.At(config.Source{Project: p, Branch: name, Path: path, Trusted: x.Trusted}))
	}
	return out
}

// content parses a text once, whatever branches, projects and tenants it is in.
func (l *loader) content(text []byte) *config.Content {
	key := config.Key(text, l.opts)
	if l.parsed == nil {
		l.parsed = map[string]*config.Content{}
	}
	if l.parsed[key] == nil {
		l.parsed[key] = config.ParseContent(text, l.opts)
	}
	return l.parsed[key]
}
