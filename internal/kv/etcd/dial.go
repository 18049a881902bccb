package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/gozer-ci/gozer/internal/kv"
)

// oldest is the first version of etcd that Gozer works with.
var oldest = semver.Version{Major: 3, Minor: 6}

// maxRequest is the largest message: a transaction of the largest size with the prefix and the
// frame of each key. Embedded servers accept it; a cluster elsewhere needs --max-request-bytes
// and --max-txn-ops raised to this and kv.MaxOps, or it refuses large transactions with
// kv.ErrTooLarge.
const maxRequest = 2 * kv.MaxTxn

// DialConfig says how to reach an etcd cluster.
type DialConfig struct {
	// Endpoints are the addresses of members, host:port or URLs; at least one.
	Endpoints []string
	// TLS, where set, is used for every connection.
	TLS *tls.Config
	// Username and Password, where the cluster asks for them.
	Username, Password string
	// Prefix of all keys, DefaultPrefix where empty.
	Prefix string
	// Timeout for the first contact; 5 s where zero. ctx of Dial may end it earlier.
	Timeout time.Duration
	// Log gets warnings of the client; nil discards them.
	Log *slog.Logger
}

// Dial connects to a cluster and makes sure that it answers and is recent enough. Afterwards the
// connection is kept, and made again where it broke, until Close.
func Dial(ctx context.Context, c DialConfig) (*Store, error) {
	client, err := dial(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("reach etcd at %s: %w", strings.Join(c.Endpoints, ", "), err)
	}
	return newStore(client, c.Prefix, true), nil
}

func dial(ctx context.Context, c DialConfig) (*clientv3.Client, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("no endpoints given")
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: c.TLS, Username: c.Username, Password: c.Password,
		DialTimeout:        c.Timeout,
		MaxCallSendMsgSize: maxRequest,
		// A server that went away without a word is noticed after 7 s at the latest; servers do not allow to
		// ask more often.
		DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
		Logger: zapLogger(c.Log),
	})
	if err != nil {
		return nil, silent(err, c.Timeout) // with a user, it asks at once
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := greet(ctx, client); errors.Is(rpctypes.Error(err), rpctypes.ErrUserEmpty) {
		return nil, errors.Join(fmt.Errorf("it asks who we are, and there is neither a user with a password nor a certificate: %w", err), client.Close())
	} else if err != nil {
		return nil, errors.Join(silent(err, c.Timeout), client.Close())
	}
	if err := mayRead(ctx, client, c); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// silent says what it may mean that nobody answers: a connection that is refused, in whatever way, is tried
// again until the time is over, and the reason is lost.
func silent(err error, after time.Duration) error {
	if !errors.Is(err, context.DeadlineExceeded) && code(err) != codes.DeadlineExceeded && code(err) != codes.Unavailable {
		return err
	}
	return fmt.Errorf("no answer in %v: nobody listens there, or it does not accept our certificate, or we do not accept its: %w", after, err)
}

// mayRead makes sure that the cluster lets us read our keys.
func mayRead(ctx context.Context, client *clientv3.Client, c DialConfig) error {
	prefix := c.Prefix
	if prefix == "" {
		prefix = DefaultPrefix
	}
	if _, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)); err != nil {
		who := "without a user"
		if c.Username != "" {
			who = "as user " + c.Username
		}
		return fmt.Errorf("read below %s %s (what it needs is readwrite on this prefix): %w", prefix, who, err)
	}
	return nil
}

// greet asks the members, one after the other, until one answers, and checks its version.
func greet(ctx context.Context, c *clientv3.Client) (err error) {
	var status *clientv3.StatusResponse
	for i, e := range c.Endpoints() {
		// A dead member must not use up the time of the others.
		left := time.Minute
		if end, ok := ctx.Deadline(); ok {
			left = time.Until(end) / time.Duration(len(c.Endpoints())-i)
		}
		each, cancel := context.WithTimeout(ctx, left)
		status, err = c.Status(each, e)
		cancel()
		if err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	v, err := semver.NewVersion(status.Version)
	if err != nil {
		return fmt.Errorf("version %q: %w", status.Version, err)
	}
	if v.LessThan(oldest) {
		return fmt.Errorf("version %s, needed is %s or later", v, oldest)
	}
	return nil
}
