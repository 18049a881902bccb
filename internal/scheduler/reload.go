package scheduler

import (
	"context"
	"errors"
	"slices"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// reload reads the tenant's configuration again, as far as the scope says, and, where the layout is
// another one than before (or anew, where all pipelines shall begin with it afresh), tells every pipeline,
// together with ops in one transaction.
func (d *desk) reload(ctx context.Context, scope tenant.Scope, anew bool, ops []kv.Op) error {
	next, err := d.Tenants.Load(ctx, d.tenant, d.record, scope)
	if errors.Is(err, tenant.ErrGone) {
		return d.retire(ctx, ops)
	}
	if err != nil {
		return err
	}
	rec := &next.Record
	if rec.Retired, err = d.retired(ctx, rec.Pipelines); err != nil {
		return err
	}
	fresh := anew || d.recMod == 0 || rec.Layout != d.record.Layout
	if fresh {
		more, err := d.announce(ctx, next)
		if err != nil {
			return err
		}
		ops = append(ops, more...)
	}
	write := fresh || rec.Sources != d.record.Sources || !slices.Equal(rec.Retired, d.record.Retired)
	if write {
		ops = append(ops, store.Records[tenant.Record](d.Store, tenant.RecordPrefix).Op(d.tenant, *rec))
	}
	if len(ops) > 0 {
		// The same may have been written before, with an unknown outcome.
		rev, err := d.Store.WriteIf(ctx, d.fence, []kv.Cmp{kv.Unchanged(tenant.RecordPrefix+d.tenant, d.recMod)}, ops...)
		if err != nil {
			return err
		}
		if write {
			d.recMod = rev
		}
	}
	d.record = *rec
	d.mu.Lock()
	d.layout = next.Layout
	d.mu.Unlock()
	d.Look() // the tenant file may have other tenants now
	return nil
}

// announce makes the inputs by which pipelines learn of a new layout; those that are no longer part of it
// are told to empty themselves.
func (d *desk) announce(ctx context.Context, next *tenant.Loaded) ([]kv.Op, error) {
	var ops []kv.Op
	for _, name := range next.Record.Pipelines {
		more, err := d.Store.InputOps(ctx, d.tenant, name, &pipeline.Reconfigure{
			Settings: *next.Layout.Pipeline(name), Tenant: d.Tenants.View(next.Layout, name),
		})
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	more, err := d.dismiss(ctx, next.Record.Pipelines)
	if err != nil {
		return nil, err
	}
	d.log.Info("new layout", "layout", next.Record.Layout, "pipelines", len(next.Record.Pipelines),
		"errors", next.Record.Errors, "warnings", next.Record.Warnings)
	return append(ops, more...), nil
}

// dismiss makes the inputs for the pipelines that are not among those that stay.
func (d *desk) dismiss(ctx context.Context, stay []string) ([]kv.Op, error) {
	var ops []kv.Op
	for _, name := range d.record.Pipelines {
		if slices.Contains(stay, name) {
			continue
		}
		more, err := d.Store.InputOps(ctx, d.tenant, name, &pipeline.Reconfigure{Removed: true})
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	return ops, nil
}

// retired lists the pipelines that left the configuration and must still be looked after: what was under
// way for them comes to an end, and nobody else would take it in. One that is at rest is not listed any
// more, from the next time of loading on.
func (d *desk) retired(ctx context.Context, present []string) ([]string, error) {
	var out []string
	for _, name := range d.record.Pipelines {
		if !slices.Contains(present, name) {
			out = append(out, name)
		}
	}
	for _, name := range d.record.Retired {
		if slices.Contains(present, name) {
			continue
		}
		rest, err := d.Store.AtRest(ctx, d.tenant, name)
		if err != nil {
			return nil, err
		}
		if !rest {
			out = append(out, name)
		}
	}
	return out, nil
}

// retire ends a tenant that is not in the tenant file any more: its pipelines empty themselves, its layout
// and whatever waits to be processed are forgotten.
func (d *desk) retire(ctx context.Context, ops []kv.Op) error {
	more, err := d.dismiss(ctx, nil)
	if err != nil {
		return err
	}
	ops = append(ops, more...)
	rec := tenant.Record{Name: d.tenant, Gone: true, At: d.record.At}
	if rec.Retired, err = d.retired(ctx, nil); err != nil {
		return err
	}
	d.log.Info("the tenant is not in the tenant file any more", "pipelines", len(rec.Retired))
	ops = append(ops, store.Records[tenant.Record](d.Store, tenant.RecordPrefix).Op(d.tenant, rec), kv.DeletePrefix(store.EventPrefix(d.tenant)))
	if _, err := d.Store.Write(ctx, d.fence, ops...); err != nil {
		return err
	}
	d.Look()
	return errGone
}

// errGone ends the work for a tenant that is no more.
var errGone = errors.New("the tenant is gone")
