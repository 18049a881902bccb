package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sarifschema "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/gozer-ci/gozer/internal/deps"
)

var update = flag.Bool("update", false, "write what reports print into the files that it is compared with")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-update writes it anew):\n%s", name, d)
	}
}

func task(file string, line int, name, module string, args map[string]any, hosts ...string) deps.Task {
	return deps.Task{Name: name, Module: module, Args: args, Hosts: hosts, At: deps.Place{File: file, Line: line, Task: name}}
}

// fleet is a repository with something of everything that a report has words for.
func fleet(t *testing.T) *deps.Analysis {
	t.Helper()
	apt := func(file, name string, hosts ...string) deps.Task {
		return task(file, 3, "Packages", "apt", map[string]any{"name": name}, hosts...)
	}
	jobs := []deps.Job{
		{Name: "prod-base", Description: "What every host has.", Playbooks: []string{"base.yaml"},
			Tasks: []deps.Task{apt("base.yaml", "vim", "web1", "web2", "db1"), task("base.yaml", 5, "People", "user", map[string]any{"name": "ann"}, "web1", "db1")}},
		{Name: "prod-certificate", Playbooks: []string{"certificate.yaml"},
			Tasks: []deps.Task{task("certificate.yaml", 4, `The "site" <certificate> & key`, "copy", map[string]any{"dest": "/etc/tls/site.pem", "content": "x"}, "web1", "web2")}},
		{Name: "prod-site", Playbooks: []string{"site.yaml"},
			Tasks: []deps.Task{apt("site.yaml", "nginx", "web1", "web2"), task("site.yaml", 7, "What it serves with", "slurp", map[string]any{"src": "/etc/tls/site.pem"}, "web1", "web2"),
				task("site.yaml", 9, "The database answers", "own_check", nil, "web1")}},
		{Name: "prod-cache", Playbooks: []string{"cache.yaml"},
			Tasks: []deps.Task{apt("cache.yaml", "varnish", "web1", "web2"), task("cache.yaml", 5, "People", "user", map[string]any{"name": "ann", "shell": "/bin/sh"}, "web1")}},
		{Name: "prod-backup", Playbooks: []string{"backup.yaml"}, Tasks: []deps.Task{task("backup.yaml", 3, "Keys", "copy", map[string]any{"dest": "/etc/backup/keys", "content": "a"}, "db1")}},
		{Name: "prod-archive", Playbooks: []string{"archive.yaml"}, Tasks: []deps.Task{task("archive.yaml", 3, "Keys", "copy", map[string]any{"dest": "/etc/backup/keys", "content": "b"}, "db1")},
			Matchers: []deps.Matcher{{Pattern: "^nowhere/", At: deps.Place{File: "zuul.yaml", Line: 30}, Match: func(string) bool { return false }}}},
	}
	for i := range jobs {
		jobs[i].At = deps.Place{File: "zuul.yaml", Line: 2 + 4*i}
	}
	member := func(line int, job string, after ...string) deps.Member {
		m := deps.Member{Job: job, At: deps.Place{File: "zuul.yaml", Line: line}}
		for _, a := range after {
			m.After = append(m.After, deps.Dependency{Job: a, Soft: a != "prod-base"})
		}
		return m
	}
	r := &deps.Repo{Jobs: jobs, Files: []string{"zuul.yaml"}, Hosts: map[string][]string{"web1": {"all", "web"}, "web2": {"all", "web"}, "db1": {"all", "db"}},
		Pipelines: []deps.Pipeline{
			{Name: "deploy", Members: []deps.Member{member(40, "prod-base"), member(41, "prod-certificate", "prod-base"), member(42, "prod-site"), member(43, "prod-cache"),
				member(44, "prod-backup", "prod-base"), member(45, "prod-archive", "prod-base")}},
			{Name: "hourly", Members: []deps.Member{member(50, "prod-site", "prod-certificate"), member(51, "prod-cache")}},
		},
		Problems: []deps.Problem{{At: deps.Place{File: "group_vars/web.yaml"}, Text: "group_vars/web.yaml is encrypted: what it defines is unknown"}},
	}
	var err error
	if r.Settings, err = deps.ParseSettings("gozer.yaml", []byte("deps:\n  - waive: {rule: R4, jobs: [backup, archive]}\n    reason: one of them is going away\n  - job: prod-cache\n    after: prod-site\n    reason: it warms up with what the site serves\n")); err != nil {
		t.Fatal(err)
	}
	a, err := deps.Analyse(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func audit(t *testing.T, format string, s Style) string {
	t.Helper()
	a := fleet(t)
	var b bytes.Buffer
	if err := Audit(&b, format, a, a.Audit(deps.AuditOptions{Today: "2026-11-26"}), s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAuditText(t *testing.T) {
	golden(t, "audit.txt", audit(t, "text", Style{}))
	golden(t, "audit-all.txt", audit(t, "text", Style{All: true}))
	// Colours stand beside words: without them it is the same text.
	if plain := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(audit(t, "text", Style{Color: true}), ""); plain != audit(t, "text", Style{}) {
		t.Error("the coloured text says something else")
	}
}

func TestAuditJSON(t *testing.T) {
	got := audit(t, "json", Style{})
	golden(t, "audit.json", got)
	var out struct {
		Findings []struct{ Rule, Text string }
		Edges    []deps.Edge
		Pairs    deps.Pairs
	}
	if err := json.Unmarshal([]byte(got), &out); err != nil || len(out.Findings) == 0 || len(out.Edges) == 0 || out.Pairs.All == 0 {
		t.Errorf("%v: %d findings, %d edges, %+v", err, len(out.Findings), len(out.Edges), out.Pairs)
	}
}

// TestAuditSARIF holds the output to the schema of SARIF 2.1.0.
func TestAuditSARIF(t *testing.T) {
	got := audit(t, "sarif", Style{})
	golden(t, "audit.sarif", got)
	report, err := sarifschema.FromString(got)
	if err != nil {
		t.Fatal(err)
	}
	// The library writes what was not said as empty, which the schema does not allow.
	run := report.Runs[0]
	english := "en"
	run.Language, run.Tool.Driver.Language, run.NewlineSequences = english, english, []string{"\n"}
	if err := report.Validate(); err != nil {
		t.Error(err)
	}
	// What the schema does not know would have been lost on the way.
	again, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if err := json.Unmarshal([]byte(got), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &y); err != nil {
		t.Fatal(err)
	}
	if lost := lacks(x, y, ""); lost != "" {
		t.Errorf("%s is no part of SARIF", lost)
	}
	for _, r := range report.Runs[0].Results {
		if *report.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID != *r.RuleID {
			t.Errorf("the index of %s is that of another rule", *r.RuleID)
		}
		if len(r.PartialFingerprints) == 0 {
			t.Errorf("%s has no fingerprint, by which a code host knows it again", *r.RuleID)
		}
	}
}

// lacks names what is in x and not in y.
func lacks(x, y any, at string) string {
	switch x := x.(type) {
	case map[string]any:
		other, _ := y.(map[string]any)
		for k, v := range x {
			if _, ok := other[k]; !ok {
				return at + "/" + k
			}
			if lost := lacks(v, other[k], at+"/"+k); lost != "" {
				return lost
			}
		}
	case []any:
		other, _ := y.([]any)
		if len(other) != len(x) {
			return at
		}
		for i := range x {
			if lost := lacks(x[i], other[i], at); lost != "" {
				return lost
			}
		}
	}
	return ""
}

func TestAuditHTML(t *testing.T) {
	got := audit(t, "html", Style{})
	golden(t, "audit.html", got)
	for _, want := range []string{"prod-site does not wait for prod-certificate", "&lt;certificate&gt; &amp; key", "one of them is going away", "<svg"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if strings.Contains(got, "<certificate>") {
		t.Error("names are not escaped")
	}
	if found := regexp.MustCompile(`(?:src|href)="?https?:`).FindString(got); found != "" {
		t.Errorf("the page needs something from elsewhere: %s", found)
	}
}

func TestFormats(t *testing.T) {
	if err := Audit(io.Discard, "yaml", nil, nil, Style{}); err == nil || !strings.Contains(err.Error(), "use one of text, json, sarif, html") {
		t.Error(err)
	}
}

func TestWhy(t *testing.T) {
	a := fleet(t)
	for name, pair := range map[string][2]string{"why.txt": {"site", "certificate"}, "why-chain.txt": {"cache", "certificate"}, "why-none.txt": {"certificate", "archive"}} {
		r, err := Why(a, pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

func TestGraph(t *testing.T) {
	a := fleet(t)
	svg := Graph(a, a.Pipeline("deploy"), []string{"prod-base", "prod-certificate"})
	golden(t, "graph.svg", svg)
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("no XML: %v", err)
		}
	}
	golden(t, "graph.mermaid", Mermaid(a, a.Pipeline("deploy")))
}

var durations = deps.Durations{Known: map[string]time.Duration{"prod-base": 4 * time.Minute, "prod-certificate": 90 * time.Second, "prod-site": 2 * time.Minute}, Default: time.Minute, Source: "from took.csv"}

func TestDocument(t *testing.T) {
	a := fleet(t)
	page, err := Document(a, a.Pipeline("deploy"), durations)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "deploy.md", page.Markdown)
	if d := cmp.Diff(durations, Kept(page.Markdown)); d != "" {
		t.Errorf("the durations that the page keeps:\n%s", d)
	}
}

func TestSimulation(t *testing.T) {
	a := fleet(t)
	s, err := a.Simulate(a.Pipeline("deploy"), deps.SimulateOptions{Durations: durations})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Simulation(&b, s, 4, 80); err != nil {
		t.Fatal(err)
	}
	golden(t, "simulation.txt", b.String())
}
