package ansible

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// WarmConfig of a Warm.
type WarmConfig struct {
	// Dir is for sockets; its path must be short. Plugins and Config are the ones of every playbook.
	Dir     string
	Plugins string
	Config  string
	// Spawn starts the processes, in place of cmd.Start: from a thread that lives as long as they shall.
	Spawn func(cmd *exec.Cmd) error
	Log   *slog.Logger
}

// Warm keeps, for each version, a Python process with Ansible loaded, which forks for each playbook. It
// holds nothing of any job; the fork is confined before it reads a byte of one.
type Warm struct {
	cfg WarmConfig

	mu      sync.Mutex
	servers map[string]*server
	closed  bool
}

// NewWarm starts nothing yet.
func NewWarm(c WarmConfig) *Warm {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Warm{cfg: c, servers: map[string]*server{}}
}

// server is the process of one version.
type server struct {
	socket string
	stdin  io.Closer
	stdout io.Closer
	pid    int
	ready  chan struct{}
	ended  chan struct{}
	err    error
}

// Place is where a forked playbook goes: the name spaces of process PID, the control groups, the limits.
type Place struct {
	PID      int
	Groups   []string
	Files    int
	FileSize int64
	// Processes and Memory where no control group bounds them; 0 is no bound.
	Processes int
	Memory    int64
	// OwnModules: the playbook may bring modules with the names of Ansible's own, so that none are
	// packed beforehand.
	OwnModules bool
}

// Start runs c, whose first argument is ansible-playbook, in a fork of the environment's process. The
// caller ends it by ending the name spaces.
func (w *Warm) Start(ctx context.Context, env *Environment, at Place, c Command) (Process, error) {
	s, err := w.server(env)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.ready:
	case <-s.ended:
		return nil, fmt.Errorf("start a warm Ansible %s: %w", env.Ansible, s.err)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r, pipe, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.socket, Net: "unix"})
	if err != nil {
		r.Close()
		return nil, err
	}
	request, err := json.Marshal(map[string]any{"args": c.Args, "env": c.Env, "dir": c.Dir, "pid": at.PID, "groups": notNil(at.Groups), "tmp": JobLink + "/.ansible/local_tmp",
		"packed": !at.OwnModules, "files": at.Files, "file_size": at.FileSize, "processes": at.Processes, "memory": at.Memory})
	if err == nil {
		err = send(conn, append(request, '\n'), append([]*os.File{pipe}, c.Extra...))
	}
	if err != nil {
		r.Close()
		conn.Close()
		return nil, fmt.Errorf("hand a playbook to the warm Ansible: %w", err)
	}
	f := &forked{conn: conn, copied: make(chan struct{})}
	go func() {
		defer close(f.copied)
		defer r.Close()
		_, _ = io.Copy(c.Out, r)
	}()
	return f, nil
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func send(conn *net.UnixConn, data []byte, files []*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	n, _, err := conn.WriteMsgUnix(data, syscall.UnixRights(fds...), nil)
	runtime.KeepAlive(files)
	if err != nil {
		return err
	}
	_, err = conn.Write(data[n:])
	return err
}

// forked is a playbook in a fork.
type forked struct {
	conn   *net.UnixConn
	copied chan struct{}
}

func (f *forked) Wait() (int, error) {
	defer f.conn.Close()
	line, err := bufio.NewReader(f.conn).ReadString('\n')
	select {
	case <-f.copied:
	case <-time.After(2 * time.Second): // somebody was left behind with the pipe
	}
	if err != nil {
		return -9, nil // its process was killed
	}
	var a struct {
		Code    int
		Problem string
	}
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		return 0, err
	}
	if a.Problem != "" {
		return 0, errors.New(a.Problem)
	}
	return a.Code, nil
}

// Kill only ends the conversation; the process goes with its name spaces.
func (f *forked) Kill() { _ = f.conn.SetReadDeadline(time.Now()) }

// server gives the process of an environment, and starts it where there is none or it has died.
func (w *Warm) server(env *Environment) (*server, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errors.New("the warm Ansible was closed")
	}
	if s := w.servers[env.Dir]; s != nil {
		select {
		case <-s.ended:
			w.cfg.Log.Warn("a warm Ansible ended; starting another", "release", env.Ansible, "error", s.err)
		default:
			return s, nil
		}
	}
	s := &server{socket: filepath.Join(w.cfg.Dir, "w"+env.Version), ready: make(chan struct{}), ended: make(chan struct{})}
	if err := os.RemoveAll(s.socket); err != nil {
		return nil, err
	}
	if err := s.start(w.cfg, env); err != nil {
		return nil, fmt.Errorf("start a warm Ansible %s: %w", env.Ansible, err)
	}
	w.servers[env.Dir] = s
	return s, nil
}

func (s *server) start(c WarmConfig, env *Environment) error {
	cmd := exec.Command(env.Python(), "-B", filepath.Join(c.Plugins, "warm", "server.py"), s.socket)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "HOME=/nonexistent", "ANSIBLE_CONFIG=" + c.Config,
		"PYTHONPATH=" + filepath.Join(c.Plugins, "lib"), "PYTHONDONTWRITEBYTECODE=1",
		"ANSIBLE_LOCAL_TEMP=" + c.Dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	end := &tail{limit: 8 << 10}
	cmd.Stderr = end
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.stdin, s.stdout = stdin, stdout
	if err := c.Spawn(cmd); err != nil {
		return err
	}
	s.pid = cmd.Process.Pid
	go func() {
		in := bufio.NewScanner(stdout)
		for in.Scan() {
			if in.Text() == "ready" {
				close(s.ready)
				break
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
		s.err = fmt.Errorf("%w: %s", orEnded(cmd.Wait()), strings.TrimSpace(lastLines(end.String(), 3)))
		close(s.ended)
	}()
	return nil
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("it ended")
	}
	return err
}

// Close ends the processes. Playbooks that run in forks are not waited for.
func (w *Warm) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	var errs []error
	for _, s := range w.servers {
		errs = append(errs, s.stop())
	}
	return errors.Join(errs...)
}

// stopTime is how long a server may take to end by itself.
const stopTime = 2 * time.Second

// stop ends the server: by the end of its input, or, where something that it started keeps its output
// open (an SSH connection that outlives its playbook), by force.
func (s *server) stop() error {
	s.stdin.Close()
	select {
	case <-s.ended:
		return nil
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-s.pid, syscall.SIGKILL)
	s.stdout.Close()
	select {
	case <-s.ended:
		return nil
	case <-time.After(stopTime):
		return fmt.Errorf("the warm Ansible of process %d does not end", s.pid)
	}
}
