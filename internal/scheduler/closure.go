package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
)

// maxClosure bounds how many changes one event may drag in. More than that is a mistake (or an attack):
// the pipeline then sees a part of the graph and its own limit says so.
const maxClosure = 400

// closure reads a change with everything it needs and everything that needs it, transitively, as the
// forges tell now: what the core must know to decide. The change itself comes first.
type closure struct {
	forges *forge.Set
	// byTopic tells whether changes of one topic need each other (a queue's dependencies-by-topic).
	byTopic func(change.Project) bool
	found   map[change.Key]*change.Change
	order   []*change.Change
	todo    []change.Key
	topics  map[string][]change.Key // members by topic, as far as asked for
}

func newClosure(forges *forge.Set, byTopic func(change.Project) bool) *closure {
	return &closure{forges: forges, byTopic: byTopic, found: map[change.Key]*change.Change{}, topics: map[string][]change.Key{}}
}

// add takes a change in that was just read.
func (c *closure) add(ctx context.Context, ch *change.Change) error {
	if c.found[ch.Key()] != nil {
		return nil
	}
	filled, err := c.fill(ctx, ch)
	if err != nil {
		return err
	}
	c.found[ch.Key()] = filled
	c.order = append(c.order, filled)
	if !ch.IsChange() || ch.Merged {
		return nil
	}
	c.todo = append(c.todo, filled.Needs(true)...)
	c.todo = append(c.todo, filled.NeededBy()...)
	return nil
}

// run reads until nothing is missing.
func (c *closure) run(ctx context.Context) ([]*change.Change, error) {
	for len(c.todo) > 0 && len(c.order) < maxClosure {
		k := c.todo[0]
		c.todo = c.todo[1:]
		if c.found[k] != nil {
			continue
		}
		ch, err := c.forges.Read(ctx, k)
		if errors.Is(err, forge.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read dependency %s: %w", k, err)
		}
		if err := c.add(ctx, ch); err != nil {
			return nil, err
		}
	}
	return c.order, nil
}

// tooMany tells whether the change stands on more others than its connection looks at, by what its forge says.
func (c *closure) tooMany(ch *change.Change) bool {
	f, ok := c.forges.For(ch.Project.Connection).(forge.Bounded)
	if !ok || f.MaxDependencies() < 0 {
		return false
	}
	below := map[change.Key]bool{ch.Key(): true}
	for todo := []*change.Change{ch}; len(todo) > 0; todo = todo[1:] {
		for _, k := range slices.Concat(todo[0].GitNeeds, todo[0].CompatNeeds) {
			if n := c.found[k]; n != nil && !n.Merged && !below[k] {
				below[k] = true
				todo = append(todo, n)
			}
		}
	}
	return len(below)-1 > f.MaxDependencies()
}

