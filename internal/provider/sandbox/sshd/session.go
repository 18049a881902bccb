package sshd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// exitNotStarted is what a client sees when there was nothing to wait for.
const exitNotStarted = 255

// serveSession runs a command, or a shell where the client named none.
func (s *Server) serveSession(sess ssh.Session) {
	s.sessions.Add(1)
	defer s.sessions.Done()
	code, err := s.run(sess)
	if err != nil {
		s.log.Warn("session", "user", sess.User(), "err", err)
		fmt.Fprintln(sess.Stderr(), err)
	}
	_ = sess.Exit(code)
}

func (s *Server) run(sess ssh.Session) (int, error) {
	a, err := lookup(sess.User())
	if err != nil {
		return exitNotStarted, err
	}
	cmd := s.command(a, sess)
	if p, resized, ok := sess.Pty(); ok {
		return s.runOnTerminal(sess, cmd, p, resized)
	}
	return s.runOnPipes(sess, cmd)
}

// command is the process of the session, not started, in a session of the kernel's as well: its
// process group can be told apart from all others.
func (s *Server) command(a *account, sess ssh.Session) *exec.Cmd {
	cmd := exec.Command(a.shell)
	if raw := sess.RawCommand(); raw != "" {
		cmd.Args = append(cmd.Args, "-c", raw)
	} else {
		cmd.Args[0] = "-" + filepath.Base(a.shell) // a login shell
	}
	cmd.Dir = a.home
	if _, err := os.Stat(a.home); err != nil {
		cmd.Dir = "/"
	}
	cmd.Env = append(cmd.Env, s.cfg.Environ...)
	cmd.Env = append(cmd.Env, "HOME="+a.home, "USER="+a.name, "LOGNAME="+a.name, "SHELL="+a.shell)
	cmd.Env = append(cmd.Env, connectionEnv(sess)...)
	cmd.Env = append(cmd.Env, sess.Environ()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: a.credential()}
	return cmd
}

// runOnPipes runs cmd with three pipes.
func (s *Server) runOnPipes(sess ssh.Session, cmd *exec.Cmd) (int, error) {
	var pipes [3]struct{ theirs, ours *os.File }
	defer func() {
		for _, p := range pipes {
			_ = p.theirs.Close() // nil where none was made: an error that says so
			_ = p.ours.Close()
		}
	}()
	for i := range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			return exitNotStarted, fmt.Errorf("run %q: %w", sess.RawCommand(), err)
		}
		pipes[i].theirs, pipes[i].ours = w, r
		if i == 0 {
			pipes[i].theirs, pipes[i].ours = r, w
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pipes[0].theirs, pipes[1].theirs, pipes[2].theirs
	if err := cmd.Start(); err != nil {
		return exitNotStarted, fmt.Errorf("run %q: %w", sess.RawCommand(), err)
	}
	for _, p := range pipes {
		_ = p.theirs.Close()
	}
	go func() { // ends with the channel, at the latest when Exit closes it
		_, _ = io.Copy(pipes[0].ours, sess)
		_ = pipes[0].ours.Close()
	}()
	exited := make(chan struct{})
	out := pump(sess, pipes[1].ours, exited)
	errs := pump(sess.Stderr(), pipes[2].ours, exited)
	code := s.wait(sess, cmd)
	close(exited)
	<-out
	<-errs
	return code, nil
}

// runOnTerminal runs cmd on a terminal of its own.
func (s *Server) runOnTerminal(sess ssh.Session, cmd *exec.Cmd, p ssh.Pty, resized <-chan ssh.Window) (int, error) {
	cmd.Env = append(cmd.Env, "TERM="+p.Term)
	cmd.SysProcAttr.Setctty = true
	term, err := pty.StartWithAttrs(cmd, size(p.Window), cmd.SysProcAttr)
	if err != nil {
		return exitNotStarted, fmt.Errorf("run %q on a terminal: %w", sess.RawCommand(), err)
	}
	defer term.Close()
	go func() { // ends with the session's requests
		for w := range resized {
			_ = pty.Setsize(term, size(w))
		}
	}()
	go func() { // ends with the channel
		_, _ = io.Copy(term, sess)
	}()
	exited := make(chan struct{})
	out := pump(rawChannel(sess), term, exited)
	code := s.wait(sess, cmd)
	close(exited)
	<-out
	return code, nil
}

// wait waits for cmd, hands on the client's signals, and hangs up on the processes when the client
// has gone.
func (s *Server) wait(sess ssh.Session, cmd *exec.Cmd) int {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	signals := make(chan ssh.Signal, 16)
	sess.Signals(signals)
	defer sess.Signals(nil)
	for {
		select {
		case sig := <-signals:
			if n, ok := signalNumber[sig]; ok {
				_ = syscall.Kill(-cmd.Process.Pid, n)
			}
		case <-sess.Context().Done():
			hangUp(cmd.Process.Pid)
			select {
			case <-done:
			case <-time.After(s.cfg.Grace):
				_ = cmd.Process.Kill()
				<-done
			}
			killGroup(cmd.Process.Pid)
			return exitNotStarted
		case err := <-done:
			return exitCode(err)
		}
	}
}

// exitCode is what the shell would tell: 128 and the signal's number where one ended it.
func exitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return exitNotStarted
		}
		return 0
	}
	if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return 128 + int(st.Signal())
	}
	return exit.ExitCode()
}

// rawChannel is the channel below the session.
func rawChannel(sess ssh.Session) gossh.Channel {
	if c, ok := sess.Context().(*sessionContext); ok {
		return c.tap.channel
	}
	return sess
}

func size(w ssh.Window) *pty.Winsize {
	return &pty.Winsize{Rows: uint16(w.Height), Cols: uint16(w.Width)}
}

// connectionEnv is what OpenSSH tells sessions about the connection.
func connectionEnv(sess ssh.Session) []string {
	from, fromPort, ok1 := hostPort(sess.RemoteAddr())
	to, toPort, ok2 := hostPort(sess.LocalAddr())
	if !ok1 || !ok2 {
		return nil
	}
	return []string{
		fmt.Sprintf("SSH_CLIENT=%s %s %s", from, fromPort, toPort),
		fmt.Sprintf("SSH_CONNECTION=%s %s %s %s", from, fromPort, to, toPort),
	}
}

var signalNumber = map[ssh.Signal]syscall.Signal{
	ssh.SIGABRT: syscall.SIGABRT, ssh.SIGALRM: syscall.SIGALRM, ssh.SIGFPE: syscall.SIGFPE,
	ssh.SIGHUP: syscall.SIGHUP, ssh.SIGILL: syscall.SIGILL, ssh.SIGINT: syscall.SIGINT,
	ssh.SIGKILL: syscall.SIGKILL, ssh.SIGPIPE: syscall.SIGPIPE, ssh.SIGQUIT: syscall.SIGQUIT,
	ssh.SIGSEGV: syscall.SIGSEGV, ssh.SIGTERM: syscall.SIGTERM, ssh.SIGUSR1: syscall.SIGUSR1,
	ssh.SIGUSR2: syscall.SIGUSR2,
}
