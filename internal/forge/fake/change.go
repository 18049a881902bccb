package fake

import (
	"context"
	"crypto/sha1"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
)

// Statuses of a change.
const (
	StatusNew       = "NEW"
	StatusMerged    = "MERGED"
	StatusAbandoned = "ABANDONED"
)

// labels that a change must have before it can be submitted: somebody votes the maximum, and nobody its opposite.
var labels = []struct {
	name    string
	maximum int
}{{"Approved", 1}, {"Code-Review", 2}, {"Verified", 2}}

// Change is a proposed change with what was said of it. Copies are given out.
type Change struct {
	Number         int
	Project        string
	Branch         string
	Subject        string
	Message        string
	Topic          string
	Status         string
	WIP            bool
	Patchsets      []Patchset
	Messages       []string
	Reports        int
	FileComments   []change.FileComment
	parent, refuse bool
	parentOf       [2]int   // number and patch set of the git parent
	children       [][2]int // number and patch set of those whose parent it is
}

// Patchset is one version of a change.
type Patchset struct {
	Commit string
	Files  []string
	Votes  []change.Vote
}

// ID is the change id, as it stands in commit messages.
func (c *Change) ID() string {
	return fmt.Sprintf("I%x", sha1.Sum([]byte(c.Project+" "+strconv.Itoa(c.Number))))
}

// Open tells whether it is neither merged nor abandoned.
func (c *Change) Open() bool { return c.Status == StatusNew }

func (c *Change) ref(patchset int) string {
	return fmt.Sprintf("refs/changes/%02d/%d/%d", c.Number%100, c.Number, patchset)
}

// Proposal is a change to be made.
type Proposal struct {
	Project, Branch, Subject, Topic, Status string
	// Files of the first patch set; nil gives one file named for branch and number, empty none.
	Files Files
	Empty bool
	// Base is what the commit is made upon: a ref, whole or by its name alone, or a commit; empty is the tag init.
	Base string
}

// Propose makes a change with its first patch set and gives its number. No event is sent.
func (f *Forge) Propose(ctx context.Context, p Proposal) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &Change{Number: len(f.changes) + 1, Project: p.Project, Branch: p.Branch, Subject: p.Subject, Message: p.Subject,
		Topic: p.Topic, Status: StatusNew}
	if c.Branch == "" {
		c.Branch = "master"
	}
	if err := f.patchset(ctx, c, p.Base, p.Files, p.Empty); err != nil {
		return 0, fmt.Errorf("propose %s for %s: %w", p.Subject, p.Project, err)
	}
	if p.Status != "" {
		c.Status = p.Status
	}
	f.changes = append(f.changes, c)
	return c.Number, nil
}

// Patchset adds a patch set, again upon the tag init, without votes.
func (f *Forge) Patchset(ctx context.Context, number int, files Files, empty bool) error {
	return f.change(number, func(c *Change) error { return f.patchset(ctx, c, "", files, empty) })
}

func (f *Forge) patchset(ctx context.Context, c *Change, base string, files Files, empty bool) error {
	n := len(c.Patchsets) + 1
	if len(files) == 0 && !empty {
		name := fmt.Sprintf("%s-%d", strings.ReplaceAll(c.Branch, "/", "_"), c.Number)
		files = Text(map[string]string{name: fmt.Sprintf("test %s %d %d\n", c.Branch, c.Number, n)})
	}
	if base == "" {
		base = "refs/tags/init"
	}
	var id string
	err := f.c.Repositories.use(c.Project, func(x *repository) error {
		parent := x.resolve(base)
		if parent == "" {
			return fmt.Errorf("%s has no %s", c.Project, base)
		}
		var err error
		if id, err = x.commit(ctx, parent, fmt.Sprintf("%s-%d", c.Subject, n), files); err != nil {
			return err
		}
		return x.set(c.ref(n), id)
	})
	if err != nil {
		return err
	}
	ps := Patchset{Commit: id, Files: []string{"/COMMIT_MSG", "README"}}
	for path := range files {
		if !slices.Contains(ps.Files, path) {
			ps.Files = append(ps.Files, path)
		}
	}
	slices.Sort(ps.Files)
	c.Patchsets = append(c.Patchsets, ps)
	return nil
}