// fill resolves what only all forges together know: the footers with URLs, and whose footers name the
// change. The forge's answer is not changed, a copy is.
func (c *closure) fill(ctx context.Context, ch *change.Change) (*change.Change, error) {
	if !ch.IsChange() || ch.Merged {
		return ch, nil
	}
	out := *ch
	out.FooterNeeds, out.FooterNeededBy = nil, nil
	urls, _ := change.DependsOn(ch.Message)
	if len(urls) > maxClosure {
		out.Blocked = fmt.Sprintf("its message names %d dependencies, and no more than %d are looked at", len(urls), maxClosure)
		urls = urls[:maxClosure]
	}
	for _, u := range urls {
		dep, err := c.forges.Resolve(ctx, u)
		if errors.Is(err, forge.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if dep != nil && dep.Stable() != ch.Stable() {
			out.FooterNeeds = append(out.FooterNeeds, dep.Key())
		}
	}
	for _, f := range c.forges.All() {
		keys, err := f.Dependents(ctx, ch)
		if err != nil {
			return nil, fmt.Errorf("ask %s what depends on %s: %w", f.Name(), ch.URL, err)
		}
		out.FooterNeededBy = append(out.FooterNeededBy, keys...)
	}
	if !c.togetherByTopic(ch) {
		return &out, nil
	}
	members, err := c.topic(ctx, ch.Topic)
	if err != nil {
		return nil, err
	}
	out.TopicNeeds = slices.DeleteFunc(slices.Clone(members), func(k change.Key) bool { return k == ch.Key() })
	return &out, nil
}

// togetherByTopic tells whether changes of the change's topic need each other: its queue says so, or its forge
// merges whole topics.
func (c *closure) togetherByTopic(ch *change.Change) bool {
	if ch.Topic == "" {
		return false
	}
	if c.byTopic != nil && c.byTopic(ch.Project) {
		return true
	}
	t, ok := c.forges.For(ch.Project.Connection).(forge.Topics)
	return ok && t.WholeTopic()
}

// topic lists the open changes of a topic, and of the topics of their git parents.
func (c *closure) topic(ctx context.Context, name string) ([]change.Key, error) {
	if members, ok := c.topics[name]; ok {
		return members, nil
	}
	var members []change.Key
	for todo, seen := []string{name}, []string{name}; len(todo) > 0; todo = todo[1:] {
		for _, f := range c.forges.All() {
			t, ok := f.(forge.Topics)
			if !ok {
				continue
			}
			keys, err := t.Topic(ctx, todo[0])
			if err != nil {
				return nil, fmt.Errorf("ask %s for topic %q: %w", f.Name(), todo[0], err)
			}
			for _, k := range keys {
				if slices.Contains(members, k) || len(members) >= maxClosure {
					continue
				}
				members = append(members, k)
				more, err := c.topicsOfParents(ctx, k)
				if err != nil {
					return nil, err
				}
				for _, m := range more {
					if !slices.Contains(seen, m) {
						seen, todo = append(seen, m), append(todo, m)
					}
				}
			}
		}
	}
	c.topics[name] = members
	return members, nil
}

// topicsOfParents are those of the unmerged git parents of a change.
func (c *closure) topicsOfParents(ctx context.Context, k change.Key) ([]string, error) {
	ch, err := c.forges.Read(ctx, k)
	if errors.Is(err, forge.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read change %s: %w", k, err)
	}
	var out []string
	for _, p := range ch.GitNeeds {
		parent, err := c.forges.Read(ctx, p)
		switch {
		case errors.Is(err, forge.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("read change %s: %w", p, err)
		case parent.Topic != "" && !parent.Merged:
			out = append(out, parent.Topic)
		}
	}
	return out, nil
}

// read finds what an event is about: the change at its forge, or the ref. nil where there is nothing (the
// change is gone).
func read(ctx context.Context, forges *forge.Set, e *event.Event) (*change.Change, error) {
	if e.Change != nil {
		return e.Change, nil
	}
	if e.Number != "" {
		f := forges.For(e.Project.Connection)
		if f == nil {
			return nil, fmt.Errorf("event %s: %w %q", e.ID, errUnknownForge, e.Project.Connection)
		}
		ch, err := f.Change(ctx, e.Project, e.Number, e.Patchset)
		if errors.Is(err, forge.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read change %s of %s: %w", e.Number, e.Project, err)
		}
		return ch, nil
	}
	if e.Ref == "" && e.Branch == "" {
		return nil, nil
	}
	return refChange(e), nil
}

// refChange is the branch, tag or other ref that an event is about.
func refChange(e *event.Event) *change.Change {
	c := &change.Change{Kind: change.KindRef, Project: e.Project, Ref: e.Ref, OldRev: e.OldRev, NewRev: e.NewRev, Files: e.Pushed, URL: ""}
	if c.Ref == "" {
		c.Ref = "refs/heads/" + e.Branch
	}
	if !strings.HasPrefix(c.Ref, "refs/") {
		c.Ref = "refs/heads/" + c.Ref // Gerrit names branches so
	}
	switch {
	case strings.HasPrefix(c.Ref, "refs/heads/"):
		c.Kind, c.Branch = change.KindBranch, strings.TrimPrefix(c.Ref, "refs/heads/")
	case strings.HasPrefix(c.Ref, "refs/tags/"):
		c.Kind = change.KindTag
	}
	c.Commit = c.NewRev
	return c
}
