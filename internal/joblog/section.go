package joblog

import (
	"context"
	"strings"
)

// Section is a part of a log that has a name: a playbook, a play or a task.
type Section struct {
	Kind, Name string
	// From is its first line, To the one after its last; Open: it goes on.
	From, To int
	Open     bool
}

// levels order what contains what.
var levels = map[string]int{"playbook": 1, "play": 2, "task": 3}

// Sections are the parts of the log that the marks divide it into, in order: a section goes on to the
// next of its kind, or of a kind that contains it.
func (i Index) Sections() []Section {
	var out []Section
	for k, m := range i.Marks {
		level := levels[m.Kind]
		if level == 0 {
			continue
		}
		s := Section{Kind: m.Kind, Name: m.Name, From: m.Line, To: i.Lines, Open: !i.Done}
		for _, next := range i.Marks[k+1:] {
			if l := levels[next.Kind]; l > 0 && l <= level {
				s.To, s.Open = next.Line, false
				break
			}
		}
		out = append(out, s)
	}
	return out
}

// Named tells whether the section is meant by a name: the whole of it, or a part, whatever the case.
func (s Section) Named(name string) bool {
	return strings.Contains(strings.ToLower(s.Name), strings.ToLower(name))
}

// Find gives the sections that are meant by a name: those whose whole name it is, else those of which it
// is a part. What lies inside another one is not told again.
func (i Index) Find(name string) []Section {
	all := i.Sections()
	pick := func(meant func(Section) bool) (out []Section) {
		for _, s := range all {
			if meant(s) && (len(out) == 0 || s.From >= out[len(out)-1].To) {
				out = append(out, s)
			}
		}
		return out
	}
	if exact := pick(func(s Section) bool { return s.Name == name }); len(exact) > 0 {
		return exact
	}
	return pick(func(s Section) bool { return s.Named(name) })
}

// FollowSections gives the lines of the sections that are meant by a name, from line from on, as Follow
// does; found is whether there was any.
func (r *Reader) FollowSections(ctx context.Context, name string, from int, f func(first int, lines []string) error) (found bool, err error) {
	for {
		i, more := r.state()
		for _, s := range i.Find(name) {
			found = true
			for from = max(from, s.From); from < s.To; {
				lines, err := r.lines(ctx, i, from, min(batch, s.To-from), mostFollowed)
				if err != nil {
					return found, err
				}
				if err := f(from, lines); err != nil {
					return found, err
				}
				from += len(lines)
			}
		}
		if i.Done {
			return found, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return found, context.Cause(ctx)
		}
	}
}
