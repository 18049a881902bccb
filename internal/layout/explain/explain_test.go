package explain_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/layout/explain"
)

const central = `
- pipeline: {name: check, manager: independent}
- job: {name: base, parent: null, run: run.yaml, timeout: 60}
- secret: {name: s, data: {password: hidden}}
- job:
    name: build
    secrets: s
    pre-run: pre.yaml
    vars: {a: 1}
    tags: [x]
`

const own = `
- job:
    name: test
    parent: build
    run: test.yaml
    timeout: 30
    tags: !override [y]
    dependencies: [build, {name: lint, soft: true}]
- job: {name: lint, semaphore: one}
- project:
    vars: {from: project}
    check:
      jobs:
        - build
        - lint: {voting: false}
        - test:
            vars: {b: 2}
`

func build(own string) (*layout.Layout, *change.Change) {
	tenant := config.NewTenant("t")
	in := layout.Input{Tenant: tenant}
	var p change.Project
	for _, f := range []struct {
		name, text string
	}{{"config", central}, {"org/a", own}} {
		p = change.Project{Host: "example.org", Name: f.name}
		trusted := f.name == "config"
		src := config.Source{Project: p, Branch: "master", Path: "zuul.yaml", Trusted: trusted}
		file := config.Parse(src, []byte(f.text), config.Options{})
		in.Projects = append(in.Projects, layout.ProjectInput{Project: p, Options: config.NewTenantProject("", f.name, trusted),
			Branches: []layout.BranchInput{{Name: "master", Files: []*config.File{file}}}})
	}
	return layout.New(in), &change.Change{Kind: change.KindChange, Project: p, Branch: "master", Number: "1", Patchset: "1"}
}

