// Package demo_test runs the binary as people do: it plays the story of `gozer demo`, interrupts it, kills it, and
// starts it where it cannot work.
package demo_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
)

// TestTheStory is told in three runs over one folder: Ctrl-C in the middle of the gate, SIGKILL in the middle of the
// deployment, and then to its end.
func TestTheStory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute or two")
	}
	w := newWorkshop(t)
	w.must(t, "ansible", "install")
	data := filepath.Join(t.TempDir(), "demo")
	args := []string{"demo", "--once", "--data", data, "--listen", port.Own(t)}

	first := w.start(t, args...)
	first.until(t, "3. Three changes", 10*time.Minute)
	first.signal(t, syscall.SIGINT) // as a terminal does: to all of the group
	if code := first.end(t, 5*time.Minute); code != 0 {
		t.Errorf("interrupted, it ended with %d, want 0", code)
	}
	w.nothingLeft(t, data)

	second := w.start(t, args...)
	second.until(t, "success  infra-prod-base", 10*time.Minute)
	second.kill(t)
	w.nothingLeft(t, data)

	third := w.start(t, args...)
	if code := third.end(t, 15*time.Minute); code != 0 {
		t.Fatalf("the third run ended with %d, want 0", code)
	}
	w.nothingLeft(t, data)
	for _, want := range []string{
		"merged   2,1", "refused  3,1", "merged   4,1", "main is exactly the commits that the gate tested",
		"critical path", "infra-prod-service-grafana", "1 race in", "0 races in", "The story took",
	} {
		if !strings.Contains(third.output(), want) {
			t.Errorf("the story does not say %q", want)
		}
	}
	// Once more: the fleet comes up again, although nodes of the bastion were left in all of its slots.
	fourth := w.start(t, args...)
	if code := fourth.end(t, 2*time.Minute); code != 0 || !strings.Contains(fourth.output(), "hosts are up") {
		t.Errorf("started again, it ended with %d, want 0:\n%s", code, fourth.output())
	}
	w.nothingLeft(t, data)
	// Every job in the chart of the deployment was told of when it ended.
	for line := range strings.Lines(third.output()) {
		if name, _, ok := strings.Cut(line, "│"); ok && !strings.Contains(third.output(), "✓ success  "+strings.TrimSpace(name)+" ") {
			t.Errorf("the end of %s is not told", strings.TrimSpace(name))
		}
	}
	// What the deployments had of the sources went with them, also of the one that was killed; but for the last
	// one, whose end may be too near that of the process.
	bastion := filepath.Join(data, "state", "nodes", "fleet", "hosts", "bridge01", "root", "srv")
	if views, err := filepath.Glob(filepath.Join(bastion, "views", "*")); err != nil || len(views) > 1 {
		t.Errorf("there are views left on the bastion: %v, %v", views, err)
	}
	if _, err := os.Stat(filepath.Join(bastion, "views")); err != nil {
		t.Errorf("there never was a view: %v", err)
	}
}

func TestWhereItCannotWork(t *testing.T) {
	w := newWorkshop(t)
	free := port.Own(t)
	taken := listen(t)
	for _, c := range []struct {
		name string
		env  []string
		args []string
		says []string
	}{
		{"a port that is taken", nil, []string{"demo", "--once", "--listen", taken}, []string{taken, "in use", "--listen"}},
		{"no Ansible", []string{"GOZER_CACHE=" + t.TempDir()}, []string{"demo", "--once", "--listen", free}, []string{"gozer ansible install"}},
		{"no bubblewrap", []string{"PATH=" + w.path(t, "git", "ssh", "openssl", "python3", "sh"), "GOZER_CACHE=" + w.cacheWithAnsible(t)},
			[]string{"demo", "--once", "--listen", free}, []string{"bubblewrap", "install"}},
		{"no git", []string{"PATH=" + w.path(t, "sh"), "GOZER_CACHE=" + w.cacheWithAnsible(t)},
			[]string{"demo", "--once", "--listen", free}, []string{"git", "install git 2.38"}},
		{"data of a newer version", nil, []string{"server", "--config", w.newerData(t, free)}, []string{"format 999", "start the newer gozer"}},
		{"a configuration that is not there", nil, []string{"server", "--config", "/nonexistent/gozer.yaml"}, []string{"/nonexistent/gozer.yaml"}},
		{"a role that does not exist", nil, []string{"server", "--config", w.config(t, free), "--roles", "shedular"}, []string{"shedular", "scheduler"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(w.gozer, c.args...)
			cmd.Env = append(append(os.Environ(), "TMPDIR="+t.TempDir()), c.env...)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("it worked:\n%s", out)
			}
			if code := cmd.ProcessState.ExitCode(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			said := lastLine(string(out))
			if !strings.HasPrefix(said, "gozer: ") {
				t.Errorf("the last line is no message:\n%s", out)
			}
			for _, s := range c.says {
				if !strings.Contains(said, s) {
					t.Errorf("the message does not name %q: %s", s, said)
				}
			}
		})
	}
	w.nothingLeft(t, w.dir)
}
