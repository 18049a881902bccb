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
		if got, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != "was-here" {
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
