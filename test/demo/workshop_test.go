package demo_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

// workshop has the binary, and takes in every process that loses its parent, so that none escapes its notice.
type workshop struct{ dir, gozer string }

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	w := &workshop{dir: t.TempDir()}
	w.gozer = filepath.Join(w.dir, "gozer")
	if out, err := exec.Command("go", "build", "-o", w.gozer, "../../cmd/gozer").CombinedOutput(); err != nil {
		t.Fatalf("build gozer: %v\n%s", err, out)
	}
	return w
}

// must runs a command that has to succeed.
func (w *workshop) must(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(w.gozer, args...).CombinedOutput(); err != nil {
		t.Fatalf("gozer %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// path makes a PATH with these programs and no others.
func (w *workshop) path(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range programs {
		at, err := exec.LookPath(p)
		if err == nil {
			err = os.Symlink(at, filepath.Join(dir, p))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// cacheWithAnsible is a cache folder in which Ansible is installed.
func (w *workshop) cacheWithAnsible(t *testing.T) string {
	t.Helper()
	w.must(t, "ansible", "install")
	if dir := os.Getenv("GOZER_CACHE"); dir != "" {
		return dir
	}
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(base, "gozer")
}

// config writes the configuration of a process with nothing but the built-in forge.
func (w *workshop) config(t *testing.T, listen string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"gozer.yaml": fmt.Sprintf("data: data\nlisten: %s\ntenants: tenants.yaml\n"+
			"connections:\n  - {name: local, driver: local, projects: [config]}\n", listen),
		"tenants.yaml": "- tenant: {name: example, source: {local: {config-projects: [config]}}}\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gozer.yaml")
}

// newerData is such a configuration over data that a later Gozer wrote.
func (w *workshop) newerData(t *testing.T, listen string) string {
	t.Helper()
	file := w.config(t, listen)
	m, err := etcd.Start(t.Context(), etcd.EmbedConfig{Dir: filepath.Join(filepath.Dir(file), "data", "etcd")})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = m.Store().Commit(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("/meta/format", []byte("999"))}})
	if err := errors.Join(err, m.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// listen takes a port for the length of the test.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// run is one gozer at work, in a process group of its own.
type run struct {
	cmd   *exec.Cmd
	lines chan string // closed at the end of its output
	mu    sync.Mutex
	said  bytes.Buffer
	ended bool
}

func (w *workshop) start(t *testing.T, args ...string) *run {
	t.Helper()
	r := &run{cmd: exec.Command(w.gozer, args...), lines: make(chan string, 10_000)}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = write, write
	err = r.cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	go r.listen(read)
	t.Cleanup(func() {
		if !r.ended {
			_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
			_ = r.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("gozer %s:\n%s", strings.Join(args, " "), r.output())
		}
	})
	return r
}

func (r *run) listen(from io.ReadCloser) {
	defer from.Close()
	defer close(r.lines)
	for s := bufio.NewScanner(from); s.Scan(); {
		r.mu.Lock()
		fmt.Fprintln(&r.said, s.Text())
		r.mu.Unlock()
		r.lines <- s.Text()
	}
}

func (r *run) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.String()
}

// until reads on to a line that has this text.
func (r *run) until(t *testing.T, text string, patience time.Duration) {
	t.Helper()
	after := time.After(patience)
	for {
		select {
		case l, ok := <-r.lines:
			if !ok {
				t.Fatalf("it ended before it said %q", text)
			}
			if strings.Contains(l, text) {
				return
			}
		case <-after:
			t.Fatalf("it did not say %q within %s", text, patience)
		}
	}
}

func (r *run) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-r.cmd.Process.Pid, s); err != nil {
		t.Fatal(err)
	}
}

// kill ends gozer alone, as the kernel does where memory is short.
func (r *run) kill(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait()
	r.ended = true
}

// end waits for the exit code.
func (r *run) end(t *testing.T, patience time.Duration) int {
	t.Helper()
	done := make(chan struct{})
	go func() { _ = r.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		_ = r.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines are in the output
		select {
		case <-done:
		case <-time.After(30 * time.Second):
		}
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		<-done
		t.Errorf("it did not end within %s", patience)
	}
	r.ended = true
	return r.cmd.ProcessState.ExitCode()
}

// nothingLeft fails where a process, a mount or a control group outlives the run.
func (w *workshop) nothingLeft(t *testing.T, dir string) {
	t.Helper()
	var left []string
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(50 * time.Millisecond) {
		if left = append(children(), mounts(dir)...); len(left) == 0 {
			return
		}
	}
	t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
}

// children lists the processes below this one, and takes leave of those that have ended.
func children() []string {
	var out []string
	self := strconv.Itoa(os.Getpid())
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, rest, _ := strings.Cut(string(b), " ")
		fields := strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:])
		if len(fields) < 2 || fields[1] != self {
			continue
		}
		if fields[0] == "Z" {
			n, _ := strconv.Atoi(pid)
			_, _ = syscall.Wait4(n, nil, syscall.WNOHANG, nil)
			continue
		}
		line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		out = append(out, "process "+pid+": "+strings.ReplaceAll(string(line), "\x00", " "))
	}
	return out
}

func mounts(below string) []string {
	var out []string
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for l := range strings.Lines(string(b)) {
		if strings.Contains(l, below) {
			out = append(out, "mount "+strings.TrimSpace(l))
		}
	}
	return out
}
