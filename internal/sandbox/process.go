package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running command and all that it has started.
type Process struct {
	cmd   *exec.Cmd
	done  chan struct{}
	err   error
	kill  sync.Once
	group *group
}

// shim sets what must hold before the first program runs: control groups, limits that the whole tree
// inherits, and that the kernel rather kills this tree than anything else.
const shim = `for g in $GOZER_GROUPS; do echo 0 > "$g" || exit 126; done
[ -z "$GOZER_FILES" ] || ulimit -n "$GOZER_FILES"
[ -z "$GOZER_FSIZE" ] || ulimit -f "$GOZER_FSIZE"
# Without control groups: the shells disagree on the letter for processes.
[ -z "$GOZER_NPROC" ] || ulimit -p "$GOZER_NPROC" 2>/dev/null || ulimit -u "$GOZER_NPROC"
[ -z "$GOZER_DATA" ] || ulimit -d "$GOZER_DATA"
ulimit -c 0
echo 500 > /proc/self/oom_score_adj 2>/dev/null
unset GOZER_GROUPS GOZER_FILES GOZER_FSIZE GOZER_NPROC GOZER_DATA
exec "$@"`

// Start starts c in b. When ctx ends, the whole tree is killed.
func (s *Sandbox) Start(ctx context.Context, b Box, c Command) (*Process, error) {
	return s.start(ctx, b, c)
}

func (s *Sandbox) start(ctx context.Context, b Box, c Command, options ...string) (*Process, error) {
	// The environment may hold secrets, and everybody on this machine reads the arguments of its processes:
	// bubblewrap has its options from a file, too.
	first := 3 + len(c.Extra)
	more, data := s.options(&b, &c, first+1)
	list := strings.Join(append(options, more...), "\x00") + "\x00"
	files, err := memory(append([][]byte{[]byte(list)}, data...))
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	p := &Process{done: make(chan struct{})}
	if s.groups != nil && b.Name != "" {
		if p.group, err = s.groups.make(b.Name, b.Limits); err != nil {
			return nil, fmt.Errorf("make control group for %s: %w", b.Name, err)
		}
	}
	argv := []string{"-c", shim, "sh", s.bwrap, "--args", strconv.Itoa(first), "--"}
	p.cmd = exec.Command("/bin/sh", append(argv, c.Args...)...)
	p.cmd.Env = limitsEnv(b.Limits, p.group)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	p.cmd.ExtraFiles = append(append([]*os.File{}, c.Extra...), files...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Nobody holds the pipes when the name space is gone; on a busy machine what is still in them takes its time.
	p.cmd.WaitDelay = 30 * time.Second
	if err := s.spawner.Start(p.cmd); err != nil {
		p.group.remove()
		return nil, fmt.Errorf("start %s in a sandbox: %w", strings.Join(c.Args, " "), err)
	}
	go p.await()
	stop := context.AfterFunc(ctx, p.Kill)
	go func() {
		<-p.done
		stop()
	}()
	return p, nil
}

// await tells when the command has ended.
func (p *Process) await() {
	p.err = p.cmd.Wait()
	p.group.remove()
	close(p.done)
}

// Wait gives the exit code, or the negative number of the signal that ended the command.
func (p *Process) Wait() (int, error) {
	<-p.done
	var exit *exec.ExitError
	switch {
	case p.err == nil, errors.Is(p.err, exec.ErrWaitDelay):
		return p.cmd.ProcessState.ExitCode(), nil
	case errors.As(p.err, &exit):
		st, ok := exit.Sys().(syscall.WaitStatus)
		if ok && st.Signaled() {
			return -int(st.Signal()), nil
		}
		// bubblewrap tells of a signal in the way of shells.
		if code := exit.ExitCode(); code == 128+9 || code == 128+15 {
			return 128 - code, nil
		}
		return exit.ExitCode(), nil
	}
	return 0, p.err
}

// Kill ends the command and everything that it has started, at once.
func (p *Process) Kill() {
	p.kill.Do(func() {
		p.group.kill()
		// The shim became bubblewrap; when that dies, so does the first process of its name space,
		// and with it all others.
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	})
}

// alone are the bounds of memory and processes that setrlimit has to hold: those that no control group
// does. They are of single processes and of all processes of the user, so they are weaker.
func (l Limits) alone(g *group) (out Limits) {
	if g == nil || !g.memory {
		out.Memory = l.Memory
	}
	if g == nil || !g.pids {
		out.Processes = l.Processes
	}
	return out
}

func limitsEnv(l Limits, g *group) []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	if g != nil {
		env = append(env, "GOZER_GROUPS="+strings.Join(g.procs, " "))
	}
	alone := l.alone(g)
	if alone.Processes > 0 {
		env = append(env, "GOZER_NPROC="+strconv.Itoa(alone.Processes))
	}
	if alone.Memory > 0 {
		env = append(env, "GOZER_DATA="+strconv.FormatInt(alone.Memory>>10, 10))
	}
	if l.Files > 0 {
		env = append(env, "GOZER_FILES="+strconv.Itoa(l.Files))
	}
	if l.FileSize > 0 {
		env = append(env, "GOZER_FSIZE="+strconv.FormatInt(l.FileSize/512, 10))
	}
	return env
}

// memory puts each of data into an anonymous file, to be read from its start.
func memory(data [][]byte) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	for _, d := range data {
		fd, err := unix.MemfdCreate("gozer", unix.MFD_CLOEXEC)
		if err != nil {
			return files, fmt.Errorf("make a file in memory: %w", err)
		}
		f := os.NewFile(uintptr(fd), "memory")
		files = append(files, f)
		if _, err := f.Write(d); err != nil {
			return files, err
		}
		if _, err := f.Seek(0, 0); err != nil {
			return files, err
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
