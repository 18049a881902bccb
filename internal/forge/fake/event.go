package fake

import (
	"context"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// The account that events are by.
const (
	author      = "author_phil"
	authorEmail = "author@example.com"
)

// about begins an event about a patch set (0: the current one).
func (f *Forge) about(number, patchset int, kind string) (event.Event, error) {
	var e event.Event
	err := f.change(number, func(c *Change) error {
		if patchset == 0 {
			patchset = len(c.Patchsets)
		}
		e = event.Event{Type: kind, Project: f.project(c.Project), Branch: c.Branch, Ref: c.ref(patchset),
			Number: strconv.Itoa(number), Patchset: strconv.Itoa(patchset), User: author, Email: authorEmail, Name: "Phil Author"}
		return nil
	})
	return e, err
}

// Send sends an event that is about a patch set (0: the current one) and has no more to say:
// patchset-created, change-merged, change-abandoned, change-restored.
func (f *Forge) Send(ctx context.Context, kind string, number, patchset int) error {
	e, err := f.about(number, patchset, kind)
	if err != nil {
		return err
	}
	return f.send(ctx, e)
}

// Comment sends the event of a comment, with the votes that came with it.
func (f *Forge) Comment(ctx context.Context, number, patchset int, text string, votes ...change.Vote) error {
	e, err := f.about(number, patchset, "comment-added")
	if err != nil {
		return err
	}
	e.Comment = text
	for _, v := range votes {
		e.Votes = append(e.Votes, event.Vote{Vote: v})
	}
	return f.send(ctx, e)
}

// RefUpdated sends the event of a ref that moved from one revision to another.
func (f *Forge) RefUpdated(ctx context.Context, project, ref, oldRev, newRev string) error {
	e := event.Event{Type: "ref-updated", Project: f.project(project), Ref: ref, OldRev: oldRev, NewRev: newRev,
		User: author, Email: authorEmail, Name: "Phil Author"}
	if branch, ok := branchOf(ref); ok {
		e.Branch, e.BranchCreated, e.BranchDeleted = branch, oldRev == change.Zero, newRev == change.Zero
	}
	return f.send(ctx, e)
}

// branchOf is the branch that Gerrit's name of a ref means: it may leave refs/heads/ away.
func branchOf(ref string) (string, bool) {
	if b, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		return b, true
	}
	return ref, !strings.HasPrefix(ref, "refs/")
}
