package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
)

// settings of a reporter that are no votes.
var settings = []string{"submit", "comment", "notify", "checks-api"}

// Report comments, votes and merges; see forge.Forge.
func (f *Forge) Report(ctx context.Context, r forge.Report) (forge.Outcome, error) {
	n, err := strconv.Atoi(r.Change.Number)
	if err != nil {
		return forge.Outcome{}, nil // a ref: Gerrit has no place for what is said of it
	}
	var out forge.Outcome
	err = f.change(n, func(c *Change) error {
		if o, ok := f.done[r.ID]; ok {
			out = o
			return nil
		}
		var err error
		if r.Merge {
			if out, err = f.submit(ctx, c); f.c.Mute {
				out.Why = ""
			}
		} else {
			f.say(c, r)
			out.Merged = c.Status == StatusMerged
		}
		f.done[r.ID] = out
		return err
	})
	return out, err
}

func (f *Forge) say(c *Change, r forge.Report) {
	if comment, set := r.Options["comment"].(bool); r.Message != "" && (comment || !set) {
		c.Messages = append(c.Messages, r.Message)
		c.Reports++
	}
	if r.Change.Patchset != strconv.Itoa(len(c.Patchsets)) && !f.c.Shell {
		return // labels and remarks are for the current patch set only
	}
	for _, label := range slices.Sorted(maps.Keys(r.Options)) {
		v, ok := number(r.Options[label])
		if ok && !slices.Contains(settings, label) {
			f.vote(c, change.Vote{Label: label, Value: v, User: f.c.User, Email: f.c.User + "@example.com", At: f.c.Now()})
		}
	}
	if !f.c.Shell {
		c.FileComments = append(c.FileComments, r.FileComments...)
	}
}

// number reads a vote, which went through JSON or YAML.
func number(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case int64:
		return int(v), true
	case uint64:
		return int(v), true
	case float64:
		return int(v), v == float64(int(v))
	}
	return 0, false
}

// submit merges a change; of a topic that is submitted as a whole, all its open changes and their parents.
func (f *Forge) submit(ctx context.Context, c *Change) (forge.Outcome, error) {
	if c.Status != StatusNew && c.Status != StatusMerged {
		return forge.Outcome{Why: "the change is " + c.Status}, nil
	}
	if c.Status == StatusMerged {
		return forge.Outcome{Merged: true}, nil
	}
	all := []*Change{c}
	if f.c.WholeTopic && c.Topic != "" {
		all = f.together(c.Topic)
	}
	if f.c.Strict {
		for _, x := range all {
			if miss := x.missing(); len(miss) > 0 {
				return forge.Outcome{Why: fmt.Sprintf("change %d still needs %v", x.Number, miss)}, nil
			}
		}
	}
	for _, x := range all {
		if err := f.merge(ctx, x); err != nil {
			return forge.Outcome{Why: err.Error()}, nil
		}
	}
	return forge.Outcome{Merged: c.Status == StatusMerged}, nil // a refusal is silent
}

// together lists the open changes of a topic with their unmerged parents, parents first.
func (f *Forge) together(topic string) []*Change {
	var out []*Change
	var add func(*Change)
	add = func(c *Change) {
		if !c.Open() || slices.Contains(out, c) {
			return
		}
		if c.parent {
			add(f.changes[c.parentOf[0]-1])
		}
		out = append(out, c)
	}
	for _, c := range f.changes {
		if c.Topic == topic {
			add(c)
		}
	}
	return out
}
