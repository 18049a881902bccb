// Package conformance replays scenarios that were proven on a real Zuul: files of a starting
// configuration, steps, and expectations between them. It knows the format and the words of the files; the
// system that it plays them on is that of gatetest, with real configuration, repositories, scheduler,
// merger and store. Whatever it does not know in a file is an error, never skipped.
package conformance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// Scenario is one file.
type Scenario struct {
	Name, Area, Description, Path string
	system                        startState
	steps                         []step
}

// startState is the section "system".
type startState struct {
	Tenants          string `yaml:"tenants"`
	Layout           string `yaml:"layout"`
	Driver           string `yaml:"driver"`
	Connections      string `yaml:"connections"`
	SubmitWholeTopic bool   `yaml:"submit-whole-topic"`
}

// step is one thing to do.
type step struct {
	name string
	line int
	arg  *yaml.Node
	do   action
}

// action carries out a step with its argument, whose variables are expanded.
type action func(ctx context.Context, w *world, arg *yaml.Node) error

// known is what a step takes: check tells whether an argument has the right form, before anything runs.
type known struct {
	check func(*yaml.Node) error
	do    action
}

// takes makes a step of a function over its decoded argument.
func takes[T any](fn func(context.Context, *world, T) error) known {
	return known{
		check: func(n *yaml.Node) error { return strict(n, new(T)) },
		do: func(ctx context.Context, w *world, n *yaml.Node) error {
			var v T
			if err := strict(n, &v); err != nil {
				return err
			}
			return fn(ctx, w, v)
		},
	}
}

// strict decodes a node and refuses keys that are not known.
func strict(n *yaml.Node, into any) error {
	if n == nil {
		return nil
	}
	text, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	return d.Decode(into)
}

// Load reads a scenario and checks all of its steps.
func Load(path string) (*Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Name        string      `yaml:"name"`
		Area        string      `yaml:"area"`
		Description string      `yaml:"description"`
		System      startState  `yaml:"system"`
		Steps       []yaml.Node `yaml:"steps"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &Scenario{Name: file.Name, Area: file.Area, Description: file.Description, Path: path, system: file.System}
	if want := strings.TrimSuffix(filepath.Base(path), ".yaml"); s.Name != want {
		return nil, fmt.Errorf("%s: its name is %q, not %q", path, s.Name, want)
	}
	if (s.system.Tenants == "") == (s.system.Layout == "") {
		return nil, fmt.Errorf("%s: system has one of tenants and layout", path)
	}
	for i := range file.Steps {
		st, err := parseStep(&file.Steps[i])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, file.Steps[i].Line, err)
		}
		s.steps = append(s.steps, st)
	}
	return s, nil
}

func parseStep(n *yaml.Node) (step, error) {
	st := step{line: n.Line}
	switch {
	case n.Kind == yaml.ScalarNode:
		st.name = n.Value
	case n.Kind == yaml.MappingNode && len(n.Content) == 2:
		st.name, st.arg = n.Content[0].Value, n.Content[1]
	default:
		return st, fmt.Errorf("a step is a word or a map with one key")
	}
	k, ok := steps[st.name]
	if !ok {
		return st, fmt.Errorf("there is no step %q", st.name)
	}
	if err := k.check(st.arg); err != nil {
		return st, fmt.Errorf("%s: %w", st.name, err)
	}
	st.do = k.do
	return st, nil
}

// steps are all that there are.
var steps = map[string]known{
	"settle":      takes(func(ctx context.Context, w *world, _ any) error { return w.settle(ctx) }),
	"flush-cache": takes(func(context.Context, *world, any) error { return nil }), // forges are asked anew at each event
	"expect":      takes(expect),

	"change":        takes(makeChange),
	"patchset":      takes(addPatchset),
	"message":       takes(setMessage),
	"depends-on":    takes(dependsOn),
	"parent":        takes(setParents),
	"topic":         takes(setTopic),
	"wip":           takes(setWIP),
	"vote":          takes(castVote),
	"upload":        takes(upload),
	"comment":       takes(comment),
	"event":         takes(sendEvent),
	"merge":         takes(mergeChange),
	"abandon":       takes(abandon),
	"refuse-merge":  takes(func(ctx context.Context, w *world, id string) error { return w.refuse(id, true) }),
	"allow-merge":   takes(func(ctx context.Context, w *world, id string) error { return w.refuse(id, false) }),
	"branch":        takes(makeBranch),
	"delete-branch": takes(deleteBranch),
	"tag":           takes(makeTag),
	"repo":          takes(makeRepo),
	"commit":        takes(pushCommit),
	"config-update": takes(updateConfig),

	"hold":              takes(hold),
	"unhold":            takes(unhold),
	"release":           known{checkRelease, release},
	"release-requests":  known{checkRelease, releaseRequests},
	"fail":              takes(fail),
	"retry":             takes(retry),
	"clear-failures":    takes(func(_ context.Context, w *world, _ any) error { w.sys.Builds.ClearFailures(); return nil }),
	"return":            takes(returnData),
	"mark":              takes(mark),
	"lose":              takes(lose),
	"fail-node-request": takes(failNodes),

	"reconfigure":   known{checkReconfigure, reconfigure},
	"tenant-config": takes(tenantConfig),
	"dequeue":       takes(dequeue),
	"enqueue":       takes(enqueue),
	"promote":       takes(promote),
}
