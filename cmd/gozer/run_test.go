package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What failed on the server fails here, by the same job on the same sources; its node can be looked at.
func TestRunWhatFailedOnTheServer(t *testing.T) {
	s := newSite(t, appFiles())
	t.Setenv("GOZER_CACHE", filepath.Join(s.dir, "cache"))
	n := s.propose("break it", map[string]string{"tools/test.sh": broken})
	s.report(n)
	if out, code := s.gozer("run", "unit", "--change", "999"); code != exitFailed || !strings.Contains(out, "no finished build of job unit for change 999") {
		t.Errorf("a change that is not there: exit %d\n%s", code, out)
	}
	out, code := s.gozer("run", "unit", "--project", "app", "--change", fmt.Sprint(n), "--keep-failed", "--ansible-dir", filepath.Join(s.dir, "none"))
	if code != exitNo || !strings.Contains(out, "it is broken") || !strings.Contains(out, "unit: FAILURE") {
		t.Fatalf("exit %d\n%s", code, out)
	}
	ssh := regexp.MustCompile(`ssh (-i .*)`).FindStringSubmatch(out)
	if ssh == nil {
		t.Fatalf("it does not say how to log in:\n%s", out)
	}
	if path, err := exec.LookPath("ssh"); err == nil {
		cmd := exec.Command(path, append(append([]string{"-o", "BatchMode=yes"}, strings.Fields(ssh[1])...), "ls", "was-here")...)
		if got, err := cmd.Output(); err != nil || strings.TrimSpace(string(got)) != "was-here" {
			t.Errorf("on the node: %s, %v", got, err)
		}
	}
	if out := s.must("run", "--clean"); strings.Count(out, "removed") != 1 {
		t.Errorf("clean says %s", out)
	}
	left, err := os.ReadDir(filepath.Join(s.dir, "cache", "run"))
	if err != nil || len(left) != 0 {
		t.Errorf("left is %v, %v", left, err)
	}
	s.runCheckouts()
}

// runCheckouts runs the job on checkouts, with what is not committed.
func (s *site) runCheckouts() {
	s.Helper()
	seed := filepath.Join(s.dir, "seed")
	args := []string{"run", "unit", "--pipeline", "check", "--tenant-file", s.set.Tenants, "--connection", "local=gerrit", "--ansible-dir", filepath.Join(s.dir, "none"), seed}
	before := s.git(filepath.Join(seed, "app"), "rev-parse", "HEAD")
	out, code := s.gozer(args...)
	if code != 0 || !strings.Contains(out, "this is node1") || !strings.Contains(out, "unit: SUCCESS") {
		s.Errorf("on checkouts: exit %d\n%s", code, out)
	}
	s.files(filepath.Join(seed, "app"), map[string]string{"tools/test.sh": broken})
	if out, code := s.gozer(args...); code != exitNo || !strings.Contains(out, "it is broken") {
		s.Errorf("with what is not committed: exit %d\n%s", code, out)
	}
	if now := s.git(filepath.Join(seed, "app"), "rev-parse", "HEAD"); now != before || s.git(filepath.Join(seed, "app"), "status", "--short") != "M tools/test.sh" {
		s.Error("the checkout was changed")
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, "cache", "run")); err != nil || len(left) != 0 {
		s.Errorf("left is %v, %v", left, err)
	}
}

// A job that never ran for a change runs here as it would start: with the change that this one needs, the job as the
// change itself declares it, and after a job that is taken to have succeeded.
func TestRunWhatHasNoBuild(t *testing.T) {
	s := newSite(t, appFiles())
	t.Setenv("GOZER_CACHE", filepath.Join(s.dir, "cache"))
	first := s.propose("first", map[string]string{"first": "from the first\n"})
	s.report(first)
	second := s.propose("second", map[string]string{
		".zuul.yaml": `- job:
    name: unit
    run: tools/test.sh
    nodeset: {nodes: [{name: node, label: small}]}
- job:
    name: late
    run: tools/late.sh
    nodeset: {nodes: [{name: node, label: small}]}
- project:
    check: {jobs: [unit, {late: {dependencies: [unit]}}]}
`,
		"tools/test.sh": broken, // so that late is never started
		"tools/late.sh": "#!/bin/sh\ncat first\necho $GOZER_JOB on $ZUUL_CHANGE\ngit log --format=%s -3\n",
	}, fmt.Sprintf("Depends-On: %s/c/app/+/%d", s.forge, first))
	if text := s.report(second); !strings.Contains(text, "late") {
		t.Errorf("the report is %s", text)
	}
	args := func(job, n string) []string {
		return []string{"run", job, "--project", "app", "--change", n, "--ansible-dir", filepath.Join(s.dir, "none")}
	}
	out, code := s.gozer(args("late", fmt.Sprint(second))...)
	if code != 0 || !strings.Contains(out, "Job late as pipeline check would start it for change") || !strings.Contains(out, "node | from the first") ||
		!strings.Contains(out, fmt.Sprint("node | late on ", second)) {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if out, code := s.gozer(append(args("unit", fmt.Sprint(second)), "--now")...); code != exitNo || !strings.Contains(out, "it is broken") {
		t.Errorf("now: exit %d\n%s", code, out)
	}
	for want, a := range map[string][]string{
		"project app has no change 999":                args("late", "999"),
		"check does not run it, but unit, late":        args("nothing", fmt.Sprint(second)),
		"has no pipeline \"gate\"; it has check":       append(args("late", fmt.Sprint(second)), "--pipeline", "gate"),
		"no finished build of job late for change 999": {"run", "late", "--change", "999"},
	} {
		if out, code := s.gozer(a...); code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("%v: exit %d, lacks %q\n%s", a, code, want, out)
		}
	}
}
