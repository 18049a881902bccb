package config

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/pipeline"
)

var gerrit = Options{Connections: map[string]string{"gerrit": "gerrit"}}

func parse(text string) *File {
	return Parse(Source{Path: "zuul.yaml", Branch: "master"}, []byte(text), gerrit)
}

// Scalars are read as PyYAML reads YAML 1.1.
func TestScalars(t *testing.T) {
	for text, want := range map[string]any{
		"yes": true, "Off": false, "on": true, "NO": false, "true": true, "y": "y", "~": nil, "": nil, "null": nil,
		"010": int64(8), "0x1F": int64(31), "0b101": int64(5), "1_000": int64(1000), "08": "08", "-5": int64(-5),
		"1:30": int64(90), "-1:00": int64(-60), "190:20:30": int64(685230), "1:30.5": 90.5, "+12": int64(12),
		"1.5": 1.5, ".5": 0.5, "1.": 1.0, "1e3": "1e3", "1.0e+3": 1000.0, "99999999999999999999": 1e20,
		".inf": ".inf", ".NaN": ".NaN", "2024-01-02": "2024-01-02", "1.2.3": "1.2.3", "0o7": "0o7", "=": "=",
		`"yes"`: "yes", "'1'": "1", "!!str 5": "5", "- ": []any{nil}, "-": []any{nil}, "+": "+", ".": ".", "0": int64(0),
	} {
		f := parse("- job:\n    name: j\n    vars:\n      v: " + text + "\n")
		if text == "- " || text == "-" {
			f = parse("- job:\n    name: j\n    vars:\n      v:\n      " + text + "\n")
		}
		if p := f.Problems(); len(p) > 0 {
			t.Errorf("%q: %s", text, p[0].Short)
			continue
		}
		if d := cmp.Diff(want, f.Jobs[0].Vars.Value["v"]); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
	n := &node{text: "-.inf"}
	if resolveScalar(n); !math.IsInf(n.float, -1) {
		t.Errorf("-.inf is %v", n.float)
	}
}

// The place of a problem is that of the attribute, and the snippet is around it.
func TestPosition(t *testing.T) {
	text := "# one\n\n- job:\n    name: j\n    voting: maybe\n    vars:\n      a: 1\n- job:\n    name: k\n"
	f := parse(text)
	p := f.Problems()
	if len(p) != 1 || len(f.Jobs) != 1 || f.Jobs[0].Name != "k" {
		t.Fatalf("%v, %d jobs", p, len(f.Jobs))
	}
	if p[0].Line != 5 || p[0].Column != 5 || p[0].EndLine != 5 || p[0].Declared != "j" || p[0].Object != "job" {
		t.Errorf("the problem is at %d-%d:%d of %s %s", p[0].Line, p[0].EndLine, p[0].Column, p[0].Object, p[0].Declared)
	}
	if !strings.HasPrefix(p[0].Snippet, "# one\n") || strings.Count(p[0].Snippet, "\n") != 8 {
		t.Errorf("snippet:\n%s", p[0].Snippet)
	}
	if got := f.Jobs[0].Span; got != (Span{8, 9, 3}) {
		t.Errorf("job k is at %v", got)
	}
	for _, part := range []string{"syntax error", "job stanza", `"/zuul.yaml@master", line 5`} {
		if !strings.Contains(p[0].Text, part) {
			t.Errorf("the text lacks %q:\n%s", part, p[0].Text)
		}
	}
}

// A problem keeps its identity when the file moves along in another layout, and only then.
func TestIdentity(t *testing.T) {
	a, b := parse("- job: {nam: x}\n").Problems(), parse("- job: {nam: x}\n").Problems()
	if a[0].Identity() != b[0].Identity() {
		t.Error("the same problem has two identities")
	}
	if c := parse("\n- job: {nam: x}\n").Problems(); c[0].Identity() == a[0].Identity() {
		t.Error("a problem on another line is the same")
	}
	if c := parse("- job: {nam: y}\n").Problems(); c[0].Identity() == a[0].Identity() {
		t.Error("a problem with other text around is the same")
	}
}

// hostile texts must be refused, or read, soon.
func hostile() map[string]string {
	var bomb strings.Builder
	bomb.WriteString("- job: {name: j, vars: {a0: &a0 [x, x]}}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&bomb, "- job: {name: j%d, vars: {v: &a%d [*a%d, *a%d]}}\n", i, i, i-1, i-1)
	}
	var merge strings.Builder
	merge.WriteString("- job:\n    name: m\n    vars:\n      b0: &b0 {k: 1}\n")
	for i := 1; i < 3000; i++ {
		fmt.Fprintf(&merge, "      b%d: &b%d {<<: [*b%d, *b%d], k%d: 1}\n", i, i, i-1, i-1, i)
	}
	return map[string]string{
		"aliases":      bomb.String(),
		"merge keys":   merge.String(),
		"flow nesting": "- job: {name: j, vars: {v: " + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + "}}",
		"block nesting": func() string {
			var b strings.Builder
			b.WriteString("- job:\n    name: j\n    vars:\n")
			for i := range 3000 {
				b.WriteString(strings.Repeat(" ", 6+i) + "k:\n")
			}
			return b.String()
		}(),
		"dashes":        strings.Repeat("- ", 200000) + "x",
		"questions":     strings.Repeat("? ", 200000) + "x",
		"open":          strings.Repeat("{a: ", 50000),
		"million keys":  "- job:\n    name: j\n    vars:\n" + strings.Repeat("      k: 1\n", 100000),
		"huge scalar":   "- job: {name: j, description: '" + strings.Repeat("x", 7<<20) + "'}",
		"wrong objects": strings.Repeat("- job: {nam: jj}\n", 100000),
		"long list":     "- job:\n    name: j\n    vars:\n      l:\n" + strings.Repeat("      - 1\n", 300000),
		"million jobs":  strings.Repeat("- job: {a: 1}\n", 570000),
		"huge file":     strings.Repeat("- job: {name: j}\n", 1<<20),
		"binary":        "- job: {name: \x00\x01}",
		"not utf-8":     "- job: {name: \xff\xfe}",
		"many anchors":  strings.Repeat("- &a\n", 100000),
		"million lines": strings.Repeat("#\n", 1000000) + "- job: {name: j}",
		"two documents": "- job: {name: j}\n---\n- job: {name: k}\n",
		"control":       "- job: {name: \"\a\"}",
		"percent":       "%YAML 9.9\n---\n- job: {name: j}\n",
	}
}

func TestHostile(t *testing.T) {
	reads := map[string]bool{"million lines": true, "huge scalar": true, "long list": true}
	for name, text := range hostile() {
		start := time.Now()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f := parse(text)
		runtime.ReadMemStats(&after)
		if taken := (after.TotalAlloc - before.TotalAlloc) >> 20; taken > 2000 {
			t.Errorf("%s: it took %d MiB", name, taken)
		}
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("%s: it took %v", name, took)
		}
		if p := f.Problems(); len(p) == 0 != reads[name] || len(p) > maxProblems+1 {
			t.Errorf("%s: %d problems", name, len(p))
		} else if len(p) > 0 && len(p[0].Text) > 20000 {
			t.Errorf("%s: the message has %d bytes", name, len(p[0].Text))
		}
	}
}

