package fake

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
)

// Change reads a change at a patch set; see forge.Forge.
func (f *Forge) Change(_ context.Context, p change.Project, number, patchset string) (*change.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(f.changes) {
		return nil, fmt.Errorf("change %s of %s: %w", number, p, forge.ErrNotFound)
	}
	c := f.changes[n-1]
	ps := len(c.Patchsets)
	if patchset != "" {
		if ps, err = strconv.Atoi(patchset); err != nil || ps < 1 || ps > len(c.Patchsets) {
			return nil, fmt.Errorf("change %s,%s of %s: %w", number, patchset, p, forge.ErrNotFound)
		}
	}
	return f.read(c, ps), nil
}

func (f *Forge) read(c *Change, ps int) *change.Change {
	last := len(c.Patchsets)
	out := &change.Change{
		Kind: change.KindChange, Project: f.project(c.Project), Branch: c.Branch, Ref: c.ref(ps), Commit: c.Patchsets[ps-1].Commit,
		Number: strconv.Itoa(c.Number), Patchset: strconv.Itoa(ps), ChangeID: c.ID(), URL: fmt.Sprintf("%s/%d", f.BaseURL(), c.Number),
		Message: c.Message, Owner: "author_phil", Topic: c.Topic, Files: slices.Clone(c.Patchsets[ps-1].Files),
		Status: c.Status, Open: c.Open(), Merged: c.Status == StatusMerged, Current: ps == last, WIP: c.WIP,
		Votes: slices.Clone(c.Patchsets[last-1].Votes), MissingLabels: c.missing(),
	}
	if c.parent && !out.Merged {
		if p := f.changes[c.parentOf[0]-1]; p.Status != StatusMerged {
			out.GitNeeds = append(out.GitNeeds, f.key(p, c.parentOf[1]))
		}
	}
	for _, ch := range c.children {
		if k := f.changes[ch[0]-1]; k.Open() && ch[1] == len(k.Patchsets) {
			out.GitNeededBy = append(out.GitNeededBy, f.key(k, ch[1]))
		}
	}
	f.compat(c, out)
	return out
}

// compat resolves the legacy footers with change ids, in both directions.
func (f *Forge) compat(c *Change, out *change.Change) {
	_, ids := change.DependsOn(c.Message)
	for _, id := range ids {
		for _, x := range f.changes {
			if x.ID() == id && x != c && x.Status != StatusMerged {
				out.CompatNeeds = append(out.CompatNeeds, f.key(x, len(x.Patchsets)))
			}
		}
	}
	for _, x := range f.changes {
		if x == c || !x.Open() {
			continue
		}
		if _, ids := change.DependsOn(x.Message); slices.Contains(ids, c.ID()) {
			out.CompatNeededBy = append(out.CompatNeededBy, f.key(x, len(x.Patchsets)))
		}
	}
}

func (f *Forge) key(c *Change, ps int) change.Key {
	return change.ChangeKey(f.project(c.Project), strconv.Itoa(c.Number), strconv.Itoa(ps))
}

// paths of URLs of changes: /1, /#/c/1, /c/org/project/+/1, each with or without a patch set.
var paths = regexp.MustCompile(`^/(?:#/c/|c/.*/\+/|c/)?(\d+)(?:/.*)?$`)

// number finds the change that a URL names; 0 where it is none of this forge's.
func (f *Forge) number(text string) int {
	u, err := url.Parse(text)
	if err != nil || u.Host != f.c.Host {
		return 0
	}
	path := u.Path
	if u.Fragment != "" {
		path += "#" + u.Fragment
	}
	m := paths.FindStringSubmatch(path)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n < 1 || n > len(f.changes) {
		return 0
	}
	return n
}

// Resolve reads the change behind a URL.
func (f *Forge) Resolve(_ context.Context, text string) (*change.Change, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.number(text)
	if n == 0 {
		return nil, false, nil
	}
	c := f.changes[n-1]
	return f.read(c, len(c.Patchsets)), true, nil
}

// Dependents lists the open changes whose footers name c.
func (f *Forge) Dependents(_ context.Context, c *change.Change) ([]change.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []change.Key
	if c.Project.Connection != f.c.Name {
		return nil, nil
	}
	for _, x := range f.changes {
		if !x.Open() || strconv.Itoa(x.Number) == c.Number {
			continue
		}
		urls, _ := change.DependsOn(x.Message)
		if slices.ContainsFunc(urls, func(u string) bool { return strconv.Itoa(f.number(u)) == c.Number }) {
			out = append(out, f.key(x, len(x.Patchsets)))
		}
	}
	return out, nil
}

// Topic lists the open changes of a topic.
func (f *Forge) Topic(_ context.Context, topic string) ([]change.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []change.Key
	for _, c := range f.changes {
		if topic != "" && c.Topic == topic && c.Open() {
			out = append(out, f.key(c, len(c.Patchsets)))
		}
	}
	return out, nil
}

// MaxDependencies is that of Config.
func (f *Forge) MaxDependencies() int {
	if f.c.MaxDependencies == 0 {
		return -1
	}
	return f.c.MaxDependencies
}

// WholeTopic tells whether the forge submits the changes of a topic together.
func (f *Forge) WholeTopic() bool { return f.c.WholeTopic }

// OpenChanges lists the open changes of a project.
func (f *Forge) OpenChanges(_ context.Context, p change.Project) ([]*change.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*change.Change
	for _, c := range f.changes {
		if c.Open() && c.Project == p.Name {
			out = append(out, f.read(c, len(c.Patchsets)))
		}
	}
	return out, nil
}
