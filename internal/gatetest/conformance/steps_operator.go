package conformance

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

type tenantsStep struct {
	Tenants []string `yaml:"tenants"`
}

func checkReconfigure(n *yaml.Node) error {
	if n != nil && n.Kind == yaml.ScalarNode {
		if !slices.Contains([]string{"full", "smart"}, n.Value) {
			return fmt.Errorf("%q is neither full nor smart", n.Value)
		}
		return nil
	}
	return strict(n, new(tenantsStep))
}

func reconfigure(_ context.Context, w *world, n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		w.later(func(ctx context.Context) error { return w.sys.Reconfigure(ctx, n.Value) })
		return nil
	}
	var s tenantsStep
	if err := strict(n, &s); err != nil {
		return err
	}
	w.later(func(ctx context.Context) error { return w.sys.Reconfigure(ctx, "tenant", s.Tenants...) })
	return nil
}

func tenantConfig(_ context.Context, w *world, path string) error { return w.useTenants(path) }

type queueStep struct {
	Tenant   string `yaml:"tenant"`
	Pipeline string `yaml:"pipeline"`
	Project  string `yaml:"project"`
	Change   string `yaml:"change"`
}

func dequeue(_ context.Context, w *world, s queueStep) error {
	return w.operate(s, event.OperatorDequeue)
}

func enqueue(_ context.Context, w *world, s queueStep) error {
	return w.operate(s, event.OperatorEnqueue)
}

func (w *world) operate(s queueStep, kind string) error {
	n, ps, err := w.patchset(s.Change)
	if err != nil {
		return err
	}
	p := change.Project{Connection: w.gerrit.Name(), Host: host, Name: s.Project}
	e := event.Event{Type: kind, Pipeline: s.Pipeline, Project: p, Number: strconv.Itoa(n), Patchset: strconv.Itoa(ps)}
	w.later(func(ctx context.Context) error { return w.sys.Operate(ctx, s.Tenant, e) })
	return nil
}

type promoteStep struct {
	Tenant   string   `yaml:"tenant"`
	Pipeline string   `yaml:"pipeline"`
	Changes  []string `yaml:"changes"`
}

func promote(_ context.Context, w *world, s promoteStep) error {
	e := event.Event{Type: event.OperatorPromote, Pipeline: s.Pipeline}
	for _, id := range s.Changes {
		n, ps, err := w.patchset(id)
		if err != nil {
			return err
		}
		e.Order = append(e.Order, fmt.Sprintf("%d,%d", n, ps))
	}
	w.later(func(ctx context.Context) error { return w.sys.Operate(ctx, s.Tenant, e) })
	return nil
}
