package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/settings"
)

// broken is a job that fails.
const broken = "#!/bin/sh\ntouch $HOME/was-here\necho it is broken\nexit 3\n"

// appFiles is a project with one job on a node.
func appFiles() map[string]string {
	return map[string]string{
		".zuul.yaml": `- job:
    name: unit
    run: tools/test.sh
    nodeset: {nodes: [{name: node, label: small}]}
- project:
    check: {jobs: [unit]}
`,
		"tools/test.sh": `#!/bin/sh
echo "this is $(hostname)"
`,
	}
}

func (s *site) nodes(args ...string) (out []api.Node) {
	s.Helper()
	text := s.must(append([]string{"nodes", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		s.Fatal(err)
	}
	return out
}

// The node of a failed build is kept for whoever asked, can be logged in to, and goes when the hold ends.
func TestAutoholdFromRequestToShell(t *testing.T) {
	s := newSite(t, appFiles())
	if out, code := s.gozer("autohold", "--project", "nobody", "--job", "unit", "--reason", "x"); code != exitFailed || !strings.Contains(out, "tenant example has no project") {
		t.Errorf("a project that is not there: exit %d, %s", code, out)
	}
	n := s.propose("break it", map[string]string{"tools/test.sh": broken})
	out := s.must("autohold", "--project", "app", "--job", "unit", "--change", fmt.Sprint(n), "--reason", "ann looks", "--node-hold-expiration", "3600")
	id := strings.Fields(out)[1]
	if text := s.report(n); !strings.Contains(text, "FAILURE") {
		t.Errorf("the report is %s", text)
	}
	var held []api.Node
	s.wait("a held node", func() bool { held = s.nodes("--state", "hold"); return len(held) == 1 })
	h := held[0]
	if h.Comment != "ann looks" || h.Job != "unit" || h.Hold != id || h.HoldUntil == nil || h.Build == "" {
		t.Errorf("the held node is %+v", h)
	}
	if out := s.must("nodes"); !strings.Contains(out, "hold") || !strings.Contains(out, "ann looks; ends in 5") || !strings.Contains(out, "unit (build ") {
		t.Errorf("the list is\n%s", out)
	}
	if out := s.must("autohold-list"); !strings.Contains(out, id) || !strings.Contains(out, "1 of 1") {
		t.Errorf("the holds are\n%s", out)
	}
	if out := s.must("autohold-info", id); !strings.Contains(out, "gozer nodes ssh "+h.ID) {
		t.Errorf("the hold is\n%s", out)
	}
	out, code := s.gozer("nodes", "ssh", h.ID, "--", "hostname; ls $HOME; exit 7")
	if code != 7 || !strings.Contains(out, h.ID) || !strings.Contains(out, "was-here") {
		t.Errorf("on the node: exit %d\n%s", code, out)
	}
	if out := s.must("logs", "unit", "--task", "test.sh"); !strings.Contains(out, "it is broken") || strings.Contains(out, "Job console starting") {
		t.Errorf("the log of the playbook is\n%s", out)
	}
	if out := s.must("logs", "unit", "--tasks"); !strings.Contains(out, "tools/test.sh") {
		t.Errorf("the parts of the log are\n%s", out)
	}
	if out := s.must("logs", h.Build, "--search", "IT IS BROKEN"); strings.Count(out, "\n") != 1 {
		t.Errorf("found in the log:\n%s", out)
	}
	s.must("autohold-delete", id)
	s.wait("the node to go", func() bool { return len(s.nodes()) == 0 })
	if out, code := s.gozer("nodes", "ssh", h.ID); code != exitFailed || !strings.Contains(out, "uses no node") {
		t.Errorf("a node that is gone: exit %d, %s", code, out)
	}
}

// The terminal of gozer nodes ssh is the node's while it is open: its size, its keys, its exit code; and it is what
// it was afterwards.
func TestTheTerminalOfANode(t *testing.T) {
	s := newSiteWith(t, appFiles(), func(set *settings.Settings) { set.Providers[0].Labels[0].MinReady = 1 }, allRoles)
	var ready []api.Node
	s.wait("a node", func() bool { ready = s.nodes("--state", "ready"); return len(ready) == 1 })
	s.must("nodes", "hold", ready[0].ID, "--reason", "ann looks", "--for", "1h")
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	size := func(rows, cols uint16) {
		t.Helper()
		if err := pty.Setsize(ours, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
			t.Fatal(err)
		}
	}
	size(31, 91)
	before, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "nodes", "ssh", ready[0].ID)
	cmd.Env = append(os.Environ(), asGozer, "TERM=vt100", "GOZER_SERVER="+strings.TrimSuffix(s.set.Root, "/"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := make(chan string, 1000)
	go func() {
		in := bufio.NewScanner(ours)
		for in.Scan() {
			lines <- strings.TrimRight(in.Text(), "\r")
		}
	}()
	var seen []string
	until := func(want string) {
		t.Helper()
		late := time.After(2 * time.Minute)
		for {
			select {
			case l := <-lines:
				if seen = append(seen, l); strings.HasSuffix(l, want) { // behind what readline says to the terminal
					return
				}
			case <-late:
				t.Fatalf("no line %q among:\n%s", want, strings.Join(seen, "\n"))
			}
		}
	}
	enter := func(text string) {
		t.Helper()
		if _, err := ours.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	enter("stty size; echo $TERM on $(hostname); tty >/dev/null && echo a-terminal\n")
	until("31 91")
	until("vt100 on " + ready[0].ID)
	until("a-terminal")
	size(43, 133)
	enter("for i in $(seq 2400); do [ \"$(stty size)\" = '43 133' ] && echo resized && break; sleep 0.05; done\n")
	until("resized")
	enter("echo begin; sleep 300\n")
	until("begin")
	time.Sleep(200 * time.Millisecond) // until the shell waits for the sleep
	enter("\x03")
	enter("echo interrupted $?\n")
	until("interrupted 130")
	enter("exit 4\n")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Errorf("it ended with %v", err)
	}
	after, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
	if err != nil || after.Lflag != before.Lflag || after.Iflag != before.Iflag || after.Oflag != before.Oflag {
		t.Errorf("the terminal is left as %+v, it was %+v: %v", after, before, err)
	}
}
