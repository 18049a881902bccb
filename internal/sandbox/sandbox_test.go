package sandbox

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T) *Sandbox {
	t.Helper()
	s, err := New(t.Context(), Config{Cgroup: "gozer-test-" + filepath.Base(t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sh runs a script in a box over work, and gives its output and exit code.
func sh(t *testing.T, s *Sandbox, b Box, script string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p, err := s.Start(ctx, b, Command{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + b.Home},
		Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), code
}

func TestABoxShowsOnlyWhatItIsGiven(t *testing.T) {
	s := open(t)
	work := t.TempDir()
	ro := t.TempDir()
	if err := os.WriteFile(filepath.Join(ro, "f"), []byte("readable"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := sh(t, s, Box{Name: "b", Home: work, Writable: []Bind{{Path: work}}, ReadOnly: []Bind{{Path: ro}},
		Limits: Limits{Memory: 200 << 20, Processes: 50, Files: 256}},
		"cat "+ro+"/f; echo; pwd; echo x > written; ulimit -n; whoami; ls /root /home 2>&1; ls /")
	for _, want := range []string{"readable", work, "256", "zuul", "cannot access '/root'"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	if b, err := os.ReadFile(filepath.Join(work, "written")); err != nil || string(b) != "x\n" {
		t.Errorf("the file written inside: %q, %v", b, err)
	}
}
