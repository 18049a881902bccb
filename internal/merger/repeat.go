package merger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Who the speculative commits are by: part of their ids, so never to be changed.
const (
	committerName  = "Gozer"
	committerEmail = "gozer@localhost"
)

// mergeOp makes one merge; equal arguments give equal commit ids.
func mergeOp(ctx context.Context, g *git.Repo, op *pipeline.MergeOp, base, tip string, when time.Time) (git.MergeResult, error) {
	return g.Merge(ctx, git.MergeRequest{
		Mode: git.Mode(op.Mode), Base: base, Change: tip, Message: message(op),
		By: git.Signature{Name: committerName, Email: committerEmail, When: when.UTC()},
	})
}

// Repeat makes a merge again that some merger made, on a repository that has the change and the base, and
// gives the same commit id.
func Repeat(ctx context.Context, g *git.Repo, op *pipeline.MergeOp, base string, when time.Time) (string, error) {
	tip := op.Commit
	if tip == "" {
		var err error
		if tip, err = g.ResolveRef(ctx, op.Ref); err != nil {
			return "", err
		}
	}
	if !op.Time.IsZero() {
		when = op.Time
	}
	r, err := mergeOp(ctx, g, op, base, tip, when)
	if err != nil {
		return "", err
	}
	if r.Conflict != nil {
		return "", fmt.Errorf("merge %s,%s onto %s again: %s", op.Number, op.Patchset, base, r.Conflict)
	}
	return r.Commit, nil
}

// message is the text of a merge commit.
func message(op *pipeline.MergeOp) string {
	subject, _, _ := strings.Cut(op.Message, "\n")
	if subject == "" {
		return fmt.Sprintf("Merge change %s,%s\n", op.Number, op.Patchset)
	}
	return fmt.Sprintf("Merge %q\n", subject)
}

// Objects tells from where a forge can fetch the tested merge commit of a change; see reporter.Objects.
func (r *Repos) Objects(ctx context.Context, rep *pipeline.Report, c *change.Change) (string, error) {
	x, err := r.repo(c.Project)
	if err != nil {
		return "", err
	}
	for _, m := range rep.Commits {
		if m.Change != c.Key() {
			continue
		}
		has, err := x.Has(ctx, m.Commit)
		if err != nil {
			return "", err
		}
		if !has {
			if err := r.repeat(ctx, rep, m); err != nil {
				return "", fmt.Errorf("make the tested commit %s of %s here, too: %w", m.Commit, c.Project, err)
			}
		}
	}
	return r.Path(c.Project), nil
}

// repeat makes a tested commit that a merger made elsewhere, which gives the same commit; what it was made
// upon is the branch now, or a change that merges with it.
func (r *Repos) repeat(ctx context.Context, rep *pipeline.Report, want pipeline.Commit) error {
	i := slices.IndexFunc(rep.Operations, func(op *pipeline.MergeOp) bool { return op.Key == want.Change })
	if i < 0 {
		return errors.New("the report does not say how it was made")
	}
	op := rep.Operations[i]
	g, err := r.Fresh(ctx, op.Project, op.Ref)
	if err != nil {
		return err
	}
	if has, err := g.Has(ctx, want.Base); err != nil {
		return err
	} else if !has {
		for _, m := range rep.Commits {
			if m.Commit == want.Base && m.Project == want.Project {
				if err := r.repeat(ctx, rep, m); err != nil {
					return err
				}
			}
		}
	}
	got, err := Repeat(ctx, g, op, want.Base, op.Time)
	if err != nil {
		return err
	}
	if got != want.Commit {
		return fmt.Errorf("it became %s", got)
	}
	return nil
}
