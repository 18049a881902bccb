// Package local is the forge that is built in: what people use before they connect their own.
// Repositories are bare ones in a folder, served over smart HTTP; a change is proposed by
//
//	git push origin HEAD:refs/for/main
//
// with a Change-Id footer, as at Gerrit, and its words and event types are Gerrit's. Votes, comments
// and the state of changes are records in a kv.Store, so that several processes can serve one
// forge from one folder.
//
// # Crash safety
//
// Objects are received into a quarantine. Then one transaction writes the records of a push, with
// its events in an outbox: from then on the push has happened. The refs of patch sets follow from the
// records and are written after them; who finds one missing (Serve at its start, or whoever delivers
// the event) writes it. A branch moves the other way round: the record says what is about to be
// merged, the ref moves by compare-and-swap, which decides, and the record follows; Serve finishes
// what stopped in between. An event leaves the outbox when the sink has it.
package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv"
)

// Config of a forge.
type Config struct {
	// Name is the connection's name, Host its canonical host name (default: the name).
	Name, Host string
	// Dir holds the repositories, as Dir/<project>.git.
	Dir string
	// Store keeps the records, below Prefix (default /forge/<name>/).
	Store  kv.Store
	Prefix string
	// BaseURL is where Handler is mounted, as people reach it, without a slash at the end.
	BaseURL string
	// PageURL is where people look at a change, as they reach it: its number is put behind it. The URLs of changes
	// lead there. Empty: they lead to the REST interface.
	PageURL string
	// Projects are made, with an empty commit on Branch (default main), if they are not there.
	Projects []string
	Branch   string
	// Labels are the votes that there are; default DefaultLabels.
	Labels []Label
	// Users may push and vote. Where there are none the forge is open: whoever reaches it may, under
	// the name that he gives, or without one under that of the committer.
	Users []User
	// AdminToken is the password of user admin; empty: made, and kept in Dir/admin-token.
	AdminToken string
	// User is the name under which reports appear; default gozer.
	User string
	// SubmitWholeTopic makes the open changes of a topic need each other.
	SubmitWholeTopic bool
	// MaxDependencies bounds how many git parents of a change are looked at; nil is no bound.
	MaxDependencies *int
	// MaxPack bounds one push, in bytes; default 1 GiB.
	MaxPack int64
	// Sink, where set, takes events even while Serve does not run.
	Sink forge.Sink
	Log  *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Label is one kind of vote.
type Label struct {
	Name     string `json:"name"`
	Min, Max int
	// Required is the value that a change must have to merge; 0: none.
	Required int
}

// DefaultLabels are the labels of a forge that configures none.
func DefaultLabels() []Label {
	return []Label{{"Approved", 0, 1, 1}, {"Code-Review", -2, 2, 0}, {"Verified", -2, 2, 2}}
}

// User is somebody who may push and vote.
type User struct {
	Name  string `yaml:"name"`
	Email string `yaml:"email"`
	Token string `yaml:"token"`
	// Admin may push to branches and tags directly, and make projects.
	Admin bool `yaml:"admin"`
}

// Forge is the built-in forge. It implements forge.Forge and forge.Source.
type Forge struct {
	Config

	mu    sync.Mutex
	repos map[string]*git.Repo
	sink  forge.Sink

	draining sync.Mutex // one delivery at a time keeps the events in order
}

var (
	_ forge.Forge  = (*Forge)(nil)
	_ forge.Source = (*Forge)(nil)
)

// New opens the forge and makes its projects. It starts nothing; Close ends the git processes that
// its repositories keep open.
func New(ctx context.Context, c Config) (*Forge, error) {
	if c.Name == "" || c.Store == nil || !filepath.IsAbs(c.Dir) {
		return nil, fmt.Errorf("local forge %q: name, store and an absolute folder are needed", c.Name)
	}
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&c.Host, c.Name)
	def(&c.Prefix, "/forge/"+c.Name+"/")
	def(&c.Branch, "main")
	def(&c.User, "gozer")
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
	if c.Labels == nil {
		c.Labels = DefaultLabels()
	}
	if c.MaxPack == 0 {
		c.MaxPack = 1 << 30
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("local forge %s: %w", c.Name, err)
	}
	if c.AdminToken == "" {
		t, err := adminToken(filepath.Join(c.Dir, "admin-token"))
		if err != nil {
			return nil, fmt.Errorf("local forge %s: %w", c.Name, err)
		}
		c.AdminToken = t
	}
	f := &Forge{Config: c, repos: map[string]*git.Repo{}, sink: c.Sink}
	for _, p := range c.Projects {
		if err := f.CreateProject(ctx, p); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// adminToken reads the token from a file, or makes both. Of two processes that start at once, one
// makes it.
func adminToken(file string) (string, error) {
	for {
		b, err := os.ReadFile(file)
		if err == nil && len(b) > 0 {
			return strings.TrimSpace(string(b)), nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		tmp := file + "." + rand.Text()
		if err := os.WriteFile(tmp, []byte(rand.Text()+"\n"), 0o600); err != nil {
			return "", err
		}
		err = os.Link(tmp, file)
		os.Remove(tmp)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

// Close ends the git processes that are kept open.
func (f *Forge) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, r := range f.repos {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// AdminPassword is the token of user admin.
func (f *Forge) AdminPassword() string { return f.AdminToken }

// Name is the connection's name.
func (f *Forge) Name() string { return f.Config.Name }

// Driver is "local".
func (f *Forge) Driver() string { return "local" }

// Host is the canonical host name.
func (f *Forge) Host() string { return f.Config.Host }

// Remote is the repository's folder: the merger of the same machine fetches without HTTP.
func (f *Forge) Remote(p change.Project) forge.Remote {
	return forge.Remote{URL: f.repoDir(p.Name)}
}

func (f *Forge) project(name string) change.Project {
	return change.Project{Connection: f.Config.Name, Host: f.Config.Host, Name: name}
}

func (f *Forge) repoDir(name string) string {
	return filepath.Join(f.Dir, filepath.FromSlash(name)+".git")
}

var projectName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$`)

func validProject(name string) bool {
	if !projectName.MatchString(name) || len(name) > 200 {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasSuffix(part, ".git") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	// These are the handler's own paths.
	first, _, _ := strings.Cut(name, "/")
	return first != "a" && first != "c" && first != "api" && first != "tools"
}

// CreateProject makes a project with one empty commit on the default branch; no error if it exists.
func (f *Forge) CreateProject(ctx context.Context, name string) error {
	if !validProject(name) {
		return fmt.Errorf("%q cannot be the name of a project: letters, digits and ._- in parts with / between, of which the first is not a, c, api or tools, and none ends with .git or .lock", name)
	}
	r, err := git.Init(git.Config{Dir: f.repoDir(name)}, f.Branch)
	if err != nil {
		return err
	}
	f.mu.Lock()
	if have := f.repos[name]; have != nil {
		r = have
	} else {
		f.repos[name] = r
	}
	f.mu.Unlock()
	if _, err := r.ResolveRef(ctx, "refs/heads/"+f.Branch); err == nil || !errors.Is(err, git.ErrNotFound) {
		return err
	}
	commit, err := r.InitialCommit(ctx, git.Signature{Name: f.User, Email: f.User + "@" + f.Config.Host, When: f.Now()}, "Initial empty commit")
	if err != nil {
		return err
	}
	err = r.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/" + f.Branch, New: commit, Old: git.Zero})
	if errors.Is(err, git.ErrMoved) {
		return nil
	}
	return err
}

// Projects lists the projects that there are, by name.
func (f *Forge) Projects() ([]string, error) {
	var names []string
	err := filepath.WalkDir(f.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if name, ok := strings.CutSuffix(path, ".git"); ok {
			rel, err := filepath.Rel(f.Dir, name)
			names = append(names, filepath.ToSlash(rel))
			return errors.Join(err, fs.SkipDir)
		}
		return nil
	})
	return names, err
}

// repo opens the repository of a project. forge.ErrNotFound where there is none.
func (f *Forge) repo(name string) (*git.Repo, error) {
	if !validProject(name) {
		return nil, fmt.Errorf("project %q: %w", name, forge.ErrNotFound)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.repos[name]; r != nil {
		return r, nil
	}
	r, err := git.Open(git.Config{Dir: f.repoDir(name)})
	if errors.Is(err, git.ErrNotFound) {
		return nil, fmt.Errorf("project %q: %w", name, forge.ErrNotFound)
	}
	if err == nil {
		f.repos[name] = r
	}
	return r, err
}

// Branches lists the branches of a project, the default branch first.
func (f *Forge) Branches(ctx context.Context, p change.Project) ([]forge.Branch, error) {
	r, err := f.repo(p.Name)
	if err != nil {
		return nil, err
	}
	head, err := r.Head()
	if err != nil {
		return nil, err
	}
	refs, err := r.Refs(ctx, "refs/heads/")
	if err != nil {
		return nil, err
	}
	var out []forge.Branch
	for _, ref := range refs {
		b := forge.Branch{Name: strings.TrimPrefix(ref.Name, "refs/heads/"), Commit: ref.Commit}
		if b.Name == head {
			out = append([]forge.Branch{b}, out...)
		} else {
			out = append(out, b)
		}
	}
	return out, nil
}
