package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gozer-ci/gozer/internal/sandbox"
)

// startTimeout is how long a node may take until its SSH server answers.
const startTimeout = 20 * time.Second

// process is a running node: bubblewrap outside, and the first process of the node's pid namespace.
type process struct {
	outer *exec.Cmd
	init  *os.Process // by handle, not by number: it is not ours to wait for
	done  chan struct{}
	spawn *sandbox.Spawner
}

// pipes are what a starting node and we tell each other with: each has our end and theirs.
type pipes struct {
	info, block, ready [2]*os.File // [0] is read from
}

func (p *pipes) close() {
	for _, f := range []*os.File{p.info[0], p.info[1], p.block[0], p.block[1], p.ready[0], p.ready[1]} {
		_ = f.Close() // harmless where it is closed already
	}
}

func newPipes() (*pipes, error) {
	p := &pipes{}
	for _, e := range []*[2]*os.File{&p.info, &p.block, &p.ready} {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, err
		}
		e[0], e[1] = r, w
	}
	return p, nil
}

// startProcess runs a node on a listener and returns when its SSH server answers. Output goes to log.
func (p *Provider) startProcess(ctx context.Context, m *machine, ln *net.TCPListener, boot bool) (*process, error) {
	log, err := os.OpenFile(m.path("log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	sock, err := ln.File()
	if err != nil {
		return nil, err
	}
	defer sock.Close()
	pp, err := newPipes()
	if err != nil {
		return nil, err
	}
	defer pp.close()

	own := false
	spawn, err := sandbox.NewSpawner(sandbox.SpawnerConfig{Denied: p.cfg.Denied, Log: p.log.With("node", m.name),
		Home: sandbox.Home{Addr: m.address.Addr(), Neighbours: p.cfg.Network, Reach: p.cfg.Reach}, Prepare: func() { own = p.ownLayers(m) }})
	if err != nil {
		p.unguard.Do(func() {
			p.log.WarnContext(ctx, "nodes can connect to whatever listens on this machine: there are no system call filters that ask", "provider", p.cfg.Name, "error", err)
		})
	}
	cmd := exec.Command("bwrap", p.bwrapArgs(m, own, boot)...)
	environ, err := json.Marshal(p.cfg.Environ)
	if err != nil {
		spawn.Close()
		return nil, err
	}
	// Not among the arguments, which everybody on this machine reads: there may be a proxy's password.
	cmd.Env = []string{"PATH=" + nodePath, "LANG=C.UTF-8", "HOME=/root", nodeEnviron + "=" + string(environ)}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{sock, pp.ready[1], pp.info[1], pp.block[0]} // fdListen and so on
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := spawn.Start(cmd); err != nil {
		spawn.Close()
		return nil, err
	}
	proc := &process{outer: cmd, done: make(chan struct{}), spawn: spawn}
	go func() { // ends with the process
		_ = cmd.Wait()
		close(proc.done)
	}()
	if err := p.bringUp(ctx, proc, pp); err != nil {
		proc.stop()
		return nil, fmt.Errorf("%w%s", err, tail(m.path("log")))
	}
	return proc, nil
}

// ownLayers lays the machine's layers, on a thread of its own, if that is possible here.
func (p *Provider) ownLayers(m *machine) bool {
	if os.Geteuid() != 0 {
		return false
	}
	err := m.mountLayers()
	if err != nil {
		p.bare.Do(func() {
			p.log.Warn("nodes cannot install packages: their /usr is this machine's, read-only", "provider", p.cfg.Name, "error", err)
		})
	}
	return err == nil
}

// childInfo is what bubblewrap tells of the namespace it made.
type childInfo struct {
	Child int `json:"child-pid"`
}

// bringUp gives the node its user ids and waits for its word.
func (p *Provider) bringUp(ctx context.Context, proc *process, pp *pipes) error {
	for _, f := range []*os.File{pp.ready[1], pp.info[1], pp.block[0]} {
		_ = f.Close() // so that the end of the node is the end of the pipes
	}
	deadline := time.Now().Add(startTimeout)
	_ = pp.info[0].SetReadDeadline(deadline)
	_ = pp.ready[0].SetReadDeadline(deadline)
	unhook := context.AfterFunc(ctx, func() {
		_ = pp.info[0].SetReadDeadline(time.Unix(1, 0))
		_ = pp.ready[0].SetReadDeadline(time.Unix(1, 0))
	})
	defer unhook()

	var info childInfo
	if err := json.NewDecoder(pp.info[0]).Decode(&info); err != nil {
		return fmt.Errorf("bubblewrap did not start: %w", ended(ctx, err))
	}
	var err error
	if proc.init, err = os.FindProcess(info.Child); err != nil {
		return err
	}
	if err := p.unblock(info.Child, pp.block[1]); err != nil {
		return err
	}
	if _, err := io.ReadFull(pp.ready[0], make([]byte, 1)); err != nil {
		return fmt.Errorf("the node's SSH server did not start: %w", ended(ctx, err))
	}
	return nil
}

// unblock lets bubblewrap, which waits for it, go on with process child; with user ids where there are
// more than one.
func (p *Provider) unblock(child int, block *os.File) error {
	if p.ids.many() {
		if err := p.ids.write(child); err != nil {
			return err
		}
	}
	if _, err := block.Write([]byte{'\n'}); err != nil {
		return fmt.Errorf("bubblewrap ended: %w", err)
	}
	return nil
}

// ended prefers the reason of the caller.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer in %v", startTimeout)
	}
	return err
}

// tail is the end of a log, as the end of an error.
func tail(path string) string {
	b, err := os.ReadFile(path)
	s := strings.TrimSpace(string(b))
	if err != nil || s == "" {
		return ""
	}
	return ": " + s[max(0, len(s)-500):]
}

// stop ends every process of the node and returns when the last one is gone.
func (p *process) stop() {
	if p.init != nil {
		// The kernel kills the namespace with its first process, and lets bubblewrap know only when
		// all the others have gone.
		_ = p.init.Kill()
	} else {
		_ = p.outer.Process.Kill()
	}
	<-p.done
	p.spawn.Close()
	if p.init != nil {
		_ = p.init.Release()
	}
}

// alive tells whether it still runs.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// removeInNamespace removes a folder from within a user namespace that has the ids of nodes.
func (p *Provider) removeInNamespace(dir string) error {
	pp, err := newPipes()
	if err != nil {
		return err
	}
	defer pp.close()
	parent, base := filepath.Split(dir)
	cmd := exec.Command("bwrap", append(p.namespaceArgs(), "--cap-add", "ALL", "--ro-bind", "/", "/",
		"--bind", parent, parent, "--chdir", parent, "rm", "-rf", "--", base)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.ExtraFiles = []*os.File{nil, nil, pp.info[1], pp.block[0]}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = pp.info[1].Close()
	var info childInfo
	if err = json.NewDecoder(pp.info[0]).Decode(&info); err == nil {
		err = p.unblock(info.Child, pp.block[1])
	}
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("%s: %w", bytes.TrimSpace(out.Bytes()), err)
	}
	return nil
}
