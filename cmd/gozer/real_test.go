package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	"github.com/gozer-ci/gozer/internal/settings"
)

// asGozer is the environment variable with which this test program is gozer.
const asGozer = "GOZER_TEST_AS_GOZER=1"

// asOlder names the one that makes it an older gozer, which knows formats of the store up to its value only.
const asOlder = "GOZER_TEST_NEWEST_FORMAT"

// olderProgram names the one that names a gozer of an earlier release, to upgrade from that one instead.
const olderProgram = "GOZER_TEST_OLDER"

// realServer is a server that is a process of its own, which signals can reach.
type realServer struct {
	t      *testing.T
	set    *settings.Settings
	config string
	// format is the newest that it knows; 0: all.
	format int
	cmd    *exec.Cmd
	log    *logBuffer
	ended  chan error
}

// realSite is a site with such a server.
type realSite struct {
	*site
	*realServer
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
	r := prepareRealSite(t, data, more)
	r.start()
	return r
}

// prepareRealSite is newRealSite without the start.
func prepareRealSite(t *testing.T, data, more string) *realSite {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: whole servers take their time")
	}
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skip(err)
	}
	s := &site{T: t, dir: t.TempDir(), admin: "top-secret"}
	s.write(filepath.Join(s.dir, "tenants.yaml"), siteTenants, 0o600)
	r := &realSite{site: s, realServer: s.newServer(data, filepath.Join(data, "forge"), more)}
	s.at(r.realServer)
	return r
}

// at has people and commands go to one of the servers of the site.
func (s *site) at(r *realServer) {
	s.set = r.set
	s.forge = strings.TrimSuffix(r.set.Root, "/") + strings.TrimSuffix(mountPoint("local"), "/")
}

// newServer makes the configuration of a server of the site, and sees to its end.
func (s *site) newServer(data, forge, more string) *realServer {
	s.Helper()
	r := &realServer{t: s.T, config: filepath.Join(s.dir, filepath.Base(data)+".yaml"), log: &logBuffer{}}
	s.write(r.config, fmt.Sprintf(`data: %s
listen: %s
tenants: tenants.yaml
connections: [{name: local, driver: local, path: %s, projects: [config, app], admin: %s}]
providers: [{name: sandbox, driver: sandbox, labels: [{name: small, max: 4}]}]
log: {format: json}
%s`, data, port.Own(s.T), forge, s.admin, more), 0o600)
	var err error
	if r.set, err = settings.Read(r.config); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		r.stop(syscall.SIGTERM)
		if s.Failed() {
			s.Logf("the log of the server:\n%s", r.log)
		}
	})
	return r
}

// begin begins a process of the server, whatever becomes of it.
func (r *realServer) begin() {
	r.t.Helper()
	program := os.Args[0]
	if r.format > 0 {
		program = cmp.Or(os.Getenv(olderProgram), program)
	}
	r.cmd = exec.Command(program, "server", "--config", r.config)
	r.cmd.Env = append(os.Environ(), asGozer)
	if r.format > 0 {
		r.cmd.Env = append(r.cmd.Env, fmt.Sprint(asOlder, "=", r.format))
	}
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(r.cmd, r.ended)
}

// start begins a process and waits until it is ready.
func (r *realServer) start() {
	r.t.Helper()
	r.begin()
	r.until("it is ready", func() bool { _, ok := r.ready(); return ok })
}

// until waits for something of the server, for five minutes at most.
func (r *realServer) until(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			text, _ := r.ready()
			r.t.Fatalf("not in five minutes: %s; the server says %s", what, text)
		}
	}
}

// says waits until the server is not ready, and names each of the words as the reason.
func (r *realServer) says(words ...string) {
	r.t.Helper()
	r.until("not ready: "+strings.Join(words, ", "), func() bool {
		text, ok := r.ready()
		return !ok && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
}

// signal sends one.
func (r *realServer) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// stop ends the process with a signal; one that does not end is killed.
func (r *realServer) stop(sig syscall.Signal) {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Signal(sig)
	select {
	case <-r.ended:
	case <-time.After(5 * time.Minute):
		r.t.Errorf("the server did not end at %v", sig)
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	r.cmd = nil
}

// ready asks the server whether it is, and gives what it says.
func (r *realServer) ready() (text string, ok bool) {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.cmd = nil
		r.t.Fatalf("the server ended: %v", err)
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.set.Root+"health/ready", nil)
	if err != nil {
		r.t.Fatal(err)
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
	list, err := r.site.client().Builds(r.Context(), "example", url.Values{"limit": {"1000"}})
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