func TestTenants(t *testing.T) {
	f := ParseTenants("main.yaml", []byte(`
- authorization-rule: {name: admins, conditions: [{zuul_uid: root}]}
- global-semaphore: {name: g, max: 2}
- api-root: {authentication-realm: r, access-rules: [admins]}
- tenant:
    name: one
    max-nodes-per-job: -1
    allowed-labels: l
    source:
      gerrit:
        config-projects:
          - config: {load-branch: main, include: [job, pipeline]}
        untrusted-projects:
          - a
          - b: {exclude: [job], extra-config-paths: [extra/, x.yaml], shadow: config}
          - include: [job]
            projects:
              - c
              - d: {include: [job, nodeset]}
              - exclude: job
                projects: e
    semaphores: g
`), gerrit)
	if len(f.Problems) > 0 {
		t.Fatal(f.Problems[0].Text)
	}
	tenant := f.Tenant("one")
	classes := map[string]string{}
	for _, p := range tenant.Projects {
		classes[p.Name] = strings.Join(p.Classes, " ")
	}
	want := map[string]string{"config": "job pipeline", "a": "job semaphore project secret project-template nodeset queue",
		"b": "semaphore project secret project-template nodeset queue", "c": "job", "d": "job nodeset", "e": ""}
	if d := cmp.Diff(want, classes); d != "" {
		t.Error(d)
	}
	if got := tenant.Projects[2].Paths(); len(got) != 6 {
		t.Errorf("paths of b: %v", got)
	}
	if tenant.Projects[0].LoadBranch != "main" || !tenant.LabelAllowed("large") || tenant.LabelAllowed("small") {
		t.Error("load-branch or labels are not read")
	}
}

