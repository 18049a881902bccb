package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

// TestTheGuide does what docs/guide.md says, word for word: the files that it shows, a server with them, and its
// commands, until the change has merged. Only the folder and the port are others, and where people would look
// whether something has come, it waits.
func TestTheGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: whole servers take their time")
	}
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, listen := t.TempDir(), port.Own(t)
	mine := strings.NewReplacer("/var/lib/gozer", filepath.Join(dir, "data"), "127.0.0.1:8090", listen)
	files, commands := guideBlocks(mine.Replace(string(text)))
	for _, name := range []string{"gozer.yaml", "tenants.yaml", "zuul.yaml", ".zuul.yaml"} {
		if files[name] == "" {
			t.Fatalf("the guide shows no %s", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gozer := guideProgram(t, dir)
	server := exec.Command(gozer, "server", "--config", filepath.Join(dir, "gozer.yaml"))
	log := &logBuffer{}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		if t.Failed() {
			t.Logf("the log of the server:\n%s", log)
		}
	})
	guideReady(t, "http://"+listen+"/health/ready")

	cmd := exec.CommandContext(t.Context(), "bash", "-euxo", "pipefail", "-c", guideScript(dir, listen, commands))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(gozer)+":"+os.Getenv("PATH"), "HOME="+dir,
		"GOZER_SERVER=http://"+listen, "GOZER_FORGE=http://"+listen+"/forge/local", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "| hello") {
		t.Fatalf("the commands of the guide: %v\n%s", err, out)
	}
}

var shown = regexp.MustCompile(`^# (\.?\w+\.yaml)\b`)

// guideBlocks are the files that the guide shows, by their names in the first line, and the lines of its commands up to
// the section about an etcd elsewhere.
func guideBlocks(text string) (files map[string]string, commands []string) {
	files = map[string]string{}
	text, _, _ = strings.Cut(text, "## An etcd elsewhere")
	for block := range strings.SplitSeq(text, "\n\n") {
		var lines []string
		for l := range strings.SplitSeq(strings.Trim(block, "\n"), "\n") {
			if l, ok := strings.CutPrefix(l, "    "); ok {
				lines = append(lines, l)
			}
		}
		if len(lines) == 0 {
			continue
		}
		if m := shown.FindStringSubmatch(lines[0]); m != nil {
			files[m[1]] = strings.Join(lines, "\n") + "\n"
			continue
		}
		commands = append(commands, lines...)
	}
	return files, commands
}

// guideScript is what people would type, with the waiting that they would do by looking.
func guideScript(dir, listen string, commands []string) string {
	var b strings.Builder
	fmt.Fprintln(&b, `until_it() { for _ in $(seq 1500); do if eval "$1" > /dev/null; then return; fi; sleep 0.2; done; echo "in vain: $1"; return 1; }`)
	wait := func(what string) { fmt.Fprintf(&b, "until_it %q\n", what) }
	for _, c := range commands {
		switch {
		case strings.HasPrefix(c, "gozer server"), strings.HasPrefix(c, "gozer ansible install"):
			continue // the server runs; its job is a program
		case strings.HasPrefix(c, "git add zuul.yaml"):
			fmt.Fprintln(&b, "cp", filepath.Join(dir, "zuul.yaml"), ".")
		case strings.HasPrefix(c, "git add .zuul.yaml"):
			fmt.Fprintln(&b, "cp", filepath.Join(dir, ".zuul.yaml"), ".")
		case strings.HasPrefix(c, "git clone") && strings.HasSuffix(c, "cd app"):
			fmt.Fprintln(&b, "cd", dir)
			wait("curl -fs http://" + listen + "/api/tenant/example/pipelines | grep gate")
		case strings.HasPrefix(c, "gozer change show"):
			wait("gozer change show 1 | grep Verified+1")
		case strings.HasPrefix(c, "gozer logs"):
			wait("gozer change show 1 | grep MERGED")
		}
		fmt.Fprintln(&b, c)
	}
	return b.String()
}

// guideProgram is this program as gozer, under that name.
func guideProgram(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bin", "gozer")
	script := fmt.Sprintf("#!/bin/sh\nexec env %s %s \"$@\"\n", asGozer, self)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func guideReady(t *testing.T, url string) {
	t.Helper()
	said := "nothing"
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		r, err := http.Get(url)
		if err != nil {
			said = err.Error()
			continue
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode == http.StatusOK {
			return
		}
		said = string(b)
	}
	t.Fatalf("the server is not ready: %s", said)
}
