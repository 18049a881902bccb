package sandbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Nothing in a node gains rights by being run, so that sudo, where the node's user is not root, asks the first
// process of the node. Who asks is told by the kernel; whether he may is decided by the sudo of the node, run as root
// with nothing of his but arguments, folder and the three standard files.
const (
	sudoArg    = "sudo"
	sudoSocket = "/run/gozer-sudo"
	sudoScript = "/usr/local/bin/sudo"
)

// sudoRequest comes with the descriptors of the standard files.
type sudoRequest struct {
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
	Term string   `json:"term"`
}

// serveSudo answers until ctx ends.
func serveSudo(ctx context.Context, environ []string, log *slog.Logger) error {
	if err := os.RemoveAll(sudoSocket); err != nil {
		return err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: sudoSocket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for sudo: %w", err)
	}
	if err := os.Chmod(sudoSocket, 0o666); err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := answerSudo(conn, environ); err != nil {
					log.Info("sudo", "err", err)
				}
			}()
		}
	}()
	return nil
}

// answerSudo runs one command and tells its exit status; where the asker goes, the command is hung up on.
func answerSudo(conn *net.UnixConn, environ []string) error {
	who, err := asker(conn)
	if err != nil {
		return err
	}
	r, files, err := receiveSudo(conn)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		return err
	}
	cmd := exec.Command(sudoScript, r.Args...)
	cmd.Env = append(append([]string{}, environ...), "USER="+who.Username, "LOGNAME="+who.Username, "HOME="+who.HomeDir, "SUDO_DIR="+r.Dir)
	if r.Term != "" {
		cmd.Env = append(cmd.Env, "TERM="+r.Term)
	}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		sig := make([]byte, 1)
		for {
			if _, err := io.ReadFull(conn, sig); err != nil {
				return
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.Signal(sig[0]))
		}
	}()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-gone:
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGCONT)
		<-done
		return nil
	}
	return binary.Write(conn, binary.BigEndian, uint32(cmd.ProcessState.Sys().(syscall.WaitStatus)))
}

// asker is who holds the other end.
func asker(conn *net.UnixConn) (*user.User, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	if credErr != nil {
		return nil, credErr
	}
	return user.LookupId(strconv.FormatUint(uint64(cred.Uid), 10))
}

// receiveSudo reads a request: its length with the descriptors, then itself.
func receiveSudo(conn *net.UnixConn) (r sudoRequest, files []*os.File, err error) {
	head, oob := make([]byte, 4), make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(head, oob)
	if err != nil {
		return r, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return r, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return r, files, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "standard"))
		}
	}
	size := binary.BigEndian.Uint32(head)
	if n != len(head) || len(files) != 3 || size > 4<<20 {
		return r, files, errors.New("that is no request")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(conn, body); err != nil {
		return r, files, err
	}
	return r, files, json.Unmarshal(body, &r)
}

// askSudo is sudo for whoever is not root: it gives the exit status of the command, as sudo does.
func askSudo(args []string) (int, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: sudoSocket, Net: "unix"})
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	body, err := json.Marshal(sudoRequest{Args: args, Dir: dir, Term: os.Getenv("TERM")})
	if err != nil {
		return 1, err
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if _, _, err := conn.WriteMsgUnix(head, unix.UnixRights(0, 1, 2), nil); err != nil {
		return 1, err
	}
	if _, err := conn.Write(body); err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 8)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) { // as under nohup
			signal.Notify(signals, s)
		}
	}
	go func() { // ends with the program
		for s := range signals {
			if n, ok := s.(syscall.Signal); ok && n < math.MaxInt8 {
				_, _ = conn.Write([]byte{byte(n)})
			}
		}
	}()
	var told uint32
	if err := binary.Read(conn, binary.BigEndian, &told); err != nil {
		return 1, fmt.Errorf("the node ended: %w", err)
	}
	status := syscall.WaitStatus(told)
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}
