// Package knock tells whether a node is there: whether SSH answers at its address, shows the key it is
// known by, and lets us in. It is how the launcher finds out that a node is up, how hosts are watched, and
// how people get to a node that is kept for them.
package knock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/node"
)

// ErrHostKey: somebody answered, but not with a key that the node is known by. Waiting does not help.
var ErrHostKey = errors.New("the host key is another one")

// SSH makes a connection and closes it. signer nil: the host key is all that is looked at. It takes at
// most as long as ctx lasts.
func SSH(ctx context.Context, a node.Access, signer gossh.Signer) error {
	c, err := Dial(ctx, a, signer)
	if c == nil {
		return err
	}
	return c.Close()
}

// Dial logs in. The connection stays open when ctx ends. Without a signer the client is nil, and no error
// says that the node showed the right key.
func Dial(ctx context.Context, a node.Access, signer gossh.Signer) (*gossh.Client, error) {
	addr := net.JoinHostPort(a.Host, strconv.Itoa(cmp.Or(a.Port, 22)))
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	seen := errors.New("no host key shown")
	cfg := &gossh.ClientConfig{User: a.User, HostKeyCallback: func(_ string, _ net.Addr, key gossh.PublicKey) error {
		seen = check(a.HostKeys, key)
		return seen
	}}
	for _, k := range a.HostKeys {
		if key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(k)); err == nil {
			cfg.HostKeyAlgorithms = append(cfg.HostKeyAlgorithms, algorithms(key.Type())...)
		}
	}
	if signer != nil {
		cfg.Auth = []gossh.AuthMethod{gossh.PublicKeys(signer)}
	}
	c, chans, reqs, err := gossh.NewClientConn(conn, addr, cfg)
	if err == nil {
		return gossh.NewClient(c, chans, reqs), nil
	}
	_ = conn.Close()
	switch {
	case errors.Is(seen, ErrHostKey):
		return nil, fmt.Errorf("%s: %w", addr, seen)
	case seen == nil && signer == nil:
		return nil, nil // it is the right machine; that it does not let in somebody without a key is no news
	case ctx.Err() != nil:
		return nil, fmt.Errorf("greet %s: %w", addr, context.Cause(ctx))
	default:
		return nil, fmt.Errorf("log in to %s as %s: %w", addr, a.User, err)
	}
}

// maxOutput bounds what Run keeps of what a command says.
const maxOutput = 16 << 10

// Run runs one command on a node, and gives what it said. An *ssh.ExitError tells that it ended with
// another code than 0.
func Run(ctx context.Context, a node.Access, signer gossh.Signer, command string) (string, error) {
	c, err := Dial(ctx, a, signer)
	if err != nil {
		return "", err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	s, err := c.NewSession()
	if err != nil {
		return "", fmt.Errorf("open a session on %s: %w", a.Host, err)
	}
	defer s.Close()
	out := &Output{Most: maxOutput}
	s.Stdout, s.Stderr = out, out
	err = s.Run(command)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return strings.TrimSpace(out.String()), err
}

// check compares a shown key with those that are known.
func check(known []string, key gossh.PublicKey) error {
	shown := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
	if slices.ContainsFunc(known, func(k string) bool {
		f := strings.Fields(k)
		return len(f) >= 2 && f[0]+" "+f[1] == shown
	}) {
		return nil
	}
	return fmt.Errorf("%w: it shows %s %s", ErrHostKey, key.Type(), gossh.FingerprintSHA256(key))
}

// algorithms are the names under which a key of this type may be used.
func algorithms(keyType string) []string {
	if keyType == gossh.KeyAlgoRSA {
		return []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSA}
	}
	return []string{keyType}
}
