package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

type queueWant struct {
	Tenant   string     `yaml:"tenant"`
	Pipeline string     `yaml:"pipeline"`
	Count    *int       `yaml:"count"`
	Items    []itemWant `yaml:"items"`
}

type itemWant struct {
	At      *int     `yaml:"at"`
	Changes []string `yaml:"changes"`
	Live    *bool    `yaml:"live"`
}

func (w *world) queues(ctx context.Context, want []queueWant) error {
	for _, x := range want {
		key := fmt.Sprintf("queue-items %s/%s", x.Tenant, x.Pipeline)
		st, err := w.sys.Pipeline(ctx, x.Tenant, x.Pipeline)
		if err != nil {
			return within(key, err)
		}
		var items []*pipeline.Item
		for _, q := range st.Queues {
			for _, id := range q.Items {
				items = append(items, st.Items[id])
			}
		}
		if err := equal(key+".count", x.Count, len(items)); err != nil {
			return err
		}
		for i, it := range x.Items {
			j := i
			if it.At != nil {
				j = *it.At
			}
			got, err := at(items, j)
			if err != nil {
				return within(key, err)
			}
			if err := within(fmt.Sprintf("%s[%d]", key, j), w.itemIs(st, it, got)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) itemIs(st *pipeline.State, want itemWant, it *pipeline.Item) error {
	if want.Changes != nil {
		var got []string
		for _, k := range it.Changes {
			got = append(got, w.name(st.Changes[k]))
		}
		same := slices.EqualFunc(want.Changes, got, func(a, b string) bool {
			id, _, _ := strings.Cut(b, "/")
			return a == b || a == id
		})
		if !same {
			return difference("changes", want.Changes, got)
		}
	}
	return equal("live", want.Live, it.Live)
}

type semaphoreWant struct {
	Tenant  string `yaml:"tenant"`
	Name    string `yaml:"name"`
	Holders *int   `yaml:"holders"`
}

func (w *world) semaphores(ctx context.Context, want []semaphoreWant) error {
	for _, x := range want {
		n := 0
		for _, scope := range []string{x.Tenant, ""} { // a semaphore of the tenant, or a global one
			sem, _, err := w.sys.Store.Semaphores(ctx, scope)
			if err != nil {
				return err
			}
			n += len(sem.Holders[x.Name])
		}
		if err := equal("semaphores."+x.Name, x.Holders, n); err != nil {
			return err
		}
	}
	return nil
}

type windowWant struct {
	Tenant   string `yaml:"tenant"`
	Pipeline string `yaml:"pipeline"`
	Queue    int    `yaml:"queue"`
	Window   *int   `yaml:"window"`
	Floor    *int   `yaml:"window-floor"`
	Ceiling  *int   `yaml:"window-ceiling"`
}

func (w *world) windows(ctx context.Context, want []windowWant) error {
	for _, x := range want {
		key := fmt.Sprintf("windows %s/%s", x.Tenant, x.Pipeline)
		st, err := w.sys.Pipeline(ctx, x.Tenant, x.Pipeline)
		if err != nil {
			return within(key, err)
		}
		q, err := at(st.Queues, x.Queue)
		if err != nil {
			return within(key, err)
		}
		for _, err := range []error{equal("window", x.Window, q.Window), equal("window-floor", x.Floor, st.Settings.Window.Floor),
			equal("window-ceiling", x.Ceiling, st.Settings.Window.Ceiling)} {
			if err != nil {
				return within(fmt.Sprintf("%s[%d]", key, x.Queue), err)
			}
		}
	}
	return nil
}

type configWant struct {
	Tenant string `yaml:"tenant"`
	Count  *int   `yaml:"count"`
	Errors []struct {
		At       int     `yaml:"at"`
		Contains texts   `yaml:"contains"`
		Severity *string `yaml:"severity"`
		Name     *string `yaml:"name"`
	} `yaml:"errors"`
}

func (w *world) configErrors(ctx context.Context, want []configWant) error {
	for _, x := range want {
		key := "config-errors." + x.Tenant
		l, err := w.sys.Tenants.Current(ctx, x.Tenant)
		if err != nil {
			return within(key, err)
		}
		if x.Count != nil && *x.Count != len(l.Problems) {
			var got []string
			for _, p := range l.Problems {
				got = append(got, p.Text)
			}
			return difference(key+".count", *x.Count, got)
		}
		for _, e := range x.Errors {
			p, err := at(l.Problems, e.At)
			if err != nil {
				return within(key, err)
			}
			for _, s := range e.Contains {
				if !strings.Contains(p.Text, s) {
					return difference(fmt.Sprintf("%s[%d].contains", key, e.At), s, p.Text)
				}
			}
			if err := equal(fmt.Sprintf("%s[%d].severity", key, e.At), e.Severity, string(p.Severity)); err != nil {
				return err
			}
			if e.Name != nil && !config.IsNamed(p.Name, *e.Name) {
				return difference(fmt.Sprintf("%s[%d].name", key, e.At), *e.Name, p.Name)
			}
		}
	}
	return nil
}

type nodeWant struct {
	At       *int     `yaml:"at"`
	Labels   []string `yaml:"labels"`
	Relative *int     `yaml:"relative-priority"`
}

func (w *world) nodes(want []nodeWant, got []pipeline.RequestNodes) error {
	for i, x := range want {
		j := i
		if x.At != nil {
			j = *x.At
		}
		r, err := at(got, j)
		if err != nil {
			return within("node-requests", err)
		}
		var labels []string
		for _, n := range r.Nodeset.Nodes {
			labels = append(labels, n.Label)
		}
		if x.Labels != nil && !slices.Equal(x.Labels, labels) {
			return difference(fmt.Sprintf("node-requests[%d].labels", j), x.Labels, labels)
		}
		if err := equal(fmt.Sprintf("node-requests[%d].relative-priority", j), x.Relative, r.Relative); err != nil {
			return err
		}
	}
	return nil
}
