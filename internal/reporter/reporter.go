// Package reporter carries out the report effects of pipelines: it tells the forges, change by change,
// what a pipeline has to say, and asks them to merge. Comments and votes of all changes go out before the
// first merge is asked for, so that a cycle is told of before it lands (semantics 2.7). It decides nothing:
// which reporters, texts and merges there are is in the effect.
package reporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Objects makes sure that the tested merge commits of a report can be fetched by a forge that pushes by
// itself, and tells from where. It is the merger's repositories.
type Objects interface {
	Objects(ctx context.Context, r *pipeline.Report, c *change.Change) (path string, err error)
}

// Mailer sends what a mail reporter has to say.
type Mailer interface {
	Mail(ctx context.Context, r *pipeline.Report, rep pipeline.Reporter, changes []*change.Change, text string) error
}

// Config is what a Reporter needs.
type Config struct {
	Store   *store.Store
	Session *kv.Session
	ID      string
	Forges  *forge.Set
	Objects Objects
	// Remark adds what a report on failed builds shall say beside what the pipeline says, such as whether a
	// failure is new; nil: nothing.
	Remark func(ctx context.Context, tenant string, rep *pipeline.Report) string
	// Mailers by connection name.
	Mailers map[string]Mailer
	// AtOnce bounds reports in flight; 0 is 16, since each may wait for a slow forge.
	AtOnce int
	Log    *slog.Logger
}

// Reporter serves report requests.
type Reporter struct{ Config }

// New makes a reporter.
func New(c Config) *Reporter {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.AtOnce == 0 {
		c.AtOnce = 16
	}
	return &Reporter{c}
}

// tries is how often a forge that does not answer is asked to take a report before the report counts as
// failed.
const tries = 4

// Run serves until ctx ends or the session is lost.
func (r *Reporter) Run(ctx context.Context) error {
	return store.Serve(ctx, r.Store, store.ServeConfig{
		Kind: store.KindReport, Session: r.Session, Owner: r.ID, Log: r.Log,
		Slots: func(busy int) int { return r.AtOnce - busy },
	}, r.handle)
}

func (r *Reporter) handle(ctx context.Context, t *store.Task) error {
	var rep pipeline.Report
	if err := t.Decode(ctx, &rep); err != nil {
		return err
	}
	out := r.Carry(ctx, t.Request.Tenant, t.Request.Pipeline, &rep)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !rep.Merge {
		return t.Done(ctx)
	}
	return t.Done(ctx, out)
}

// Carry tells the forges and merges; what came of it is the answer. It may be called again with the same
// report.
func (r *Reporter) Carry(ctx context.Context, tenant, pipe string, rep *pipeline.Report) *pipeline.Reported {
	out := &pipeline.Reported{Item: rep.Item, Buildset: rep.Buildset, Report: rep.ID,
		Merged: map[change.Key]bool{}, Why: map[change.Key]string{}}
	r.remark(ctx, tenant, rep)
	var errs []error
	for _, rp := range rep.Reporters {
		if m := r.Mailers[rp.Connection]; m != nil {
			errs = append(errs, r.mail(ctx, m, rep, rp))
			continue
		}
		for _, c := range rep.Changes {
			if c.Project.Connection != rp.Connection {
				continue
			}
			_, err := r.tell(ctx, r.report(tenant, pipe, rep, rp, c, false))
			errs = append(errs, err)
		}
	}
	if rep.Merge {
		r.merge(ctx, tenant, pipe, rep, out)
	}
	if err := errors.Join(errs...); err != nil {
		out.Error = err.Error()
		r.Log.Error("a report did not reach everybody", "tenant", tenant, "pipeline", pipe, "item", rep.Item, "error", err)
	}
	return out
}

// remarkTime bounds how long a report waits for a remark.
const remarkTime = 5 * time.Second

// remark puts a remark below the messages of a report on a failure.
func (r *Reporter) remark(ctx context.Context, tenant string, rep *pipeline.Report) {
	if r.Remark == nil || rep.Action != pipeline.ReportFailure {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, remarkTime)
	defer cancel()
	text := r.Remark(ctx, tenant, rep)
	if text == "" {
		return
	}
	for k, m := range rep.Messages {
		if m.Message != "" {
			m.Message = strings.TrimRight(m.Message, "\n") + "\n\n" + text + "\n"
			rep.Messages[k] = m
		}
	}
}

func (r *Reporter) mail(ctx context.Context, m Mailer, rep *pipeline.Report, rp pipeline.Reporter) error {
	text := ""
	for _, c := range rep.Changes {
		if text = rep.Messages[c.Key()].Message; text != "" {
			break
		}
	}
	return m.Mail(ctx, rep, rp, rep.Changes, text)
}

// merge asks for the merges in order. A refusal ends with the change that it is about: the other members of a
// cycle are asked for nevertheless (semantics 2.7), but for those that were tested upon it on the same branch, and
// not after a branch moved, for then all will be tested again.
func (r *Reporter) merge(ctx context.Context, tenant, pipe string, rep *pipeline.Report, out *pipeline.Reported) {
	if why := r.torn(ctx, rep); why != "" {
		for _, c := range rep.Changes {
			out.Merged[c.Key()], out.Why[c.Key()] = false, why
		}
		return
	}
	lost := map[string]bool{} // commits that did not land
	for _, c := range rep.Changes {
		rp, ok := merges(rep, c)
		if !ok {
			continue
		}
		var o forge.Outcome
		var err error
		m := commit(rep, c)
		switch {
		case out.Moved:
			o.Why = "the branch of another change of the item moved"
		case lost[m.Base]:
			o.Why = "it was tested on top of a change that did not merge"
		default:
			o, err = r.mergeOne(ctx, tenant, pipe, rep, rp, c)
		}
		out.Merged[c.Key()] = o.Merged
		out.Moved = out.Moved || o.Moved
		if o.Merged {
			continue
		}
		if out.Why[c.Key()] = o.Why; err != nil {
			out.Why[c.Key()] = err.Error()
		}
		if m.Commit != "" {
			lost[m.Commit] = true
		}
	}
}

