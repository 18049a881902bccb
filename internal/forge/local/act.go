package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// identity is who does something.
type identity struct {
	Name, Email string
	Admin       bool
}

// refusal is a request that cannot be carried out as it is, in words for whoever made it.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...)} }

// Refused tells whether err is a refusal: what was asked for is not possible, and asking again is no
// use. Its text is for the person who asked.
func Refused(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// Review is a comment and votes on a change.
type Review struct {
	// Patchset is what the comment is about; 0 is the newest. Votes count on the newest only.
	Patchset int                  `json:"patchset,omitempty"`
	Message  string               `json:"message,omitempty"`
	Votes    map[string]int       `json:"votes,omitempty"`
	Files    []change.FileComment `json:"files,omitempty"`
}

// maxComment bounds the text of a comment; longer ones are cut.
const maxComment = 128 << 10

// Review adds a comment and votes, as user; one comment-added event comes of it.
func (f *Forge) Review(ctx context.Context, number int, user string, rv Review) (*Record, error) {
	return f.review(ctx, number, f.named(user), rv)
}

func (f *Forge) review(ctx context.Context, number int, by identity, rv Review) (*Record, error) {
	if rv.Message == "" && len(rv.Votes) == 0 && len(rv.Files) == 0 {
		return nil, refuse("a review needs a message or a vote")
	}
	if err := f.checkVotes(rv.Votes); err != nil {
		return nil, err
	}
	return f.update(ctx, number, func(r *Record, d *draft) error {
		if len(rv.Votes) > 0 && !r.open() {
			return refuse("change %d is %s: it takes no votes", number, strings.ToLower(r.Status))
		}
		return f.addReview(r, d, by, rv, "")
	})
}

// addReview alters r by a review. Votes for an old patch set are left out.
func (f *Forge) addReview(r *Record, d *draft, by identity, rv Review, url string) error {
	ps := rv.Patchset
	if ps == 0 {
		ps = r.Patchset
	}
	if ps < 0 || ps > r.Patchset {
		return refuse("change %d has no patch set %d", r.Number, ps)
	}
	var votes []event.Vote
	if ps == r.Patchset && r.open() {
		votes = f.castVotes(r, by, rv.Votes)
	}
	text := fmt.Sprintf("Patch Set %d:", ps)
	plain := make([]change.Vote, len(votes))
	for i, v := range votes {
		plain[i] = v.Vote
		text += fmt.Sprintf(" %s%+d", v.Label, v.Value)
	}
	msg := cut(strings.TrimSpace(rv.Message))
	if msg != "" {
		text += "\n\n" + msg
	}
	d.comment(r.Number, Comment{At: f.Now().UTC(), User: by.Name, Patchset: ps, Text: msg, Votes: plain, Files: rv.Files, URL: url})
	e := f.newEvent("comment-added", r, by)
	e.Patchset, e.Comment, e.Votes = strconv.Itoa(ps), text, votes
	d.event(e, outboxEntry{Ensure: &ensure{r.Project, r.ref(), r.Current.Commit}})
	return nil
}

func cut(s string) string {
	if len(s) <= maxComment {
		return s
	}
	return strings.ToValidUTF8(s[:maxComment], "") + "\n(the rest is cut)"
}

func (f *Forge) checkVotes(votes map[string]int) error {
	for name, v := range votes {
		i := slices.IndexFunc(f.Labels, func(l Label) bool { return l.Name == name })
		if i < 0 {
			names := make([]string, len(f.Labels))
			for k, l := range f.Labels {
				names[k] = l.Name
			}
			return refuse("there is no label %q; there are: %s", name, strings.Join(names, ", "))
		}
		if l := f.Labels[i]; v < l.Min || v > l.Max {
			return refuse("label %s takes votes from %d to %d, not %d", name, l.Min, l.Max, v)
		}
	}
	return nil
}

// castVotes replaces the user's votes, in the order of the labels; a vote of 0 takes one back.
func (f *Forge) castVotes(r *Record, by identity, votes map[string]int) []event.Vote {
	var out []event.Vote
	for _, l := range f.Labels {
		value, ok := votes[l.Name]
		if !ok {
			continue
		}
		old := 0
		r.Votes = slices.DeleteFunc(slices.Clone(r.Votes), func(v change.Vote) bool {
			mine := v.Label == l.Name && v.User == by.Name
			if mine {
				old = v.Value
			}
			return mine
		})
		v := change.Vote{Label: l.Name, Value: value, User: by.Name, Email: by.Email, At: f.Now().UTC()}
		if value != 0 {
			r.Votes = append(r.Votes, v)
		}
		out = append(out, event.Vote{Vote: v, Old: &old})
	}
	return out
}

// Abandon closes a change without merging it; it gives a change-abandoned event.
func (f *Forge) Abandon(ctx context.Context, number int, user, message string) (*Record, error) {
	return f.setStatus(ctx, number, f.named(user), StatusNew, StatusAbandoned, "change-abandoned", message)
}

// Restore opens an abandoned change again; it gives a change-restored event.
func (f *Forge) Restore(ctx context.Context, number int, user, message string) (*Record, error) {
	return f.setStatus(ctx, number, f.named(user), StatusAbandoned, StatusNew, "change-restored", message)
}

func (f *Forge) setStatus(ctx context.Context, number int, by identity, from, to, typ, message string) (*Record, error) {
	return f.update(ctx, number, func(r *Record, d *draft) error {
		if r.Status != from {
			return refuse("change %d is %s, not %s", number, strings.ToLower(r.Status), strings.ToLower(from))
		}
		r.Status, r.Submit = to, nil
		text := strings.ToUpper(to[:1]) + strings.ToLower(to[1:])
		if to == StatusNew {
			text = "Restored"
		}
		if message = strings.TrimSpace(message); message != "" {
			text += "\n\n" + cut(message)
		}
		d.comment(number, Comment{At: f.Now().UTC(), User: by.Name, Patchset: r.Patchset, Text: text})
		e := f.newEvent(typ, r, by)
		e.Comment = message
		d.event(e, outboxEntry{})
		return nil
	})
}

// SetTopic gives a change a topic, or takes it away; it gives a topic-changed event.
func (f *Forge) SetTopic(ctx context.Context, number int, user, topic string) (*Record, error) {
	return f.update(ctx, number, func(r *Record, d *draft) error {
		if r.Topic != topic {
			r.Topic = topic
			d.event(f.newEvent("topic-changed", r, f.named(user)), outboxEntry{})
		}
		return nil
	})
}

// SetWIP marks a change as work in progress, or as ready; it gives a wip-state-changed event.
func (f *Forge) SetWIP(ctx context.Context, number int, user string, wip bool) (*Record, error) {
	return f.update(ctx, number, func(r *Record, d *draft) error {
		if r.WIP != wip {
			r.WIP = wip
			d.event(f.newEvent("wip-state-changed", r, f.named(user)), outboxEntry{})
		}
		return nil
	})
}

// named is the identity of a user of the given name.
func (f *Forge) named(name string) identity {
	for _, u := range f.Users {
		if u.Name == name {
			return identity{u.Name, u.Email, u.Admin}
		}
	}
	return identity{Name: name, Email: name + "@" + f.Config.Host, Admin: name == adminName}
}

// adminName is the user who may do everything.
const adminName = "admin"
