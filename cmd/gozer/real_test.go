package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	"github.com/gozer-ci/gozer/internal/settings"
)

// asGozer is the environment variable with which this test program is gozer.
const asGozer = "GOZER_TEST_AS_GOZER=1"

// realSite is a site whose server is a process of its own, which signals can reach.
type realSite struct {
	*site
	cmd   *exec.Cmd
	log   *logBuffer
	ended chan error
}

// logBuffer collects what a process writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// newRealSite starts a server with its data in a folder, and more lines of configuration.
func newRealSite(t *testing.T, data, more string) *realSite {
	t.Helper()
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	s := &site{T: t, dir: dir, admin: "top-secret"}
	s.write(filepath.Join(dir, "tenants.yaml"), `- tenant:
    name: example
    source:
      local:
        config-projects:
          - config: {load-branch: main}
        untrusted-projects: [app]
`, 0o600)
	s.write(filepath.Join(dir, "gozer.yaml"), fmt.Sprintf(`data: %s
listen: %s
tenants: tenants.yaml
connections: [{name: local, driver: local, projects: [config, app], admin: %s}]
providers: [{name: sandbox, driver: sandbox, labels: [{name: small, max: 4}]}]
log: {format: json}
%s`, data, freePort(t), s.admin, more), 0o600)
	set, err := settings.Read(filepath.Join(dir, "gozer.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.set = set
	s.forge = strings.TrimSuffix(set.Root, "/") + strings.TrimSuffix(mountPoint("local"), "/")
	r := &realSite{site: s, log: &logBuffer{}}
	t.Cleanup(func() {
		r.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the log of the server:\n%s", r.log)
		}
	})
	r.start()
	return r
}

// begin begins a process of the server, whatever becomes of it.
func (r *realSite) begin() {
	r.Helper()
	r.cmd = exec.Command(os.Args[0], "server", "--config", filepath.Join(r.dir, "gozer.yaml"))
	r.cmd.Env = append(os.Environ(), asGozer)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(r.cmd, r.ended)
}

// start begins a process and waits until it is ready.
func (r *realSite) start() {
	r.Helper()
	r.begin()
	r.wait("the server to be ready", func() bool { _, ok := r.ready(); return ok })
}

// stop ends the process with a signal; one that does not end is killed.
func (r *realSite) stop(sig syscall.Signal) {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Signal(sig)
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		r.Errorf("the server did not end at %v", sig)
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	r.cmd = nil
}

// ready asks the server whether it is, and gives what it says.
func (r *realSite) ready() (text string, ok bool) {
	r.Helper()
	select {
	case err := <-r.ended:
		r.cmd = nil
		r.Fatalf("the server ended: %v", err)
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.set.Root+"health/ready", nil)
	if err != nil {
		r.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error(), false
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(b)), resp.StatusCode == http.StatusOK
}

// builds are the results of all builds of a job that the history has, by change, the newest first.
func (r *realSite) builds(job string) map[string][]string {
	r.Helper()
	list, err := r.client().Builds(r.Context(), "example", nil)
	if err != nil {
		r.Fatal(err)
	}
	out := map[string][]string{}
	for _, b := range list {
		if b.JobName == job && b.Ref.Change != nil {
			change := fmt.Sprint(*b.Ref.Change)
			out[change] = append(out[change], b.Result)
		}
	}
	return out
}
