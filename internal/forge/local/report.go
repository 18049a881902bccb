package local

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv"
)

// Report comments, votes and merges; see forge.Forge. The comment and the votes are one transaction
// that also notes the report's id, so they happen once. The merge is decided by the branch alone.
func (f *Forge) Report(ctx context.Context, r forge.Report) (forge.Outcome, error) {
	n, err := strconv.Atoi(r.Change.Number)
	if err != nil {
		return forge.Outcome{}, fmt.Errorf("report on %s: %w", r.Change.ID(), forge.ErrNotFound)
	}
	if err := f.tell(ctx, n, r); err != nil {
		return forge.Outcome{}, fmt.Errorf("report on change %d: %w", n, err)
	}
	if !r.Merge {
		rec, _, err := f.record(ctx, n)
		return forge.Outcome{Merged: err == nil && rec.Status == StatusMerged}, err
	}
	out, err := f.merge(ctx, n, r)
	if err != nil {
		return out, fmt.Errorf("merge change %d: %w", n, err)
	}
	return out, nil
}

// tell adds the comment and votes of a report, once.
func (f *Forge) tell(ctx context.Context, n int, r forge.Report) error {
	rv := Review{Message: r.Message, Files: r.FileComments, Votes: f.votes(r.Options)}
	if c, ok := r.Options["comment"].(bool); ok && !c {
		rv.Message = ""
	}
	if ps, err := strconv.Atoi(r.Change.Patchset); err == nil {
		rv.Patchset = ps
	}
	if rv.Message == "" && len(rv.Votes) == 0 && len(rv.Files) == 0 {
		return nil
	}
	key := f.keyReport(r.ID)
	if res, err := f.Store.Range(ctx, kv.Query{Key: key, KeysOnly: true}); err != nil {
		return err
	} else if len(res.KVs) > 0 {
		return nil
	}
	_, err := f.update(ctx, n, func(rec *Record, d *draft) error {
		if res, err := f.Store.Range(ctx, kv.Query{Key: key, KeysOnly: true}); err != nil || len(res.KVs) > 0 {
			return errors.Join(err, errTold)
		}
		d.txn.If = append(d.txn.If, kv.Missing(key))
		d.put(key, n)
		return f.addReview(rec, d, f.named(f.User), rv, r.URL)
	})
	if errors.Is(err, errTold) {
		return nil
	}
	return err
}

// errTold: another process has carried out the report meanwhile.
var errTold = errors.New("the report was carried out")

// votes takes the label votes out of a reporter's options. A label or value that this forge has not
// is a mistake in the pipeline, which must not keep the comment from people.
func (f *Forge) votes(options map[string]any) map[string]int {
	out := map[string]int{}
	for _, l := range f.Labels {
		v, ok := number(options[l.Name])
		if !ok {
			continue
		}
		if v < l.Min || v > l.Max {
			f.Log.Warn("vote of a report is out of range", "connection", f.Config.Name, "label", l.Name, "value", v)
			v = min(max(v, l.Min), l.Max)
		}
		out[l.Name] = v
	}
	return out
}

// number reads the numbers that YAML and JSON give.
func number(v any) (int, bool) {
	switch n := v.(type) {
	case int:
		return n, true
	case int64:
		return int(n), true
	case uint64:
		return int(n), true
	case float64:
		return int(n), n == float64(int(n))
	}
	return 0, false
}

// merge lands a change.
func (f *Forge) merge(ctx context.Context, n int, r forge.Report) (forge.Outcome, error) {
	rec, _, err := f.record(ctx, n)
	if err != nil {
		return forge.Outcome{}, err
	}
	if rec.Submit != nil {
		// An earlier try may have moved the branch without telling.
		if done, err := f.finish(ctx, rec, rec.Submit); err != nil || done {
			return forge.Outcome{Merged: done}, err
		}
	}
	if rec.Status == StatusMerged {
		return forge.Outcome{Merged: true}, nil
	}
	if why, err := f.unmergeable(ctx, rec, r); why != "" || err != nil {
		return forge.Outcome{Why: why}, err
	}
	repo, err := f.repo(rec.Project)
	if err != nil {
		return forge.Outcome{}, err
	}
	s, no, err := f.prepare(ctx, repo, rec, r)
	if no.Why != "" || err != nil {
		return no, err
	}
	return f.land(ctx, repo, rec, s)
}

// unmergeable says why a change may not be merged now.
func (f *Forge) unmergeable(ctx context.Context, rec *Record, r forge.Report) (string, error) {
	if rec.Status != StatusNew {
		return "the change is " + strings.ToLower(rec.Status), nil
	}
	if ps := strconv.Itoa(rec.Patchset); r.Change.Patchset != "" && r.Change.Patchset != ps {
		return fmt.Sprintf("patch set %s was tested, and the newest is %s", r.Change.Patchset, ps), nil
	}
	if rec.WIP {
		return "the change is marked as work in progress", nil
	}
	if l := f.missing(rec.Votes); len(l) > 0 {
		return "the change still needs " + strings.Join(l, ", "), nil
	}
	c, err := f.resolved(ctx, rec, &rec.Current)
	if err == nil && len(c.GitNeeds) > 0 {
		return fmt.Sprintf("it is based on %s, which is not merged", c.GitNeeds[0]), nil
	}
	return "", err
}

