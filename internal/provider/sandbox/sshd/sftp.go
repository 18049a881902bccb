package sshd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gliderlabs/ssh"
	"github.com/pkg/sftp"
)

// SFTPArg, as the first argument after the program's own for a node, asks for ServeSFTP.
const SFTPArg = "sftp"

// serveSFTP serves the sftp subsystem: root's in this process, those of other accounts in a process of
// their own, so that the kernel checks their rights.
func (s *Server) serveSFTP(sess ssh.Session) {
	s.sessions.Add(1)
	defer s.sessions.Done()
	a, err := lookup(sess.User())
	if err == nil {
		if a.credential() == nil {
			err = ServeSFTP(sess, a.home)
		} else {
			err = s.spawnSFTP(sess, a)
		}
	}
	if err != nil {
		s.log.Warn("sftp", "user", sess.User(), "err", err)
		_ = sess.Exit(1)
		return
	}
	_ = sess.Exit(0)
}

// ServeSFTP serves the protocol on rw, with relative paths below home, until the client ends.
func ServeSFTP(rw io.ReadWriteCloser, home string) error {
	srv, err := sftp.NewServer(rw, sftp.WithServerWorkingDirectory(home))
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	defer srv.Close()
	if err := srv.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("sftp: %w", err)
	}
	return nil
}

// spawnSFTP runs this program again as the account.
func (s *Server) spawnSFTP(sess ssh.Session, a *account) error {
	cmd := s.command(a, sess)
	cmd.Path, cmd.Args = "/proc/self/exe", []string{os.Args[0], "sandbox-node", SFTPArg, a.home}
	cmd.Stdout = sess
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("sftp for %s: %w", a.name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("sftp for %s: %w", a.name, err)
	}
	go func() { // ends with the channel
		_, _ = io.Copy(in, sess)
		_ = in.Close()
	}()
	if code := s.wait(sess, cmd); code != 0 {
		return fmt.Errorf("sftp for %s: exit status %d", a.name, code)
	}
	return nil
}
