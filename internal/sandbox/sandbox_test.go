package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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
	t.Cleanup(s.Close)
	return s
}

// sh runs a script in a box over work, and gives its output and exit code.
func sh(t *testing.T, s *Sandbox, b Box, script string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
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

func TestLimitsHold(t *testing.T) {
	s := open(t)
	work := t.TempDir()
	box := func(name string) Box {
		return Box{Name: name, Home: work, Writable: []Bind{{Path: work}}, Limits: Limits{Memory: 100 << 20, Processes: 30, Files: 64, FileSize: 1 << 20}}
	}
	if s.groups != nil {
		if out, code := sh(t, s, box("memory"), "head -c 300000000 /dev/zero | tail -c 290000000 | wc -c"); code == 0 && strings.Contains(out, "290000000") {
			t.Errorf("took more memory than allowed: %s", out)
		}
		if out, _ := sh(t, s, box("processes"), "for i in $(seq 60); do sleep 3 & done; wait"); !strings.Contains(out, "fork") {
			t.Errorf("60 processes could be started: %s", out)
		}
	}
	if out, code := sh(t, s, box("size"), "head -c 5000000 /dev/zero > big"); code == 0 {
		t.Errorf("a file could become 5 MB: %s", out)
	}
	bare, err := New(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bare.Close)
	if out, code := sh(t, bare, box("rlimits"), `ulimit -d; python3 -c 'x = bytearray(200 << 20); print("TOO MUCH")'`); code == 0 || !strings.Contains(out, "102400") || strings.Contains(out, "TOO MUCH") {
		t.Errorf("without control groups, a process took more memory than allowed: %s", out)
	}
	if os.Getuid() != 0 { // the kernel does not count root's
		if out, _ := sh(t, bare, box("rlimits"), "for i in $(seq 60); do sleep 3 & done; wait"); !strings.Contains(out, "fork") {
			t.Errorf("without control groups, 60 processes could be started: %s", out)
		}
	}
	if out, _ := sh(t, s, box("none"), "cat /proc/self/status"); !strings.Contains(out, "NoNewPrivs:\t1") || !strings.Contains(out, "CapEff:\t0000000000000000") ||
		!strings.Contains(out, "CapBnd:\t0000000000000000") {
		t.Errorf("privileges are left:\n%s", out)
	}
}

func TestTheWholeTreeEnds(t *testing.T) {
	s := open(t)
	// Nobody else on this machine sleeps as long.
	long := fmt.Sprint("sleep ", 1_000_000+os.Getpid())
	mark := strings.ReplaceAll(long, " ", "\x00")
	work := t.TempDir()
	for name, end := range map[string]func(p *Process, cancel func()){
		"kill":   func(p *Process, _ func()) { p.Kill() },
		"cancel": func(_ *Process, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := s.Start(ctx, Box{Name: name, Home: work, Writable: []Bind{{Path: work}}, Limits: Limits{Processes: 50}},
				Command{Args: []string{"/bin/sh", "-c", "setsid " + long + " & " + long + " & echo > started; wait"}, Env: []string{"PATH=/bin"}})
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < 6000; i++ {
				if _, err := os.Stat(filepath.Join(work, "started")); err == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			end(p, cancel)
			if code, err := p.Wait(); err != nil || code != -9 {
				t.Errorf("code %d, %v", code, err)
			}
			for i := 0; i < 3000 && len(running(mark)) > 0; i++ {
				time.Sleep(10 * time.Millisecond)
			}
			if left := running(mark); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			_ = os.Remove(filepath.Join(work, "started"))
		})
	}
}

func running(what string) (out []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(what)) {
			out = append(out, f)
		}
	}
	return out
}

// What a command has in its environment is in no list of processes.
func TestEnvironmentIsNotTold(t *testing.T) {
	s := open(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	secret := fmt.Sprintf("correct-horse-%d", os.Getpid())
	p, err := s.Start(t.Context(), Box{}, Command{Args: []string{"/bin/sh", "-c", "echo $SECRET; sleep 60"}, Env: []string{"PATH=/usr/bin:/bin", "SECRET=" + secret}, Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	defer func() { p.Kill(); _, _ = p.Wait() }()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != secret {
		t.Fatalf("the command says %q, %v", line, err)
	}
	if found := running(secret); len(found) > 0 {
		t.Errorf("the secret is in %v", found)
	}
}

func TestFilesFromMemory(t *testing.T) {
	s := open(t)
	work := t.TempDir()
	ro := t.TempDir()
	path := filepath.Join(ro, "secret")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := sh(t, s, Box{Home: work, Writable: []Bind{{Path: work}}, ReadOnly: []Bind{{Path: ro}}, Files: []File{{path, []byte("open sesame")}}},
		"cat "+path+"; echo x > "+path)
	if !strings.Contains(out, "open sesame") || code == 0 {
		t.Errorf("%d: %s", code, out)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) != 0 {
		t.Errorf("the secret is on the disk: %q %v", b, err)
	}
}

func TestNoBwrap(t *testing.T) {
	_, err := New(t.Context(), Config{Bwrap: "no-such-bwrap"})
	if !errors.Is(err, ErrNoBwrap) || !strings.Contains(err.Error(), "apt-get install bubblewrap") {
		t.Errorf("%v", err)
	}
}
