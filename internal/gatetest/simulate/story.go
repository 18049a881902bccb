package simulate

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
)

// story is a long tale of the gate: changes that pass and fail, that need, clash and conflict with each
// other, a cycle, an amended and an abandoned one, a push behind the gate's back, new layouts. Several go
// through the pipelines at a time.
func (w *world) story() {
	f := w.forge
	w.drain = true
	chapter := func(name string, do func()) {
		if w.broken == nil {
			w.trace("%s", name)
			do()
			w.settle()
		}
	}
	var a, b, c, d, e, g, h, i, j change.Key
	chapter("six changes in two projects, two that need others, a bad one", func() {
		a, b = w.plain(0), w.plain(1)
		c = w.plain(0, a)
		d = w.plain(1, b, c)
		e, g = w.plain(0), w.plain(0)
		f.bad[b] = true
	})
	chapter("all are approved at once", func() {
		for _, k := range []change.Key{a, b, c, d, e, g} {
			w.approve(k)
		}
	})
	chapter("a cycle, and one that clashes with it", func() {
		h, i = w.plain(0), w.plain(1)
		w.need(h, i)
		w.need(i, h)
		j = w.plain(1)
		f.clash[j] = []change.Key{h}
		w.approve(h)
		w.approve(i)
		w.approve(j)
	})
	chapter("a new layout, a push, an amended and an abandoned change", func() {
		k, l := w.plain(0), w.plain(1)
		w.approve(k)
		w.reconfigure()
		w.push()
		w.amend(l)
		w.abandon(newest(f.order))
	})
}

// plain proposes a change without surprises.
func (w *world) plain(project int, needs ...change.Key) change.Key {
	k := w.add(projects[project], needs...)
	w.tell(k, "patchset-created", "check")
	return k
}

// need makes one change depend on another.
func (w *world) need(k, n change.Key) {
	f := w.forge
	c, d := *f.changes[k], *f.changes[n]
	c.FooterNeeds = append(slices.Clone(c.FooterNeeds), n)
	d.FooterNeededBy = append(slices.Clone(d.FooterNeededBy), k)
	f.changes[k], f.changes[n] = &c, &d
}

func newest(keys []change.Key) change.Key { return keys[len(keys)-1] }

// summary is what came of it all, in words that two runs share: what landed, in which order for each
// project, and what the gate said of each change.
func (f *forgery) summary() string {
	var b strings.Builder
	for _, p := range projects {
		b.WriteString(p.Name + ":")
		for _, k := range f.content[f.heads[p.Name]] {
			b.WriteString(" " + string(k))
		}
		b.WriteString("\n")
	}
	for _, k := range f.order {
		var said []string
		for _, s := range f.said[k] {
			// Whether check is done before the gate supersedes it is a matter of time.
			if strings.HasPrefix(s, "gate ") && !slices.Contains(said, s) {
				said = append(said, s)
			}
		}
		b.WriteString(string(k) + ": " + strings.Join(said, ", ") + "\n")
	}
	return b.String()
}