func TestDeployment(t *testing.T) {
	f := ParseTenants("main.yaml", []byte(`
- tenant:
    name: one
    deployment:
      locks:
        - {name: production, ageing: 900, pipelines: [deploy, {name: hourly, precedence: low}]}
      mutexes:
        - {resource: package-manager(bridge01), jobs: [base, gitea]}
      pipelines:
        - {name: deploy, dispatch: longest-path, max-parallel: 4, step-back: true, observe: true, repair: true, canary-pairs: [[a, b], [c, d]]}
        - {name: hourly, max-parallel: 2, shadow: true, view: {host: bridge01, path: /srv/views}}
`), gerrit)
	if len(f.Problems) > 0 {
		t.Fatal(f.Problems[0].Text)
	}
	d := f.Tenant("one").Deployment
	got := []pipeline.Settings{{Name: "deploy", Precedence: "high"}, {Name: "hourly"}, {Name: "check"}}
	for i := range got {
		d.Apply(&got[i])
	}
	want := []pipeline.Settings{
		{Name: "deploy", Precedence: "high", Dispatch: pipeline.DispatchLongestPath, MaxParallel: 4, StepBack: true, Observe: true, Repair: true, Canaries: [][2]string{{"a", "b"}, {"c", "d"}},
			Lock: &pipeline.Lock{Name: "production", Precedence: "high", Ageing: 900}},
		{Name: "hourly", MaxParallel: 2, Shadow: true, View: &pipeline.View{Host: "bridge01", Path: "/srv/views"}, Lock: &pipeline.Lock{Name: "production", Precedence: "low", Ageing: 900}},
		{Name: "check"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]string{"base": {"package-manager(bridge01)"}, "gitea": {"package-manager(bridge01)"}}, d.Resources()); d != "" {
		t.Error(d)
	}
}

func TestTenantProblems(t *testing.T) {
	for text, want := range map[string]string{
		"- tenant: {name: a b}":                                               "letters, digits",
		"- tenant: {name: a, sourc: {}}":                                      "extra keys not allowed",
		"- tenant: {name: a, source: {gerit: {}}}":                            "Unknown connection",
		"- tenant: {name: a, semaphores: x}":                                  "global semaphore",
		"- tenant: {name: a}\n- tenant: {name: a}":                            "more than once",
		"- tennant: {name: a}":                                                "not recognized",
		"tenant: {name: a}":                                                   "not a list",
		"- tenant: {name: a, source: {gerrit: {untrusted-projects: [p, p]}}}": "more than once",
		"- tenant: {name: a, source: {gerrit: {untrusted-projects: [p: {load-branch: x}]}}}":                               "extra keys not allowed",
		"- tenant: {name: a, source: {gerrit: {untrusted-projects: [p: {extra-config-paths: zuul.d/}]}}}":                  "default configuration path",
		"- tenant: {name: a, source: {gerrit: {config-projects: [c], untrusted-projects: [p: {configure-projects: .*}]}}}": "matches the config project",
		"- tenant: {name: a, source: {gerrit: {untrusted-projects: [p: {include: [jobs]}]}}}":                              "expected one of",
		"- tenant: []": "expected a dictionary",
		"- tenant: {name: a, deployment: {lock: x}}":                                                                       "extra keys not allowed",
		"- tenant: {name: a, deployment: {locks: [{name: x}]}}":                                                            "required key not provided",
		"- tenant: {name: a, deployment: {locks: [{name: x, pipelines: [p]}, {name: y, pipelines: [{name: p}]}]}}":         "a pipeline has one lock",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, shadow: true}]}}":                                          "name max-parallel",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, dispatch: shortest}]}}":                                    "expected one of",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, repair: true}]}}":                                          "add observe",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, canary-pairs: [a, b]}]}}":                                  "a pair of different jobs",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, canary-pairs: [[a, a]]}]}}":                                "a pair of different jobs",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, canary-pairs: a}]}}":                                       "a list of pairs",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, max-parallel: 2, shadow: true, canary-pairs: [[a, b]]}]}}": "leave either",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, view: {host: h}}]}}":                                       "required key not provided",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, view: {host: h, path: srv/views}}]}}":                      "like /srv/views",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, view: {host: h, path: /srv}}]}}":                           "like /srv/views",
		"- tenant: {name: a, deployment: {pipelines: [{name: p, view: {host: h, path: '/srv/a b'}}]}}":                     "like /srv/views",
		"- tenant: {name: a, deployment: {mutexes: [{resource: r}]}}":                                                      "required key not provided",
	} {
		f := ParseTenants("main.yaml", []byte(text), gerrit)
		if len(f.Problems) == 0 || !strings.Contains(f.Problems[0].Short, want) {
			t.Errorf("%s: want %q, got %v", text, want, f.Problems)
		}
	}
}

