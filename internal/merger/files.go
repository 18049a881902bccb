package merger

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

func (m *Merger) repoState(ctx context.Context, t *store.Task) error {
	var req pipeline.RepoState
	if err := t.Decode(ctx, &req); err != nil {
		return err
	}
	out, err := m.RepoState(ctx, &req, t.Seen)
	if err != nil {
		return err
	}
	return t.Done(ctx, out)
}

// RepoState adds the refs of further projects to a state, as they are now or were after since. What is not there
// is told in the answer.
func (m *Merger) RepoState(ctx context.Context, req *pipeline.RepoState, since time.Time) (*pipeline.RepoStated, error) {
	st := State{}
	if req.Have != "" {
		if err := m.Store.JSON(ctx, req.Have, &st); err != nil {
			return nil, err
		}
	}
	out := &pipeline.RepoStated{Item: req.Item, Buildset: req.Buildset}
	for _, p := range req.Projects {
		if st[p.Canonical()] != nil {
			continue
		}
		_, tips, err := m.Repos.Since(ctx, p, since)
		if errors.Is(err, forge.ErrNotFound) {
			out.Problem = err.Error()
			continue
		}
		if err != nil {
			return nil, err
		}
		st[p.Canonical()] = tips
	}
	var err error
	out.RepoState, err = m.Store.PutJSON(ctx, st)
	return out, err
}

func (m *Merger) files(ctx context.Context, t *store.Task) error {
	var req store.FilesRequest
	if err := t.Decode(ctx, &req); err != nil {
		return err
	}
	ans := store.FilesAnswer{Branches: make([]store.Files, len(req.Branches))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(m.AtOnce)
	for i, b := range req.Branches {
		g.Go(func() error {
			ans.Branches[i] = m.branch(gctx, b)
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return t.Reply(ctx, ans, "")
}

// branch reads the configuration of one branch; what went wrong is part of the answer.
func (m *Merger) branch(ctx context.Context, b store.FilesBranch) store.Files {
	out := store.Files{Project: b.Project, Branch: b.Branch}
	g, err := m.at(ctx, b)
	if err == nil {
		out.Commit, err = g.ResolveRef(ctx, "refs/heads/"+b.Branch)
	}
	if err == nil {
		out.Files, err = files(ctx, g, out.Commit, b.Paths)
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// at gives a repository that has the wanted commit, fetched only where it must be.
func (m *Merger) at(ctx context.Context, b store.FilesBranch) (*git.Repo, error) {
	if b.Commit != "" {
		x, err := m.Repos.repo(b.Project)
		if err != nil {
			return nil, err
		}
		if have, err := x.ResolveRef(ctx, "refs/heads/"+b.Branch); err == nil && have == b.Commit {
			return x.Repo, nil
		}
	}
	return m.Repos.Fresh(ctx, b.Project)
}
