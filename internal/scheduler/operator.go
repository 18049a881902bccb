package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// refusal is an operator's mistake, in words for the operator.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...)} }

// operate carries out what an operator asked for; the answer, where one is waited for, is written in the
// same transaction.
func (d *desk) operate(ctx context.Context, e *event.Event, kvs kv.KV) error {
	if e.Type == event.OperatorReconfigure {
		return d.reconfigure(ctx, e, kvs)
	}
	ops, err := d.command(ctx, e)
	var no refusal
	if err != nil && !errors.As(err, &no) {
		return fmt.Errorf("operator's %s: %w", e.Type, err)
	}
	d.log.Info("operator", "command", e.Type, "pipeline", e.Pipeline, "project", e.Project.Name, "by", e.User, "refused", no.text)
	if e.Reply != "" {
		ops = append(ops, store.ReplyOp(e.Reply, no.text))
	}
	return d.consume(ctx, kvs, ops...)
}

// reconfigure reads the tenant file again, and the tenant's configuration: all of it, or (smart) only where
// the file says something else of the tenant than before. The answer is written with the new layout; the
// wish is done with after that, so that a crash between the two only repeats it.
func (d *desk) reconfigure(ctx context.Context, e *event.Event, kvs kv.KV) error {
	var ops []kv.Op
	reply := func(text string) {
		if e.Reply != "" {
			ops = append(ops, store.ReplyOp(e.Reply, text))
		}
	}
	d.log.Info("operator", "command", e.Type, "how", e.Action, "by", e.User)
	smart := e.Action == "smart"
	altered := true
	var err error
	if smart {
		altered, err = d.Tenants.Alters(ctx, d.tenant, d.record)
	}
	if err == nil && altered {
		reply("")
		err = d.reload(ctx, tenant.Scope{File: true, Fresh: !smart}, true, ops)
		ops = nil
	} else if err == nil {
		reply("")
	}
	if errors.Is(err, tenant.ErrFile) {
		reply(err.Error())
	} else if err != nil {
		return fmt.Errorf("operator's %s: %w", e.Type, err)
	}
	d.Look()
	return d.consume(ctx, kvs, ops...)
}

func (d *desk) command(ctx context.Context, e *event.Event) ([]kv.Op, error) {
	if !slices.Contains(d.record.Pipelines, e.Pipeline) {
		return nil, refuse("tenant %s has no pipeline %q; it has %s", d.tenant, e.Pipeline, strings.Join(d.record.Pipelines, ", "))
	}
	switch e.Type {
	case event.OperatorPause:
		return d.Store.InputOps(ctx, d.tenant, e.Pipeline, &pipeline.Pause{Reason: e.Comment})
	case event.OperatorPromote:
		return d.promote(ctx, e)
	}
	if e.Project.Connection == "" { // an operator names a project as people do
		p, ok := d.layout.Project(e.Project.Name)
		if !ok {
			return nil, refuse("tenant %s has no project %q", d.tenant, e.Project.Name)
		}
		e.Project = p
	}
	switch e.Type {
	case event.OperatorDequeue:
		return d.dequeue(ctx, e)
	case event.OperatorEnqueue:
		c, err := d.named(ctx, e)
		if err != nil {
			return nil, err
		}
		st := &pipeline.State{Settings: *d.layout.Pipeline(e.Pipeline), Tenant: d.Tenants.View(d.layout, e.Pipeline)}
		if why := pipeline.Refusal(st, c, time.Now(), true); why != "" {
			return nil, refuse("pipeline %s would not take it: %s", e.Pipeline, why)
		}
		cl := d.closure()
		if err := cl.add(ctx, c); err != nil {
			return nil, err
		}
		all, err := cl.run(ctx)
		if err != nil {
			return nil, err
		}
		return d.Store.InputOps(ctx, d.tenant, e.Pipeline, &pipeline.Enqueue{
			Key: c.Key(), Changes: all, Force: true,
			Event: event.Ref{ID: e.ID, At: e.At, Key: c.Key(), Stable: c.Stable()},
		})
	}
	return nil, refuse("there is no operator command %q", e.Type)
}