func TestBranchesOfProject(t *testing.T) {
	p := NewTenantProject("gerrit", "a", false)
	p.ExcludeBranches, p.AlwaysDynamic = []string{"wip/.*", "ex"}, []string{"dyn/(?!x).*"}
	for branch, want := range map[string]bool{"main": true, "wip/1": false, "wi": true, "ex": false, "extra": true, "dyn/1": false, "dyn/x": true} {
		if p.Includes(branch) != want {
			t.Errorf("branch %s: included %v", branch, !want)
		}
	}
	p.IncludeBranches = []string{"wip/.*"}
	if p.Includes("main") || !p.Includes("wip/1") {
		t.Error("include-branches does not win")
	}
	if !p.Dynamic("dyn/1") || !p.DynamicPatterns()[0].Match("dyn/1") || p.DynamicPatterns()[0].Match("dyn/x") {
		t.Error("always-dynamic-branches are not matched")
	}
}

func TestSuggest(t *testing.T) {
	for word, want := range map[string]string{"nodset": "did you mean nodeset?", "required_projects": "did you mean required-projects?",
		"xyz": "", "attemps": "did you mean attempts?", "Timeout": "did you mean timeout?"} {
		if got := Suggest(word, []string{"nodeset", "required-projects", "attempts", "timeout"}); got != want {
			t.Errorf("%s: %q", word, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range hostile() {
		if len(text) < 5000 {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte("- job: {name: j, vars: &a {<<: *a}, tags: !inherit [x], run: [{name: r, semaphores: s}]}"))
	f.Add([]byte("- project:\n    check:\n      jobs:\n        - a:\n            files: {regex: x, negate: yes}\n"))
	f.Add([]byte("- pipeline:\n    name: p\n    manager: serial\n    trigger:\n      gerrit: [{event: x, require: {approval: [{A: [1, 2], older-than: 2d}]}}]\n"))
	f.Add([]byte("- secret: {name: s, data: {a: !encrypted/pkcs1-oaep [x, y]}}"))
	f.Add([]byte("- nodeset: {name: n, nodes: [{name: [a, b], label: l}], groups: [{name: g, nodes: a}]}"))
	f.Add([]byte("a: &x\n  ? [*x]\n  : b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		one := Parse(Source{Path: "zuul.yaml"}, data, gerrit)
		two := Parse(Source{Path: "zuul.yaml"}, data, gerrit)
		if d := cmp.Diff(one.Problems(), two.Problems()); d != "" {
			t.Errorf("two readings differ: %s", d)
		}
		for _, p := range one.Problems() {
			if p.Line < 0 || p.EndLine < p.Line || p.Short == "" {
				t.Errorf("a problem without place or text: %+v", p)
			}
		}
		ParseTenants("main.yaml", data, gerrit)
	})
}
