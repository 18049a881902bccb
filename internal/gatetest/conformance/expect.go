package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"
)

// expectation is the step expect: every key that is there must hold.
type expectation struct {
	Running      *[]buildWant `yaml:"running"`
	RunningOrder string       `yaml:"running-order"`
	RunningCount *int         `yaml:"running-count"`
	RunningAt    []buildWant  `yaml:"running-at"`
	History      *[]buildWant `yaml:"history"`
	HistoryOrder string       `yaml:"history-order"`
	HistoryCount *int         `yaml:"history-count"`
	HistoryAt    []buildWant  `yaml:"history-at"`
	Completed    []buildWant  `yaml:"completed"`
	RunningJob   []buildWant  `yaml:"running-job"`
	NotRun       []struct {
		Job     string `yaml:"job"`
		Project string `yaml:"project"`
	} `yaml:"not-run"`
	JobCounts    map[string]int `yaml:"job-counts"`
	ResultCounts map[string]int `yaml:"result-counts"`

	Changes      map[string]changeWant `yaml:"changes"`
	QueueItems   []queueWant           `yaml:"queue-items"`
	Semaphores   []semaphoreWant       `yaml:"semaphores"`
	Windows      []windowWant          `yaml:"windows"`
	ConfigErrors []configWant          `yaml:"config-errors"`

	NodeRequests     []nodeWant   `yaml:"node-requests"`
	NodeRequestCount *int         `yaml:"node-request-count"`
	NodeRequestTotal *int         `yaml:"node-request-total"`
	RequestsCount    *int         `yaml:"requests-count"`
	PlaybookSecrets  []secretWant `yaml:"playbook-secrets"`
	MailCount        *int         `yaml:"mail-count"`
	Mail             []mailWant   `yaml:"mail"`
}

// differs is an expectation that does not hold.
type differs struct{ key, want, got string }

func (d differs) Error() string {
	return fmt.Sprintf("%s: want %s, got %s", d.key, d.want, d.got)
}

// difference makes one; values are shown as one line of YAML.
func difference(key string, want, got any) error {
	return differs{key, inline(want), inline(got)}
}

func inline(v any) string {
	var n yaml.Node
	if err := n.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	flow(&n)
	b, err := yaml.Marshal(&n)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b[:len(b)-1])
}

func flow(n *yaml.Node) {
	n.Style |= yaml.FlowStyle
	for _, c := range n.Content {
		flow(c)
	}
}

func equal[T any](key string, want *T, got T) error {
	if want == nil || reflect.DeepEqual(*want, got) {
		return nil
	}
	return difference(key, *want, got)
}

// within puts a key before those of a difference.
func within(key string, err error) error {
	var d differs
	if errors.As(err, &d) {
		d.key = key + "." + d.key
		return d
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// expect gives the first difference.
func expect(ctx context.Context, w *world, e expectation) error {
	running, ended := w.sys.Builds.Running(), w.sys.Builds.Ended()
	waiting, made := w.sys.Nodes.Pending()
	checks := []func() error{
		func() error { return w.same(ctx, "running", e.Running, running, e.RunningOrder) },
		func() error { return equal("running-count", e.RunningCount, len(running)) },
		func() error { return w.places(ctx, "running-at", e.RunningAt, running) },
		func() error { return w.same(ctx, "history", e.History, ended, e.HistoryOrder) },
		func() error { return equal("history-count", e.HistoryCount, len(ended)) },
		func() error { return w.places(ctx, "history-at", e.HistoryAt, ended) },
		func() error { return w.firsts(ctx, "completed", e.Completed, ended) },
		func() error { return w.firsts(ctx, "running-job", e.RunningJob, running) },
		func() error { return w.counts(e, ended) },
		func() error { return w.changes(e.Changes) },
		func() error { return w.queues(ctx, e.QueueItems) },
		func() error { return w.semaphores(ctx, e.Semaphores) },
		func() error { return w.windows(ctx, e.Windows) },
		func() error { return w.configErrors(ctx, e.ConfigErrors) },
		func() error { return w.nodes(e.NodeRequests, waiting) },
		func() error { return equal("node-request-count", e.NodeRequestCount, len(waiting)) },
		func() error { return equal("node-request-total", e.NodeRequestTotal, made) },
		func() error { return equal("requests-count", e.RequestsCount, len(w.sys.Builds.Queue())) },
		func() error { return w.secrets(ctx, e.PlaybookSecrets, ended) },
		func() error { return equal("mail-count", e.MailCount, len(w.mail.all())) },
		func() error { return w.mails(e.Mail) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// each runs fn on the entries of a map in order.
func each[V any](m map[string]V, fn func(string, V) error) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if err := fn(k, m[k]); err != nil {
			return err
		}
	}
	return nil
}
