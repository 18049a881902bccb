package web_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/forge/local"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
	page "github.com/gozer-ci/gozer/web"
)

// TestPagesInABrowser opens the real page in a real browser, on a server whose records this test writes.
// GOZER_PICTURES names a folder in which the screenshots stay.
func TestPagesInABrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("SKIP: no chromium on this machine (apt-get install chromium)")
	}
	if !page.Built() {
		t.Skip("SKIP: the page is not built (make web)")
	}
	source, err := filepath.Abs("../../web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(source, "node_modules/playwright-core")); err != nil {
		t.Skip("SKIP: playwright-core is not installed (cd web && npm ci)")
	}
	pictures := os.Getenv("GOZER_PICTURES")
	if pictures == "" {
		pictures = t.TempDir()
	}
	forge, mount := withForge(t)
	w := newWorld(t, mount)
	s := newStory(w)
	w.raced(time.Now())
	for _, subject := range []string{"Speed up the parser", "Serve TLS everywhere"} {
		w.propose(app.Name, subject)
	}
	w.propose("org/other", "Another tenant's")
	if _, err := forge.Review(t.Context(), 1, "ben", local.Review{Message: "Looks right to me.", Votes: map[string]int{"Approved": 1}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "browser/pages.mjs", chromium, w.http.URL, pictures)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var problems bytes.Buffer
	cmd.Stderr = &problems
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last = lines.Text()
		if what, ok := strings.CutPrefix(last, "do "); ok {
			s.do(what)
			if _, err := fmt.Fprintln(in); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || last != "done" {
		t.Fatalf("after %q: %v\n%s", last, err, problems.String())
	}
}

// story is what happens on the server while the browser looks.
type story struct {
	w    *world
	gate *pipeline.State
	log  interface {
		Line(string) string
		Finish(context.Context) error
	}
}

func newStory(w *world) *story {
	now := time.Now()
	w.record("past-good", now.Add(-3*time.Hour), pipeline.Success)
	w.record("past", now.Add(-time.Hour), pipeline.Failure)
	for _, r := range fleetHistory(now) {
		if err := w.db.Record(w.t.Context(), r); err != nil {
			w.t.Fatal(err)
		}
	}
	s := &story{w: w, gate: gate(now)}
	second := add(s.gate, "i2", now.Add(-70*time.Second), proposed("2", "Teach the linter about tabs", "Ben"), shortJobs(), map[job.ID]*pipeline.JobState{
		"unit": {Tries: 1, Build: &pipeline.Build{ID: "b2-unit", Attempt: 1, Started: now.Add(-30 * time.Second)}},
		"docs": {Tries: 1, Build: &pipeline.Build{ID: "b2-docs", Attempt: 1, Result: pipeline.Success, Started: now.Add(-30 * time.Second), Ended: now.Add(-9 * time.Second)}}})
	_ = second
	third := add(s.gate, "i3", now.Add(-20*time.Second), proposed("3", "Remove the old cache", "Cleo"), shortJobs(), nil)
	third.Buildset.Phase, third.Buildset.Graph = pipeline.PhaseMerging, nil
	w.pipe(s.gate)

	check := state("check", pipeline.Independent, "Tests every proposed change")
	bad := add(check, "c1", now.Add(-15*time.Second), proposed("4", "Rename the role", "Dan"), nil, nil)
	bad.Buildset.Phase = pipeline.PhaseProblem
	bad.Buildset.Graph = nil
	bad.Buildset.Problems = []pipeline.Problem{{Name: "Job Not Defined", Severity: "error", Project: app.Name, Path: "zuul.yaml", Line: 12, Text: "Job unit2 is not defined. Did you mean unit?", Short: "job unit2 is not defined"}}
	add(check, "c2", now.Add(-100*time.Second), proposed("5", "Use the new mirror for the containers", "Eve"), shortJobs(), map[job.ID]*pipeline.JobState{
		"unit": {Tries: 2, Build: &pipeline.Build{ID: "b5-unit", Attempt: 2, Result: pipeline.TimedOut, Started: now.Add(-95 * time.Second), Ended: now.Add(-5 * time.Second)}},
		"docs": {Waiting: "waits for a node: 1 x sandbox, none is free"}})
	w.pipe(check)
	w.locked(now)
	w.pipe(state("periodic", pipeline.Independent, ""))
	log, err := w.logs.Create("b-service-gitea", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range 20000 {
		log.Line(logLine(i))
	}
	s.log = log
	w.wait("the pipelines", func() bool { return w.get("/api/tenant/t/buildset/bs-d1/graph", nil) == 200 })
	return s
}

// logLine is a line of a log that looks like Ansible's.
func logLine(i int) string {
	switch {
	case i == 777:
		return "a needle in the haystack"
	case i%50 == 0:
		return fmt.Sprintf("TASK [gitea : Step %d] ****************************************", i)
	case i%50 == 1:
		return "\x1b[0;33mchanged: [gitea01]\x1b[0m"
	case i%50 == 2:
		return "ok: [gitea02]"
	case i%997 == 0:
		return `fatal: [gitea03]: FAILED! => {"msg": "the service does not answer"}`
	}
	return fmt.Sprintf("gitea01 | line %d", i)
}

func shortJobs() []*job.Job {
	return []*job.Job{{ID: "unit", Name: "unit", Voting: true}, {ID: "docs", Name: "docs", Voting: false}}
}

func (s *story) do(what string) {
	now := time.Now()
	switch what {
	case "fail image":
		it := s.gate.Items["i1"]
		b := it.Buildset.Jobs["image"].Build
		b.Result, b.Ended, b.Detail = pipeline.Failure, now, "the registry refused the push"
		it.Failing = []string{"at least one job failed"}
		s.w.pipe(s.gate)
	case "append":
		s.log.Line("a line that came later")
	case "end":
		if err := s.log.Finish(s.w.t.Context()); err != nil {
			s.w.t.Error(err)
		}
	default:
		s.w.t.Errorf("the browser asks for %q", what)
	}
}

// service is one job of a fleet: after which others, when it ran (seconds), which semaphore.
type service struct {
	name        string
	after       string
	queued      int
	start, end  int // 0: not yet
	usual       int
	holds, wait string
}

var services = []service{
	{"bootstrap-bridge", "", 0, 1, 16, 15, "", ""},
	{"base", "bootstrap-bridge", 16, 17, 55, 40, "", ""},
	{"nameserver", "base", 55, 56, 78, 20, "", ""},
	{"letsencrypt", "nameserver", 78, 79, 101, 25, "", ""},
	{"service-gitea", "letsencrypt", 101, 102, 0, 60, "", ""},
	{"gitea-lb", "service-gitea", 0, 0, 0, 12, "", "waits for service-gitea"},
	{"service-gerrit", "letsencrypt", 101, 103, 0, 50, "", ""},
	{"service-zuul", "service-gerrit", 0, 0, 0, 35, "", "waits for service-gerrit"},
	{"service-mailman3", "letsencrypt", 101, 103, 121, 20, "proxy", ""},
	{"service-static", "letsencrypt", 101, 122, 0, 25, "proxy", ""},
	{"service-grafana", "letsencrypt", 101, 0, 0, 20, "proxy", "semaphore proxy is held by service-static, for about 15s more"},
	{"service-paste", "base", 55, 57, 80, 22, "", ""},
	{"service-registry", "base", 55, 58, 96, 30, "", ""},
	{"service-borg-backup", "base", 55, 60, 111, 45, "", ""},
}

// fleet is a deploy pipeline in the middle of its work.
func fleet(now time.Time) *pipeline.State {
	st := state("deploy", pipeline.Serial, "Brings merged changes to the hosts")
	begin := now.Add(-130 * time.Second)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	var jobs []*job.Job
	states := map[job.ID]*pipeline.JobState{}
	for _, s := range services {
		j := &job.Job{ID: job.ID(s.name), Name: s.name, Voting: true}
		if s.after != "" {
			j.Dependencies = []job.Dependency{{Job: job.ID(s.after), Soft: s.after == "base"}}
		}
		if s.holds != "" {
			j.Semaphores = []job.Semaphore{{Name: s.holds}}
		}
		jobs = append(jobs, j)
		js := &pipeline.JobState{Waiting: s.wait}
		if s.queued > 0 || s.start > 0 {
			js.Queued = at(s.queued)
		}
		if s.start > 0 {
			js.Tries, js.Build = 1, &pipeline.Build{ID: pipeline.BuildID("b-" + s.name), Attempt: 1, Started: at(s.start)}
			if s.end > 0 {
				js.Build.Result, js.Build.Ended = pipeline.Success, at(s.end)
			}
		}
		states[j.ID] = js
	}
	add(st, "d1", begin, proposed("6", "Serve the wiki from the new hosts", "Flo"), jobs, states)
	return st
}

// fleetHistory makes the durations of the fleet known.
func fleetHistory(now time.Time) (out []*pipeline.Record) {
	c := proposed("6", "An earlier deploy", "Flo")
	out = append(out, &pipeline.Record{Buildset: &pipeline.BuildsetRecord{ID: "fleet", Tenant: "t", Pipeline: "deploy", Result: pipeline.Success, At: now}})
	for _, s := range services {
		end := now.Add(-2 * time.Hour)
		out = append(out, &pipeline.Record{Build: &pipeline.BuildRecord{Buildset: "fleet", JobName: s.name, Ref: c.Key(), Voting: true, Final: true,
			Build: pipeline.Build{ID: pipeline.BuildID("old-" + s.name), Attempt: 1, Result: pipeline.Success, Started: end.Add(-time.Duration(s.usual) * time.Second), Ended: end}}})
	}
	out[0].Buildset.Refs = append(out[0].Buildset.Refs, c)
	return out
}
