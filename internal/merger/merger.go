// Package merger is the worker that makes speculative states: it fetches repositories, merges the changes
// of a queue one on top of the other as objects in bare repositories, and reads configuration files from
// the result. The same merge has the same commit id everywhere: author, committer and date are fixed by
// the request. It decides nothing: what is merged, in which order and how, is in the request.
package merger

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Config is what a Merger needs.
type Config struct {
	Store   *store.Store
	Session *kv.Session
	ID      string
	Repos   *Repos
	// AtOnce bounds merges in progress; 4 where it is 0.
	AtOnce int
	Log    *slog.Logger
}

// Merger serves merge, repository state and file requests.
type Merger struct{ Config }

// New makes a merger.
func New(c Config) *Merger {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.AtOnce == 0 {
		c.AtOnce = 4
	}
	return &Merger{c}
}

// Run serves until ctx ends or the session is lost.
func (m *Merger) Run(ctx context.Context) error {
	if err := m.Store.Join(ctx, m.Session, store.Member{ID: m.ID, Role: "merger", Started: time.Now(), State: "running"}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for kind, handle := range map[string]func(context.Context, *store.Task) error{
		store.KindMerge: m.merge, store.KindRepoState: m.repoState, store.KindFiles: m.files,
	} {
		g.Go(func() error {
			return store.Serve(ctx, m.Store, store.ServeConfig{Kind: kind, Session: m.Session, Owner: m.ID, Log: m.Log,
				Slots: func(busy int) int { return m.AtOnce - busy }}, handle)
		})
	}
	return g.Wait()
}

func (m *Merger) merge(ctx context.Context, t *store.Task) error {
	var req pipeline.Merge
	if err := t.Decode(ctx, &req); err != nil {
		return err
	}
	out, err := m.Merge(ctx, &req, t.Seen)
	if err != nil {
		return err
	}
	return t.Done(ctx, out)
}

// Merge makes the speculative state that a request describes. What cannot be merged is in the answer; an
// error means that the request should be tried again (a forge does not answer). What the forge has now or had after
// a moment counts: since then the request is known.
func (m *Merger) Merge(ctx context.Context, req *pipeline.Merge, since time.Time) (*pipeline.Merged, error) {
	w := &work{repos: m.Repos, req: req, since: since, heads: map[place]string{}, bare: map[change.Project]*git.Repo{}, state: State{}}
	out := &pipeline.Merged{Item: req.Item, Buildset: req.Buildset}
	if err := w.fetch(ctx); err != nil {
		return nil, err
	}
	res := &pipeline.MergeResult{}
	var err error
	if req.Refs {
		err = w.refs(ctx, res)
	} else {
		err = w.all(ctx, res)
	}
	var no conflict
	if errors.As(err, &no) {
		out.Conflict = no.text
		if ferr := w.changed(ctx, out); ferr != nil {
			return nil, ferr
		}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if err := w.changed(ctx, out); err != nil {
		return nil, err
	}
	if len(req.Config) > 0 {
		cfg, err := w.config(ctx)
		if err != nil {
			return nil, err
		}
		if res.Config, err = m.Store.PutJSON(ctx, cfg); err != nil {
			return nil, err
		}
	}
	if res.RepoState, err = m.Store.PutJSON(ctx, w.state); err != nil {
		return nil, err
	}
	out.Result = res
	return out, nil
}
