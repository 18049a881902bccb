package conformance

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/gatetest"
)

// stages that can be held, beside nodes.
var stages = []gatetest.Stage{gatetest.Requested, gatetest.Accepted, gatetest.Running}

func hold(_ context.Context, w *world, what string) error   { return w.hold(what, true) }
func unhold(_ context.Context, w *world, what string) error { return w.hold(what, false) }

func (w *world) hold(what string, hold bool) error {
	switch st := gatetest.Stage(what); {
	case what == "nodes":
		w.sys.Nodes.Hold(hold)
	case !slices.Contains(stages, st):
		return fmt.Errorf("%q cannot be held", what)
	case hold:
		w.sys.Builds.Hold(st)
	default:
		w.sys.Builds.Unhold(st)
	}
	return nil
}

// releaseStep is what release and release-requests choose by.
type releaseStep struct {
	Jobs   string `yaml:"jobs"`
	Change string `yaml:"change"`
	At     places `yaml:"at"`
	First  *struct {
		Job string `yaml:"job"`
	} `yaml:"first"`
	InOrder yaml.Node `yaml:"in-order"`
}

// places are one index or several.
type places []int

// UnmarshalYAML reads both forms.
func (p *places) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*p = make(places, 1)
		return n.Decode(&(*p)[0])
	}
	return n.Decode((*[]int)(p))
}

func checkRelease(n *yaml.Node) error {
	if n != nil && n.Kind == yaml.ScalarNode {
		if n.Value != "all" {
			return fmt.Errorf("%q is not all", n.Value)
		}
		return nil
	}
	return strict(n, new(releaseStep))
}

func release(ctx context.Context, w *world, n *yaml.Node) error {
	running := w.sys.Builds.Running()
	if n.Kind == yaml.ScalarNode {
		w.sys.Builds.Release(running...)
		return nil
	}
	var s releaseStep
	if err := strict(n, &s); err != nil {
		return err
	}
	switch {
	case s.InOrder.Kind != 0:
		return w.inOrder(ctx, &s.InOrder)
	case s.First != nil:
		for _, b := range running {
			if b.Job.Name == s.First.Job {
				w.sys.Builds.Release(b)
				return nil
			}
		}
		return fmt.Errorf("no build of job %s runs", s.First.Job)
	}
	chosen, err := w.choose(running, s)
	if err != nil {
		return err
	}
	w.sys.Builds.Release(chosen...)
	return nil
}

// inOrder releases the first running build and settles, again and again, as often as is said or while one runs.
func (w *world) inOrder(ctx context.Context, n *yaml.Node) error {
	count := -1
	if n.Value != "all" {
		if err := n.Decode(&count); err != nil {
			return err
		}
	}
	steps := 0
	for ; count != 0; count-- {
		running := w.sys.Builds.Running()
		if steps++; steps > 1000 {
			return fmt.Errorf("builds do not end: %d run after %d releases", len(running), steps-1)
		}
		if len(running) == 0 {
			return nil
		}
		w.sys.Builds.Release(running[0])
		if err := w.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

func releaseRequests(_ context.Context, w *world, n *yaml.Node) error {
	queue := w.sys.Builds.Queue()
	if n.Kind == yaml.ScalarNode {
		w.sys.Builds.Release(queue...)
		return nil
	}
	var s releaseStep
	if err := strict(n, &s); err != nil {
		return err
	}
	chosen, err := w.choose(queue, s)
	if err != nil {
		return err
	}
	w.sys.Builds.Release(chosen...)
	return nil
}

// choose picks builds of a list by place, or by job and change.
func (w *world) choose(list []*gatetest.Build, s releaseStep) ([]*gatetest.Build, error) {
	var out []*gatetest.Build
	for _, i := range s.At {
		b, err := at(list, i)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	if s.Jobs == "" {
		return out, nil
	}
	jobs, err := regexp.Compile("^(?:" + s.Jobs + ")")
	if err != nil {
		return nil, err
	}
	want := ""
	if s.Change != "" {
		if want, err = w.full(s.Change); err != nil {
			return nil, err
		}
	}
	for _, b := range list {
		own := b.Own()
		if jobs.MatchString(b.Job.Name) && (want == "" || (own != nil && own.IsChange() && w.name(own) == want)) {
			out = append(out, b)
		}
	}
	return out, nil
}

// full is A/2 for A or A/2.
func (w *world) full(id string) (string, error) {
	n, ps, err := w.patchset(id)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/%d", w.ids[fmt.Sprint(n)], ps), nil
}

// at picks from a list, from its end where i is negative.
func at[T any](list []T, i int) (T, error) {
	j := i
	if j < 0 {
		j += len(list)
	}
	if j < 0 || j >= len(list) {
		var zero T
		return zero, fmt.Errorf("there is no element %d, there are %d", i, len(list))
	}
	return list[j], nil
}

type failStep struct {
	Job    string `yaml:"job"`
	Change string `yaml:"change"`
	Times  int    `yaml:"times"`
}

func fail(ctx context.Context, w *world, s failStep) error {
	if s.Times != 0 {
		return fmt.Errorf("fail has no times")
	}
	return w.rule(ctx, s, false)
}

func retry(ctx context.Context, w *world, s failStep) error { return w.rule(ctx, s, true) }

func (w *world) rule(ctx context.Context, s failStep, lost bool) error {
	has, err := w.contains(s.Change)
	if err != nil {
		return err
	}
	w.sys.Builds.Fail(s.Job, lost, s.Times, func(b *gatetest.Build) bool {
		ok, err := has(ctx, b)
		return err == nil && ok
	})
	return nil
}

// contains makes the question whether a build's workspace has a change.
func (w *world) contains(id string) (func(context.Context, *gatetest.Build) (bool, error), error) {
	n, _, err := w.patchset(id)
	if err != nil {
		return nil, err
	}
	c, err := w.gerrit.Look(n)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, b *gatetest.Build) (bool, error) {
		return w.sys.Builds.Has(ctx, b, c.Project, c.Subject+"-1")
	}, nil
}

type returnStep struct {
	Job    string         `yaml:"job"`
	Change string         `yaml:"change"`
	Ref    string         `yaml:"ref"`
	Data   map[string]any `yaml:"data"`
}

func returnData(_ context.Context, w *world, s returnStep) error {
	if s.Change != "" {
		n, ps, err := w.patchset(s.Change)
		if err != nil {
			return err
		}
		s.Ref = fmt.Sprintf("refs/changes/%02d/%d/%d", n%100, n, ps)
	}
	w.sys.Builds.Return(s.Job, s.Ref, s.Data)
	return nil
}

type markStep struct {
	At int    `yaml:"at"`
	As string `yaml:"as"`
}

func mark(_ context.Context, w *world, s markStep) error {
	if !slices.Contains([]string{"failed", "aborted", "unreachable", "no-result"}, s.As) {
		return fmt.Errorf("a build cannot end as %q", s.As)
	}
	b, err := at(w.sys.Builds.Running(), s.At)
	if err != nil {
		return err
	}
	w.sys.Builds.Mark(b, s.As)
	return nil
}

type atStep struct {
	At int `yaml:"at"`
}

func lose(_ context.Context, w *world, s atStep) error {
	b, err := at(w.sys.Builds.Running(), s.At)
	if err != nil {
		return err
	}
	w.sys.Builds.Lose(b)
	return nil
}

func failNodes(_ context.Context, w *world, s atStep) error { return w.sys.Nodes.Fail(s.At) }
