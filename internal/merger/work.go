package merger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// conflict is a merge that is not possible, in words for people.
type conflict struct{ text string }

func (c conflict) Error() string { return c.text }

type place struct {
	project change.Project
	branch  string
}

// work is one request while it is carried out.
type work struct {
	repos *Repos
	req   *pipeline.Merge
	since time.Time
	heads map[place]string
	bare  map[change.Project]*git.Repo
	state State
}

// fetch brings every repository up to date, with the refs of the changes, and records its state.
func (w *work) fetch(ctx context.Context) error {
	refs := map[change.Project][]string{}
	for _, op := range w.req.Operations {
		if !w.req.Refs && op.Ref != "" && !w.has(ctx, op) {
			refs[op.Project] = append(refs[op.Project], op.Ref)
		} else if refs[op.Project] == nil {
			refs[op.Project] = []string{}
		}
	}
	for _, c := range w.req.Config {
		if refs[c.Project] == nil {
			refs[c.Project] = []string{}
		}
	}
	for p, rs := range refs {
		g, tips, err := w.repos.Since(ctx, p, w.since, rs...)
		if err != nil && (len(rs) == 0 || !unknownRef(err)) {
			return err
		}
		if g == nil {
			if g, tips, err = w.repos.Since(ctx, p, w.since); err != nil {
				return err
			}
		}
		w.bare[p], w.state[p.Canonical()] = g, maps.Clone(tips)
	}
	return nil
}

// has tells whether the change is here already, so that only the branches need to be asked for: a gate that
// starts over brings the same changes again and again.
func (w *work) has(ctx context.Context, op *pipeline.MergeOp) bool {
	if op.Commit == "" {
		return false
	}
	g, err := w.repos.repo(op.Project)
	return err == nil && g.has(ctx, op.Commit)
}

// unknownRef tells whether a fetch ended because the remote has no such ref.
func unknownRef(err error) bool {
	var e *git.Error
	return errors.As(err, &e) && strings.Contains(e.Stderr, "couldn't find remote ref")
}

func (w *work) head(p change.Project, branch string) (string, bool) {
	if h := w.heads[place{p, branch}]; h != "" {
		return h, true
	}
	h, ok := w.state[p.Canonical()]["refs/heads/"+branch]
	return h, ok
}

// all merges the operations in order.
func (w *work) all(ctx context.Context, res *pipeline.MergeResult) error {
	for _, op := range w.req.Operations {
		c, err := w.one(ctx, op)
		if err != nil {
			return err
		}
		w.heads[place{op.Project, op.Branch}] = c.Commit
		res.Commits = append(res.Commits, c)
	}
	return nil
}

func (w *work) one(ctx context.Context, op *pipeline.MergeOp) (pipeline.Commit, error) {
	g := w.bare[op.Project]
	what := fmt.Sprintf("Error merging %s/%s for %s,%s", op.Project.Connection, op.Project.Name, op.Number, op.Patchset)
	base, ok := w.head(op.Project, op.Branch)
	if !ok {
		return pipeline.Commit{}, conflict{fmt.Sprintf("%s: there is no branch %s", what, op.Branch)}
	}
	tip := op.Commit
	if tip == "" {
		var err error
		if tip, err = g.ResolveRef(ctx, op.Ref); errors.Is(err, git.ErrNotFound) {
			return pipeline.Commit{}, conflict{fmt.Sprintf("%s: the forge has no %s", what, op.Ref)}
		} else if err != nil {
			return pipeline.Commit{}, err
		}
	}
	if w.has(ctx, op) {
		// asked before
	} else if has, err := g.Has(ctx, tip); err != nil {
		return pipeline.Commit{}, err
	} else if !has {
		return pipeline.Commit{}, conflict{fmt.Sprintf("%s: the forge has no commit %s", what, tip)}
	}
	when := op.Time
	if when.IsZero() {
		when = w.req.Time
	}
	r, err := w.repos.memo.merge(ctx, g, op, base, tip, when)
	if err != nil {
		return pipeline.Commit{}, fmt.Errorf("%s: %w", what, err)
	}
	if r.Conflict != nil {
		return pipeline.Commit{}, conflict{what + ": " + r.Conflict.String()}
	}
	return pipeline.Commit{Project: op.Project, Branch: op.Branch, Commit: r.Commit, Tree: r.Tree, Base: base, Change: op.Key}, nil
}