// torn says which change keeps a cycle from landing whole: it was closed, or has a newer patch set, since the
// pipeline decided. Nothing of the cycle is merged then. Where a part of it is merged already, by an earlier try,
// the rest follows as far as it can.
func (r *Reporter) torn(ctx context.Context, rep *pipeline.Report) (why string) {
	if len(rep.Changes) < 2 {
		return ""
	}
	for _, c := range rep.Changes {
		f := r.Forges.For(c.Project.Connection)
		if f == nil {
			continue
		}
		now, err := f.Change(ctx, c.Project, c.Number, c.Patchset)
		switch {
		case errors.Is(err, forge.ErrNotFound):
			why = fmt.Sprintf("the forge does not know %s any more, and all changes of the cycle merge or none", c.ID())
		case err != nil: // not known; its merge will tell
		case now.Merged:
			return ""
		case !now.Open:
			why = fmt.Sprintf("%s is not open any more, and all changes of the cycle merge or none", c.ID())
		case !now.Current:
			why = fmt.Sprintf("%s has a newer patch set than the tested one, and all changes of the cycle merge or none", c.ID())
		}
	}
	return why
}

// commit is the merge commit that was tested of a change; empty where there is none.
func commit(rep *pipeline.Report, c *change.Change) pipeline.Commit {
	for _, m := range rep.Commits {
		if m.Change == c.Key() {
			return m
		}
	}
	return pipeline.Commit{}
}

func (r *Reporter) mergeOne(ctx context.Context, tenant, pipe string, rep *pipeline.Report, rp pipeline.Reporter, c *change.Change) (forge.Outcome, error) {
	fr := r.report(tenant, pipe, rep, rp, c, true)
	m := commit(rep, c)
	fr.Base, fr.Result = m.Base, m.Commit
	fr.MergeMode = rep.Modes[c.Key()]
	if r.Objects != nil && fr.Result != "" {
		path, err := r.Objects.Objects(ctx, rep, c)
		if err != nil {
			return forge.Outcome{}, err
		}
		fr.Objects = path
	}
	o, err := r.tell(ctx, fr)
	if err == nil && o.Merged && fr.Result != "" && fr.Result != fr.Base && r.unmoved(ctx, c, fr.Base) {
		return forge.Outcome{Why: fmt.Sprintf("the forge says that it merged the change, and branch %s is still at %s", c.Branch, fr.Base)}, nil
	}
	return o, err
}

// unmoved tells whether the branch is still where it was before the merge, after the forge had a moment.
func (r *Reporter) unmoved(ctx context.Context, c *change.Change, base string) bool {
	f := r.Forges.For(c.Project.Connection)
	for i := range tries {
		list, err := f.Branches(ctx, c.Project)
		if err != nil {
			return false // what it said is all that is known
		}
		at := slices.IndexFunc(list, func(b forge.Branch) bool { return b.Name == c.Branch })
		if at < 0 || list[at].Commit != base {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond << i):
		}
	}
	return true
}

// merges finds the reporter that merges a change.
func merges(rep *pipeline.Report, c *change.Change) (pipeline.Reporter, bool) {
	for _, rp := range rep.Reporters {
		if rp.Merges && rp.Connection == c.Project.Connection {
			return rp, true
		}
	}
	return pipeline.Reporter{}, false
}

// report is what one forge is told about one change; its ID is made from the effect's, so that doing it
// again is recognised.
func (r *Reporter) report(tenant, pipe string, rep *pipeline.Report, rp pipeline.Reporter, c *change.Change, merge bool) forge.Report {
	what := "comment"
	if merge {
		what = "merge"
	}
	text := rep.Messages[c.Key()]
	fr := forge.Report{
		ID: fmt.Sprintf("%s/%s/%s/%s", rep.ID, what, rp.Connection, c.Key()), Change: c,
		Tenant: tenant, Pipeline: pipe, Buildset: string(rep.Buildset), Event: rep.Event.ID,
		Action: string(rep.Action), Options: rp.Options, URL: rep.URL, Merge: merge,
	}
	if !merge {
		fr.Message, fr.FileComments = text.Message, text.FileComments
	}
	return fr
}

// tell gives the report to its forge, again while the forge does not answer.
func (r *Reporter) tell(ctx context.Context, fr forge.Report) (forge.Outcome, error) {
	f := r.Forges.For(fr.Change.Project.Connection)
	if f == nil {
		return forge.Outcome{}, fmt.Errorf("report on %s: there is no connection %q", fr.Change.ID(), fr.Change.Project.Connection)
	}
	var err error
	for i := range tries {
		var o forge.Outcome
		if o, err = f.Report(ctx, fr); err == nil {
			return o, nil
		}
		if errors.Is(err, forge.ErrNotFound) || ctx.Err() != nil {
			break
		}
		r.Log.Warn("a forge did not take a report", "connection", f.Name(), "change", fr.Change.ID(), "try", i+1, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond << i):
		}
	}
	return forge.Outcome{}, fmt.Errorf("report on %s to %s: %w", fr.Change.ID(), f.Name(), err)
}