// dequeue finds the item by its change or ref in the pipeline: the forge need not know it any more.
func (d *desk) dequeue(ctx context.Context, e *event.Event) ([]kv.Op, error) {
	st, _, err := d.Store.LoadPipeline(ctx, d.tenant, e.Pipeline)
	if err != nil {
		return nil, err
	}
	for _, it := range st.Items {
		for _, k := range it.Changes {
			c := st.Changes[k]
			if it.Live && c != nil && c.Project == e.Project && names(e, c) {
				return d.Store.InputOps(ctx, d.tenant, e.Pipeline, &pipeline.Dequeue{Key: k})
			}
		}
	}
	what := e.Ref
	if e.Number != "" {
		what = "change " + strings.TrimSuffix(e.Number+","+e.Patchset, ",")
	}
	waiting, err := d.Store.KV().Range(ctx, kv.Query{Prefix: store.InboxPrefix(d.tenant, e.Pipeline), KeysOnly: true, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(waiting.KVs) == 0 {
		return nil, refuse("%s of project %s is not in pipeline %s", what, e.Project.Name, e.Pipeline)
	}
	// It may come in with what the pipeline has not looked at yet.
	c, err := d.named(ctx, e)
	if err != nil {
		return nil, err
	}
	return d.Store.InputOps(ctx, d.tenant, e.Pipeline, &pipeline.Dequeue{Key: c.Key()})
}

// names tells whether the operator's event names the change or ref.
func names(e *event.Event, c *change.Change) bool {
	if e.Number != "" {
		return c.IsChange() && c.Number == e.Number && (e.Patchset == "" || c.Patchset == e.Patchset)
	}
	return !c.IsChange() && c.Ref == e.Ref && (e.NewRev == "" || c.NewRev == e.NewRev)
}

// named finds the change or ref that an operator names.
func (d *desk) named(ctx context.Context, e *event.Event) (*change.Change, error) {
	if !d.layout.Has(e.Project) {
		return nil, refuse("tenant %s has no project %q", d.tenant, e.Project.Name)
	}
	c, err := read(ctx, d.Forges, e)
	if err != nil {
		return nil, err
	}
	switch {
	case c == nil, e.Patchset != "" && c.Patchset != e.Patchset:
		return nil, refuse("project %s has no change %s", e.Project.Name, strings.TrimSuffix(e.Number+","+e.Patchset, ","))
	case c.Project != e.Project:
		return nil, refuse("change %s belongs to project %s, not to %s", c.ID(), c.Project.Name, e.Project.Name)
	}
	return c, nil
}

// promote reads every change that is named, whatever its project, since the command names only numbers.
func (d *desk) promote(ctx context.Context, e *event.Event) ([]kv.Op, error) {
	cl := d.closure()
	var keys []change.Key
	for _, want := range e.Order {
		number, patchset, ok := strings.Cut(want, ",")
		if !ok {
			return nil, refuse("%q is not number,patchset", want)
		}
		c, err := d.find(ctx, number, patchset)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, refuse("there is no change %s in tenant %s", want, d.tenant)
		}
		keys = append(keys, c.Key())
		if err := cl.add(ctx, c); err != nil {
			return nil, err
		}
	}
	all, err := cl.run(ctx)
	if err != nil {
		return nil, err
	}
	return d.Store.InputOps(ctx, d.tenant, e.Pipeline, &pipeline.Promote{Keys: keys, Changes: all})
}

// find looks for a change by number among what is in the tenant's pipelines: a command line names no
// project.
func (d *desk) find(ctx context.Context, number, patchset string) (*change.Change, error) {
	for _, name := range d.record.Pipelines {
		st, _, err := d.Store.LoadPipeline(ctx, d.tenant, name)
		if err != nil {
			return nil, err
		}
		for _, c := range st.Changes {
			if c.Number == number && c.Patchset == patchset {
				fresh, err := d.Forges.Read(ctx, c.Key())
				if errors.Is(err, forge.ErrNotFound) {
					return nil, nil
				}
				return fresh, err
			}
		}
	}
	return nil, nil
}
