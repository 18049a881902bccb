// Package merger is the worker that makes speculative states: it fetches repositories, merges the changes
// of a queue one on top of the other as objects in bare repositories, and reads configuration files from
// the result. The same merge has the same commit id everywhere: author, committer and date are fixed by
// the request. It decides nothing: what is merged, in which order and how, is in the request.
package merger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Who the speculative commits are by: part of their ids, so never to be changed.
const (
	committerName  = "Gozer"
	committerEmail = "gozer@localhost"
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
