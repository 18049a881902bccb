package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/store"
)

// logTokenRecord is the token with which members of the installation read each other's logs.
const logTokenRecord = "/key/logs"

// logToken reads the token, or makes it: whoever is first.
func logToken(ctx context.Context, s kv.Store) (string, error) {
	mine := rand.Text()
	_, _, err := s.Commit(ctx, kv.Txn{If: []kv.Cmp{kv.Missing(logTokenRecord)}, Then: []kv.Op{kv.Put(logTokenRecord, store.Encode(mine))}})
	if err != nil {
		return "", fmt.Errorf("make the token for logs: %w", err)
	}
	e, found, err := kv.Get(ctx, s, logTokenRecord)
	if err != nil || !found {
		return "", fmt.Errorf("read the token for logs: %w", err)
	}
	var token string
	return token, json.Unmarshal(e.Value, &token)
}

// elsewhere finds the executor that runs a build, for those who want to read its log.
func (p *process) elsewhere(ctx context.Context, build string) (joblog.Peer, error) {
	e, found, err := kv.Get(ctx, p.kv, store.RequestPrefix(store.KindBuild)+url.PathEscape(build))
	if err != nil || !found {
		return joblog.Peer{}, errors.Join(err, joblog.ErrNotFound)
	}
	var r store.Request
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return joblog.Peer{}, err
	}
	members, err := p.store.Members(ctx, "executor")
	if err != nil {
		return joblog.Peer{}, err
	}
	for _, m := range members {
		if m.ID == r.By && m.Address != "" && m.ID != p.id {
			token, err := logToken(ctx, p.kv)
			return joblog.Peer{URL: m.Address, Token: token}, err
		}
	}
	return joblog.Peer{}, joblog.ErrNotFound // it has not begun, or its executor is gone
}

// serveLogs lets other processes read the logs of builds that run here: it sets the address in c, and serve
// serves there until its context ends.
func (p *process) serveLogs(ctx context.Context, c *executor.Config) (serve func(context.Context, *executor.Executor) error, err error) {
	l, err := net.Listen("tcp", p.set.Executor.Listen)
	if err != nil {
		return nil, fmt.Errorf("serve the logs of builds (executor.listen): %w", err)
	}
	if c.LogToken, err = logToken(ctx, p.kv); err != nil {
		_ = l.Close()
		return nil, err
	}
	scheme := "http://"
	if t := p.set.Executor.LogTLS; t != nil {
		conf, err := logTLS(t)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		scheme, l = "https://", tls.NewListener(l, conf)
	} else if host, _, _ := net.SplitHostPort(p.set.Executor.Listen); !isLoopback(host) {
		p.log.Warn("logs of builds, and the token by which they are read, cross the network as they are; executor.log-tls encrypts them", "listen", p.set.Executor.Listen)
	}
	if c.Address = p.set.Executor.Address; c.Address == "" {
		c.Address = scheme + l.Addr().String()
	}
	return func(ctx context.Context, x *executor.Executor) error { return serveHTTP(ctx, l, x.Handler(), p.log) }, nil
}

// logTLS is how the processes of an installation know each other when they read each other's logs: each has a
// certificate of the authority, and lets in who has one.
func logTLS(t *settings.LogTLS) (*tls.Config, error) {
	c, err := clientTLS(t.CA, t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("executor.log-tls: %w", err)
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, c.RootCAs
	return c, nil
}

// logClient reads the logs of other processes.
func (p *process) logClient() (*http.Client, error) {
	t := p.set.Executor.LogTLS
	if t == nil {
		return nil, nil
	}
	c, err := logTLS(t)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = c
	return &http.Client{Transport: transport}, nil
}

// Pauses between two looks at logs that are old, and at logs that could not be kept.
const (
	expireEvery  = time.Hour
	recoverEvery = 5 * time.Minute
)

// expireLogs removes logs that are kept longer than they should be. One process of the installation does.
func (p *process) expireLogs(ctx context.Context) error {
	r := joblog.Retention{Keep: time.Duration(p.set.Logs.Keep), Max: int64(p.set.Logs.MaxSize)}
	if r == (joblog.Retention{}) {
		return nil
	}
	for {
		fence, mine, err := p.store.Own(ctx, p.session, "logs/retention", p.id)
		if err == nil && mine {
			var out joblog.Expired
			out, err = p.logs.Expire(ctx, r)
			if out.Builds > 0 {
				p.log.Info("old logs are removed", "builds", out.Builds, "bytes", out.Bytes, "left", out.Left)
			}
			err = errors.Join(err, p.store.Disown(ctx, fence))
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("old logs cannot be removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(expireEvery):
		}
	}
}

// recoverLogs tries again to keep logs that could not be kept when their build ended.
func (p *process) recoverLogs(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(recoverEvery):
		}
		if err := p.logs.Recover(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("logs cannot be put into the blob store", "error", err)
		}
	}
}

// together runs functions until all have ended; where one fails, the context of the others ends.
func together(ctx context.Context, fns ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range fns {
		g.Go(func() error { return f(ctx) })
	}
	return g.Wait()
}