// prepare gets the merge commit: the tested one, or one of its own. Where there can be none, the outcome says
// why.
func (f *Forge) prepare(ctx context.Context, repo *git.Repo, rec *Record, r forge.Report) (*Submit, forge.Outcome, error) {
	tip, err := refNow(ctx, repo, "refs/heads/"+rec.Branch)
	if err != nil {
		return nil, forge.Outcome{}, err
	}
	switch {
	case tip == git.Zero:
		return nil, forge.Outcome{Why: fmt.Sprintf("branch %s does not exist any more", rec.Branch)}, nil
	case r.Base != "" && r.Base != tip:
		why := fmt.Sprintf("branch %s is at %s, and the change was tested on %s", rec.Branch, tip, r.Base)
		return nil, forge.Outcome{Why: why, Moved: true}, nil
	}
	s := &Submit{Report: r.ID, Base: tip, Result: r.Result, At: f.Now().UTC()}
	if r.Result == "" {
		return f.mergeHere(ctx, repo, rec, r, s)
	}
	if !git.IsID(r.Result) {
		return nil, forge.Outcome{}, fmt.Errorf("result %q is no commit", r.Result)
	}
	has, err := repo.Has(ctx, r.Result)
	if err != nil {
		return nil, forge.Outcome{}, err
	}
	if !has {
		if r.Objects == "" {
			return nil, forge.Outcome{}, fmt.Errorf("commit %s is not here, and the report does not say where it is", r.Result)
		}
		if err := repo.Fetch(ctx, git.Remote{URL: r.Objects}, git.FetchOptions{Refspecs: []string{r.Result}}); err != nil {
			return nil, forge.Outcome{}, err
		}
	}
	if ok, err := repo.IsAncestor(ctx, tip, r.Result); err != nil || !ok {
		return nil, forge.Outcome{Why: fmt.Sprintf("the tested commit %s is not based on %s at %s", r.Result, rec.Branch, tip)}, err
	}
	return s, forge.Outcome{}, nil
}

// mergeHere makes the merge commit in this repository.
func (f *Forge) mergeHere(ctx context.Context, repo *git.Repo, rec *Record, r forge.Report, s *Submit) (*Submit, forge.Outcome, error) {
	by := f.named(f.User)
	subject, _, _ := strings.Cut(rec.Current.Message, "\n")
	req := git.MergeRequest{Mode: git.Mode(r.MergeMode), Base: s.Base, Change: rec.Current.Commit,
		Message: fmt.Sprintf("Merge %q", subject), By: git.Signature{Name: by.Name, Email: by.Email, When: s.At}}
	if req.Mode == git.SquashMerge {
		req.Message = rec.Current.Message
	}
	res, err := repo.Merge(ctx, req)
	if err != nil {
		return nil, forge.Outcome{}, err
	}
	if res.Conflict != nil {
		return nil, forge.Outcome{Why: "merge " + res.Conflict.String()}, nil
	}
	s.Result = res.Commit
	return s, forge.Outcome{}, nil
}

// land moves the branch. Before, the record says so; after, it follows.
func (f *Forge) land(ctx context.Context, repo *git.Repo, rec *Record, s *Submit) (forge.Outcome, error) {
	rec, err := f.update(ctx, rec.Number, func(r *Record, _ *draft) error {
		if !r.open() || r.Current.Commit != rec.Current.Commit {
			return refuse("the change was altered while it was about to be merged")
		}
		r.Submit = s
		return nil
	})
	if Refused(err) {
		return forge.Outcome{Why: err.Error()}, nil
	}
	if err != nil {
		return forge.Outcome{}, err
	}
	if s.Result != s.Base {
		err = repo.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/" + rec.Branch, New: s.Result, Old: s.Base})
		if err != nil && !errors.Is(err, git.ErrMoved) {
			return forge.Outcome{}, err
		}
	}
	done, ferr := f.finish(ctx, rec, s)
	if ferr != nil || done {
		return forge.Outcome{Merged: done}, ferr
	}
	return forge.Outcome{Why: fmt.Sprintf("branch %s moved away from %s", rec.Branch, s.Base), Moved: true}, nil
}

// finish marks a change as merged if its branch contains the result, whoever moved it there.
func (f *Forge) finish(ctx context.Context, rec *Record, s *Submit) (bool, error) {
	repo, err := f.repo(rec.Project)
	if err != nil {
		return false, err
	}
	tip, err := refNow(ctx, repo, "refs/heads/"+rec.Branch)
	if err != nil || tip == git.Zero {
		return false, err
	}
	has, err := repo.Has(ctx, s.Result)
	if err != nil || !has {
		return false, err
	}
	if in, err := repo.IsAncestor(ctx, s.Result, tip); err != nil || !in {
		return false, err
	}
	by := f.named(f.User)
	_, err = f.update(ctx, rec.Number, func(r *Record, d *draft) error {
		if r.Status == StatusMerged {
			return errTold
		}
		r.Status, r.Submit, r.Landed = StatusMerged, nil, s.Result
		d.comment(r.Number, Comment{At: f.Now().UTC(), User: by.Name, Patchset: r.Patchset, Text: "Merged as " + s.Result})
		e := f.newEvent("change-merged", r, by)
		e.NewRev = s.Result
		if s.Result != s.Base {
			d.event(f.refEvent(r.Project, "refs/heads/"+r.Branch, s.Base, s.Result, by), outboxEntry{})
		}
		d.event(e, outboxEntry{})
		return nil
	})
	if errors.Is(err, errTold) {
		err = nil
	}
	return err == nil, err
}
