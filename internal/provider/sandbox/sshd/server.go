// Package sshd is the SSH server that runs inside a sandbox node: what OpenSSH's sshd would be to a
// machine in a cloud. It lets in by public key only, as ~/.ssh/authorized_keys of the account says at
// that moment, runs commands and shells (with a terminal where one is asked for), and serves sftp;
// forwarding of ports and agents is off.
//
// It is no general purpose server: it believes that it is root of a machine of its own, and that
// everybody whom it lets in may do there what they like.
package sshd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// Config of a Server. The zero value of everything but HostKey is usable.
type Config struct {
	// HostKey is the file with the private host key (PEM).
	HostKey string
	// MaxSessions bounds the sessions open at one time on one connection; 0 is 64.
	MaxSessions int
	// Environ is what sessions find in their environment beside what the account and the client give.
	Environ []string
	// Grace is how long the processes of a session have, after a hang-up, before they are killed;
	// 0 is two seconds.
	Grace time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Server serves SSH on a listener.
type Server struct {
	cfg      Config
	log      *slog.Logger
	ssh      *ssh.Server
	sessions sync.WaitGroup
}

// New reads the host key and makes a server.
func New(c Config) (*Server, error) {
	pem, err := os.ReadFile(c.HostKey)
	if err != nil {
		return nil, fmt.Errorf("read the host key: %w", err)
	}
	signer, err := gossh.ParsePrivateKey(pem)
	if err != nil {
		return nil, fmt.Errorf("host key %s: %w", c.HostKey, err)
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = 64
	}
	if c.Grace == 0 {
		c.Grace = 2 * time.Second
	}
	s := &Server{cfg: c, log: c.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ssh = &ssh.Server{
		Version:          "Gozer",
		HostSigners:      []ssh.Signer{signer},
		PublicKeyHandler: s.authorized,
		Handler:          s.serveSession,
		SubsystemHandlers: map[string]ssh.SubsystemHandler{
			"sftp": s.serveSFTP,
		},
		ChannelHandlers: map[string]ssh.ChannelHandler{"session": s.openSession},
	}
	return s, nil
}

// Serve answers on ln until ctx ends; then it hangs up on everybody and waits for the sessions.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = s.ssh.Close() })
	defer stop()
	err := s.ssh.Serve(ln)
	_ = s.ssh.Close()
	s.sessions.Wait()
	if errors.Is(err, ssh.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve SSH on %s: %w", ln.Addr(), err)
}

// countKey is where the number of open sessions of a connection is kept.
type countKey struct{}

// openSession lets a session channel in, unless the connection has too many, and gives it a context of
// its own: a client that multiplexes closes one channel and keeps the connection.
func (s *Server) openSession(srv *ssh.Server, conn *gossh.ServerConn, ch gossh.NewChannel, ctx ssh.Context) {
	if !s.count(ctx, +1) {
		_ = ch.Reject(gossh.ResourceShortage, fmt.Sprintf("more than %d sessions", s.cfg.MaxSessions))
		return
	}
	defer s.count(ctx, -1)
	own, cancel := context.WithCancel(ctx)
	defer cancel() // the default handler returns when the channel is closed
	tap := &tap{NewChannel: ch}
	ssh.DefaultSessionHandler(srv, conn, tap, &sessionContext{Context: ctx, own: own, tap: tap})
}

// count adds to the number of sessions of a connection, if that stays within the bound.
func (s *Server) count(ctx ssh.Context, n int) bool {
	ctx.Lock()
	defer ctx.Unlock()
	have, _ := ctx.Value(countKey{}).(int)
	if have+n > s.cfg.MaxSessions {
		return false
	}
	ctx.SetValue(countKey{}, have+n)
	return true
}

// tap remembers the channel that was accepted. The session writes to it directly where it has a
// terminal: the terminal makes the line ends, and the library would make them again.
type tap struct {
	gossh.NewChannel
	channel gossh.Channel
}

// Accept accepts, and remembers.
func (t *tap) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	ch, reqs, err := t.NewChannel.Accept()
	t.channel = ch
	return ch, reqs, err
}

// sessionContext is the connection's context with the end of one session.
type sessionContext struct {
	ssh.Context
	own context.Context
	tap *tap
}

// Done is closed when the session's channel or its connection is.
func (c *sessionContext) Done() <-chan struct{} { return c.own.Done() }

// Err belongs to Done.
func (c *sessionContext) Err() error { return c.own.Err() }
