package layout_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
)

// scenario is the part of a conformance scenario that a layout alone can answer: one change, and what
// its report says of the configuration.
type scenario struct {
	System struct{ Tenants, Layout string }
	Steps  []yaml.Node
}

type scenarioChange struct {
	ID, Project, Branch string
	Files               map[string]yaml.Node
}

type scenarioExpect struct {
	Changes map[string]struct {
		Messages []struct {
			At       int
			Contains []string
		}
	}
}

// Reports on configuration that scenarios expect come from the layout or from freezing.
func TestScenarioMessages(t *testing.T) {
	root := fixtureRoot(t)
	paths, err := filepath.Glob(filepath.Join(root, "..", "scenarios", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		area := strings.SplitN(name, "-", 2)[0]
		if !slices.Contains([]string{"config", "nodesets", "secrets", "restrictions", "semaphores", "templates"}, area) {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var s scenario
		if err := yaml.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		c, want := s.question()
		if c == nil || len(want) == 0 {
			continue
		}
		checked++
		t.Run(name, func(t *testing.T) { s.answer(t, root, c, want) })
	}
	if checked < 15 {
		t.Errorf("only %d scenarios were found to ask", checked)
	}
}

// question is the only change of the scenario, and the texts that its report must have; nil, where the
// scenario needs more than a layout.
func (s *scenario) question() (*scenarioChange, []string) {
	var c *scenarioChange
	var want []string
	for _, n := range s.Steps {
		if n.Kind != yaml.MappingNode {
			continue
		}
		switch n.Content[0].Value {
		case "change":
			if c != nil {
				return nil, nil
			}
			c = &scenarioChange{}
			if n.Content[1].Decode(c) != nil || len(c.Files) == 0 {
				return nil, nil
			}
		case "expect":
			var e scenarioExpect
			if n.Content[1].Decode(&e) == nil && c != nil {
				for _, m := range e.Changes[c.ID].Messages {
					want = append(want, m.Contains...)
				}
			}
		case "upload", "vote":
		default:
			return nil, nil
		}
	}
	want = slices.DeleteFunc(want, func(w string) bool { return strings.HasPrefix(w, "Build") || strings.HasPrefix(w, "- ") })
	return c, want
}

// answer looks for the texts in what every tenant with the project says of the change.
func (s *scenario) answer(t *testing.T, root string, c *scenarioChange, want []string) {
	var inputs []layout.Input
	tree := map[string][]byte{}
	if s.System.Layout != "" {
		inputs = []layout.Input{layoutInput(mustRead(t, filepath.Join(root, s.System.Layout)))}
	} else {
		main := filepath.Join(root, s.System.Tenants)
		file := config.ParseTenants("main.yaml", mustRead(t, main), config.Options{Connections: connections})
		for _, tenant := range file.Tenants {
			inputs = append(inputs, fixtureInput(t, filepath.Dir(main), file, tenant))
		}
		tree = readTree(t, filepath.Join(filepath.Dir(main), "git", strings.ReplaceAll(c.Project, "/", "_")))
	}
	ch := newChange(place{project: c.Project, branch: "master"}, 1)
	ch.Files = []string{"README"}
	for path, n := range c.Files {
		ch.Files = append(ch.Files, path)
		switch {
		case n.Tag == "!!null":
			delete(tree, path)
		case n.Kind == yaml.MappingNode:
			tree[path] = mustRead(t, filepath.Join(root, n.Content[1].Value))
		default:
			tree[path] = []byte(n.Value)
		}
	}
	var text strings.Builder
	for _, in := range inputs {
		for _, p := range judge(in, ch, tree) {
			text.WriteString(p.Text + "\n")
		}
	}
	for _, w := range want {
		if !strings.Contains(text.String(), w) {
			t.Errorf("no report has %q, only:\n%s", w, text.String())
		}
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// judge lists what a tenant finds wrong with a change that makes the project's tree what is given.
func judge(in layout.Input, ch *change.Change, tree map[string][]byte) []config.Problem {
	i := slices.IndexFunc(in.Tenant.Projects, func(o *config.TenantProject) bool { return o.Name == ch.Project.Name })
	if i < 0 {
		return nil
	}
	b := parseTree(ch.Project, in.Tenant.Projects[i], "master", tree)
	live := layout.New(in)
	d := live.Dynamic(layout.DynamicInput{Changes: []*change.Change{ch},
		Proposed: []layout.Proposal{{Project: ch.Project, Branch: "master", Files: b.Files, Ignored: b.Ignored}}})
	problems := d.Problems
	if d.Blocked() {
		return problems
	}
	for _, p := range d.Layout.Pipelines {
		f := d.Layout.Freeze(layout.FreezeInput{Pipeline: p.Name, Changes: []*change.Change{ch}, Ahead: live})
		problems = append(problems, f.Problems...)
	}
	return problems
}
