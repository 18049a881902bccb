// Package fake is a forge in memory for tests of the whole system: it speaks Gerrit's words, its projects
// are real git repositories in a temporary folder, and a script plays its users. It sends an event only
// when the script says so, never for what Gozer itself does, so a test decides in which order news arrive.
package fake

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
)

// Repositories are the projects; several forges may share them. Safe for use by many goroutines.
type Repositories struct {
	dir string
	mu  sync.Mutex
	all map[string]*repository
}

// NewRepositories keeps bare repositories below dir.
func NewRepositories(dir string) *Repositories {
	return &Repositories{dir: dir, all: map[string]*repository{}}
}

// Close ends the git processes that are kept open.
func (r *Repositories) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.all {
		_ = x.Close()
	}
}

func (r *Repositories) path(name string) string {
	return filepath.Join(r.dir, url.PathEscape(name)+".git")
}

// Create makes a project with an empty "initial commit" on master and, where files is not nil, a second
// commit with them and the given message. tag, where set, names the last commit.
func (r *Repositories) Create(ctx context.Context, name, message string, files Files, tag string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[name] != nil {
		return fmt.Errorf("there is a project %s already", name)
	}
	x, err := initRepository(r.path(name))
	if err != nil {
		return err
	}
	id, err := x.commit(ctx, "", "initial commit", nil)
	if err == nil && files != nil {
		id, err = x.commit(ctx, id, message, files)
	}
	if err == nil {
		err = x.set("refs/heads/master", id)
	}
	if err == nil && tag != "" {
		err = x.set("refs/tags/"+tag, id)
	}
	if err != nil {
		return fmt.Errorf("make project %s: %w", name, err)
	}
	r.all[name] = x
	return nil
}

// use runs fn on a project under the lock.
func (r *Repositories) use(name string, fn func(*repository) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.all[name]
	if x == nil {
		return fmt.Errorf("project %s: %w", name, forge.ErrNotFound)
	}
	return fn(x)
}

// Names lists the projects, sorted.
func (r *Repositories) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, 0, len(r.all))
	for n := range r.all {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Push puts a commit on top of a branch, which is made where it is missing.
func (r *Repositories) Push(ctx context.Context, project, branch, message string, files Files, tag string) error {
	return r.use(project, func(x *repository) error {
		id, err := x.commit(ctx, x.refs["refs/heads/"+branch], message, files)
		if err != nil {
			return err
		}
		if err := x.set("refs/heads/"+branch, id); err != nil || tag == "" {
			return err
		}
		return x.set("refs/tags/"+tag, id)
	})
}

// Branch makes a branch at master's head with one commit more, which appends to README.
func (r *Repositories) Branch(ctx context.Context, project, name string) error {
	return r.use(project, func(x *repository) error {
		head := x.refs["refs/heads/master"]
		var text string
		if b, err := x.ReadFile(ctx, head, "README"); err == nil {
			text = string(b)
		}
		id, err := x.commit(ctx, head, name+" commit", Text(map[string]string{"README": text + "\n" + name + "\n"}))
		if err != nil {
			return err
		}
		return x.set("refs/heads/"+name, id)
	})
}

// DeleteBranch removes a branch.
func (r *Repositories) DeleteBranch(project, name string) error {
	return r.use(project, func(x *repository) error { return x.set("refs/heads/"+name, "") })
}

// Tag names the head of a branch.
func (r *Repositories) Tag(project, branch, name string) error {
	return r.use(project, func(x *repository) error {
		return x.set("refs/tags/"+name, x.refs["refs/heads/"+branch])
	})
}

// Commit is what a ref points to; empty where there is none.
func (r *Repositories) Commit(project, ref string) string {
	var id string
	_ = r.use(project, func(x *repository) error { id = x.refs[ref]; return nil })
	return id
}

// Config of a Forge.
type Config struct {
	// Name of the connection, Driver (gerrit where empty) and Host.
	Name, Driver, Host string
	Repositories       *Repositories
	// User is the account that Gozer reports as.
	User string
	// Strict: a change that is not submittable is not merged, as a Gerrit reached by HTTP does it.
	Strict bool
	// Shell: it is reached by Gerrit's commands over SSH, which take no remarks on files; votes land on the current
	// patch set, whichever one is named.
	Shell bool
	// Mute: why a change is not merged is not told; what did not merge is all that the caller sees.
	Mute bool
	// WholeTopic: the open changes of a topic are submitted together.
	WholeTopic bool
	// MaxDependencies bounds how many others a change may stand on; 0 is no bound.
	MaxDependencies int
	// Now is the time of votes; nil is time.Now.
	Now func() time.Time
}

// Forge is safe for use by many goroutines.
type Forge struct {
	c Config

	mu      sync.Mutex
	changes []*Change // by number from 1
	sink    forge.Sink
	events  int
	done    map[string]forge.Outcome // reports carried out, by ID
}

// New makes a forge without changes.
func New(c Config) *Forge {
	if c.Driver == "" {
		c.Driver = "gerrit"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Forge{c: c, done: map[string]forge.Outcome{}}
}

// Deliver says who takes the events.
func (f *Forge) Deliver(sink forge.Sink) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sink = sink
}

// Name, Driver and Host are those of Config.
func (f *Forge) Name() string   { return f.c.Name }
func (f *Forge) Driver() string { return f.c.Driver }
func (f *Forge) Host() string   { return f.c.Host }

// BaseURL is the forge's address without trailing slash.
func (f *Forge) BaseURL() string { return "https://" + f.c.Host }

func (f *Forge) project(name string) change.Project {
	return change.Project{Connection: f.c.Name, Host: f.c.Host, Name: name}
}

// Branches lists the branches of a project, master first.
func (f *Forge) Branches(_ context.Context, p change.Project) ([]forge.Branch, error) {
	var out []forge.Branch
	err := f.c.Repositories.use(p.Name, func(x *repository) error {
		for ref, id := range x.refs {
			if name, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
				out = append(out, forge.Branch{Name: name, Commit: id, Protected: true})
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b forge.Branch) int {
		if am, bm := a.Name == "master", b.Name == "master"; am != bm {
			if am {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, err
}

// Remote is the folder of the project's repository.
func (f *Forge) Remote(p change.Project) forge.Remote {
	return forge.Remote{URL: f.c.Repositories.path(p.Name)}
}

// send gives an event to the sink.
func (f *Forge) send(ctx context.Context, e event.Event) error {
	f.mu.Lock()
	sink := f.sink
	f.events++
	e.ID = fmt.Sprintf("%s-%d", f.c.Name, f.events)
	f.mu.Unlock()
	if sink == nil {
		return errors.New("nobody takes the events of " + f.c.Name)
	}
	e.Connection, e.Driver, e.At, e.Received = f.c.Name, f.c.Driver, f.c.Now(), time.Now()
	return sink(ctx, e)
}
