// Package knock tells whether a node is there: whether SSH answers at its address, shows the key it is
// known by, and lets us in. It is how the launcher finds out that a node is up, and how hosts are
// watched.
package knock

import (
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
	addr := net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", addr, err)
	}
	defer conn.Close()
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
	client, chans, reqs, err := gossh.NewClientConn(conn, addr, cfg)
	switch {
	case err == nil:
		go gossh.DiscardRequests(reqs)
		go func() {
			for c := range chans {
				_ = c.Reject(gossh.Prohibited, "")
			}
		}()
		return client.Close()
	case errors.Is(seen, ErrHostKey):
		return fmt.Errorf("%s: %w", addr, seen)
	case seen == nil && signer == nil:
		return nil // it is the right machine; that it does not let in somebody without a key is no news
	case ctx.Err() != nil:
		return fmt.Errorf("greet %s: %w", addr, context.Cause(ctx))
	default:
		return fmt.Errorf("log in to %s as %s: %w", addr, a.User, err)
	}
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