// change runs fn on a change under the lock.
func (f *Forge) change(number int, fn func(*Change) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number < 1 || number > len(f.changes) {
		return fmt.Errorf("%s has no change %d", f.c.Name, number)
	}
	return fn(f.changes[number-1])
}

// Look is a change as it is now.
func (f *Forge) Look(number int) (Change, error) {
	var out Change
	err := f.change(number, func(c *Change) error {
		out = *c
		out.Messages = slices.Clone(c.Messages)
		out.Patchsets = slices.Clone(c.Patchsets)
		for i := range out.Patchsets {
			out.Patchsets[i].Votes = slices.Clone(out.Patchsets[i].Votes)
		}
		return nil
	})
	return out, err
}

// Edit changes what people may edit: message, topic, work in progress.
func (f *Forge) Edit(number int, edit func(*Change)) error {
	return f.change(number, func(c *Change) error { edit(c); return nil })
}

// SetParent reports a patch set as git parent of a change, whose commit stays as it is.
func (f *Forge) SetParent(number, parent, patchset int) error {
	return f.change(number, func(c *Change) error {
		if parent < 1 || parent > len(f.changes) || patchset > len(f.changes[parent-1].Patchsets) {
			return fmt.Errorf("there is no change %d,%d", parent, patchset)
		}
		c.parent, c.parentOf = true, [2]int{parent, patchset}
		p := f.changes[parent-1]
		p.children = append(p.children, [2]int{number, len(c.Patchsets)})
		return nil
	})
}

// Refuse makes the forge silently not merge a change, or merge it again.
func (f *Forge) Refuse(number int, refuse bool) error {
	return f.change(number, func(c *Change) error { c.refuse = refuse; return nil })
}

// Vote is a vote of a person on the current patch set; it replaces that person's vote on the label.
func (f *Forge) Vote(number int, label string, value int, by string, age time.Duration) error {
	return f.change(number, func(c *Change) error {
		f.vote(c, change.Vote{Label: label, Value: value, User: by, Email: by + "@example.com", At: f.c.Now().Add(-age)})
		return nil
	})
}

func (f *Forge) vote(c *Change, v change.Vote) {
	ps := &c.Patchsets[len(c.Patchsets)-1]
	ps.Votes = slices.DeleteFunc(ps.Votes, func(x change.Vote) bool { return x.Label == v.Label && x.User == v.User })
	ps.Votes = append(ps.Votes, v)
}

// missing lists the labels that keep a change from being submitted.
func (c *Change) missing() []string {
	votes := c.Patchsets[len(c.Patchsets)-1].Votes
	voted := func(label string, value int) bool {
		return slices.ContainsFunc(votes, func(v change.Vote) bool { return v.Label == label && v.Value == value })
	}
	var out []string
	for _, l := range labels {
		if !voted(l.name, l.maximum) || voted(l.name, -l.maximum) {
			out = append(out, l.name)
		}
	}
	return out
}

// Abandon closes a change without a merge. No event is sent.
func (f *Forge) Abandon(number int) error {
	return f.change(number, func(c *Change) error { c.Status = StatusAbandoned; return nil })
}

// Merge merges the current patch set into its branch, unless the change's parent is not merged or the
// merge is refused. No event is sent.
func (f *Forge) Merge(ctx context.Context, number int) error {
	return f.change(number, func(c *Change) error { return f.merge(ctx, c) })
}

func (f *Forge) merge(ctx context.Context, c *Change) error {
	if c.refuse || c.Status == StatusMerged || (c.parent && f.changes[c.parentOf[0]-1].Status != StatusMerged) {
		return nil
	}
	err := f.c.Repositories.use(c.Project, func(x *repository) error {
		return x.merge(ctx, c.Branch, c.Patchsets[len(c.Patchsets)-1].Commit, fmt.Sprintf("Merge %q", c.Subject))
	})
	if err == nil {
		c.Status = StatusMerged
	}
	return err
}