// refs reads the state of refs: nothing is merged.
func (w *work) refs(ctx context.Context, res *pipeline.MergeResult) error {
	for _, op := range w.req.Operations {
		g := w.bare[op.Project]
		c := pipeline.Commit{Project: op.Project, Branch: op.Branch, Commit: op.NewRev, Change: op.Key}
		if c.Commit == "" || c.Commit == change.Zero {
			c.Commit = w.state[op.Project.Canonical()][op.Ref]
		}
		if c.Commit != "" {
			if has, err := g.Has(ctx, c.Commit); err != nil {
				return err
			} else if has {
				if c.Tree, err = g.Tree(ctx, c.Commit); err != nil {
					return err
				}
			}
		}
		// The item is about this commit even if the branch moved on since.
		if op.Branch != "" && c.Commit != "" {
			w.state[op.Project.Canonical()]["refs/heads/"+op.Branch] = c.Commit
		}
		c.Base = c.Commit
		res.Commits = append(res.Commits, c)
		if strings.HasPrefix(op.Ref, "refs/tags/") && c.Commit != "" {
			in, err := g.ContainingBranches(ctx, c.Commit)
			if err != nil {
				return err
			}
			res.Containing = in
		}
	}
	return nil
}

// changed finds the changed files of the changes that the request asks for.
func (w *work) changed(ctx context.Context, out *pipeline.Merged) error {
	for _, k := range w.req.Files {
		for _, op := range w.req.Operations {
			if op.Key != k {
				continue
			}
			list, err := w.files(ctx, op)
			if err != nil {
				return err
			}
			if out.Files == nil {
				out.Files = map[change.Key][]string{}
			}
			out.Files[k] = list
		}
	}
	return nil
}

func (w *work) files(ctx context.Context, op *pipeline.MergeOp) ([]string, error) {
	g := w.bare[op.Project]
	if w.req.Refs {
		if op.OldRev == "" || op.OldRev == change.Zero || op.NewRev == "" || op.NewRev == change.Zero {
			return []string{}, nil
		}
		for _, rev := range []string{op.OldRev, op.NewRev} {
			// After a forced push the forge may not have the old one any more.
			if has, err := g.Has(ctx, rev); err != nil || !has {
				return []string{}, err
			}
		}
		return g.ChangedFiles(ctx, op.OldRev, op.NewRev)
	}
	tip := op.Commit
	if tip == "" {
		var err error
		if tip, err = g.ResolveRef(ctx, op.Ref); errors.Is(err, git.ErrNotFound) {
			return []string{}, nil
		} else if err != nil {
			return nil, err
		}
	}
	head, ok := w.state[op.Project.Canonical()]["refs/heads/"+op.Branch]
	if !ok {
		return []string{}, nil
	}
	base, err := g.MergeBase(ctx, head, tip)
	if errors.Is(err, git.ErrNotFound) {
		return []string{}, nil
	}
	if err != nil {
		return nil, err
	}
	return g.ChangedFiles(ctx, base, tip)
}

// config reads the configuration files after the merge, of every branch that an operation went to.
func (w *work) config(ctx context.Context) ([]store.Files, error) {
	var out []store.Files
	seen := map[place]bool{}
	for _, c := range w.req.Config {
		for _, op := range w.req.Operations {
			at := place{op.Project, op.Branch}
			if op.Project != c.Project || seen[at] {
				continue
			}
			head, ok := w.head(op.Project, op.Branch)
			if !ok {
				continue
			}
			seen[at] = true
			text, err := files(ctx, w.bare[op.Project], head, c.Paths)
			if err != nil {
				return nil, err
			}
			out = append(out, store.Files{Project: op.Project, Branch: op.Branch, Commit: head, Files: text})
		}
	}
	return out, nil
}