func render(t *testing.T, f func(w io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestJob(t *testing.T) {
	l, c := build(own)
	e, problems := l.Explain(c, "check", "test")
	if e == nil {
		t.Fatal(problems, l.Problems)
	}
	got := render(t, func(w io.Writer) error { return explain.Job(w, "text", e, nil) })
	want := `job test

definitions, in the order in which they are applied
  base   config/zuul.yaml@master:3  sets parent, run, timeout
  build  config/zuul.yaml@master:5  sets secrets, pre-run, vars, tags
  test   org/a/zuul.yaml@master:2  sets parent, run, timeout, tags, dependencies
  test   org/a/zuul.yaml@master:16  sets vars

attributes
  voting: true
      (default)
  tags:
    - y
      from build at config/zuul.yaml@master:10 (overridden)
      from test at org/a/zuul.yaml@master:7
  dependencies:
    - build
    - lint (soft)
      from test at org/a/zuul.yaml@master:8
  match-on-config-updates: true
      (default)
  deduplicate: auto
      (default)
  timeout: 30
      from base at config/zuul.yaml@master:3 (overridden)
      from test at org/a/zuul.yaml@master:6
  attempts: 3
      (default)
  roles:
    - org/a as a (implicit)
    - config as config (implicit)
      from base at config/zuul.yaml@master:3
      from build at config/zuul.yaml@master:5
      from test at org/a/zuul.yaml@master:2
  pre-run:
    - pre.yaml of config@master, secret s as s
      from build at config/zuul.yaml@master:8
  run:
    - test.yaml of org/a@master, untrusted
      from base at config/zuul.yaml@master:3 (overridden)
      from test at org/a/zuul.yaml@master:5
  vars:
    a: 1
      from build at config/zuul.yaml@master:9
    b: 2
      from test at org/a/zuul.yaml@master:17 in a project's pipeline
    from: "project"
      from project at org/a/zuul.yaml@master:11
  workspace-scheme: golang
      (default)
  workspace-checkout: true
      (default)
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var back layout.Explanation
	if err := json.Unmarshal([]byte(render(t, func(w io.Writer) error { return explain.Job(w, "json", e, nil) })), &back); err != nil || back.Job.Name != "test" {
		t.Errorf("the JSON does not come back: %v", err)
	}
}

func TestJobThatIsNotThere(t *testing.T) {
	l, c := build(own)
	for name, want := range map[string]string{"tset": "did you mean test?", "zzz": ""} {
		e, p := l.Explain(c, "check", name)
		if e != nil || len(p) != 1 || p[0].Hint != want {
			t.Errorf("%s: %v %v", name, e, p)
		}
	}
	if e, p := l.Explain(c, "gate", "test"); e != nil || len(p) != 1 || !strings.Contains(p[0].Short, "no section") {
		t.Errorf("%v %v", e, p)
	}
}

func graph(t *testing.T) *job.Graph {
	t.Helper()
	l, c := build(own)
	f := l.Freeze(layout.FreezeInput{Pipeline: "check", Changes: []*change.Change{c}})
	if f.Graph == nil {
		t.Fatal(f.Problems)
	}
	return f.Graph
}

func TestGraph(t *testing.T) {
	g := graph(t)
	for format, want := range map[string]string{
		"text":    "step 1\n  build\n  lint (non-voting) holding one\nstep 2\n  test after build, lint (soft)\n",
		"mermaid": "flowchart LR\n  j0[\"build\"]\n  j1([\"lint\"])\n  j2[\"test\"]\n  j0 --> j2\n  j1 -.-> j2\n",
		"dot": "digraph jobs {\n  rankdir=LR;\n  node [shape=box];\n  j0 [label=\"build\"];\n  j1 [label=\"lint\", style=rounded];\n" +
			"  j2 [label=\"test\"];\n  j0 -> j2;\n  j1 -> j2 [style=dashed];\n}\n",
	} {
		if d := cmp.Diff(want, render(t, func(w io.Writer) error { return explain.Graph(w, format, g, "") })); d != "" {
			t.Errorf("%s: %s", format, d)
		}
	}
	var back job.Graph
	if err := json.Unmarshal([]byte(render(t, func(w io.Writer) error { return explain.Graph(w, "json", g, "") })), &back); err != nil || len(back.Jobs) != 3 {
		t.Errorf("the JSON does not come back: %v", err)
	}
	drawing := render(t, func(w io.Writer) error { return explain.Graph(w, "svg", g, "a & b") })
	boxes := 0
	d := xml.NewDecoder(strings.NewReader(drawing))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the SVG is not XML: %v", err)
		}
		if s, ok := tok.(xml.StartElement); ok && s.Name.Local == "rect" {
			boxes++
		}
	}
	if boxes != 3 {
		t.Errorf("the drawing has %d boxes, want 3", boxes)
	}
	if err := explain.Graph(io.Discard, "png", g, ""); err == nil {
		t.Error("an unknown format is accepted")
	}
	if got := render(t, func(w io.Writer) error { return explain.Graph(w, "text", &job.Graph{}, "") }); got != "no jobs\n" {
		t.Errorf("%q", got)
	}
}

func TestDifferences(t *testing.T) {
	old, _ := build(own)
	changed := strings.NewReplacer("timeout: 30", "timeout: 31", "        - build\n", "        - noop\n", "[build, ", "[").Replace(own)
	now, _ := build(changed)
	got := render(t, func(w io.Writer) error { return explain.Differences(w, "text", now.Diff(old), false) })
	want := "~ 1 job changed\n  dependencies:\n    - build\n  timeout: 30 -> 31\n    org/a@master check  test\n\n" +
		"+ 1 job added\n    org/a@master check  noop\n\n- 1 job removed\n    org/a@master check  build\n\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := render(t, func(w io.Writer) error { return explain.Differences(w, "text", old.Diff(old), false) }); got != "No job differs.\n" {
		t.Errorf("a layout differs from itself: %s", got)
	}
	broken, _ := build(strings.Replace(own, "        - build\n", "", 1))
	got = render(t, func(w io.Writer) error { return explain.Differences(w, "text", broken.Diff(old), false) })
	if !strings.Contains(got, "can no longer be frozen") {
		t.Errorf("%s", got)
	}
}
