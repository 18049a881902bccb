package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/store"
)

// newestFormat is the newest format of the store that this program knows; 0 is all that there are. Only tests of
// upgrades set it.
var newestFormat int

// openStore finds the state: in a cluster elsewhere, or in an etcd inside this process, which may be a
// member of a cluster.
func (p *process) openStore(ctx context.Context) error {
	if e := p.set.Store.Etcd; e != nil {
		c, err := dialConfig(e)
		if err != nil {
			return err
		}
		c.Log = p.log
		s, err := etcd.Dial(ctx, c)
		if err != nil {
			return err
		}
		p.onClose(s.Close)
		p.kv = s
	} else {
		m, err := etcd.Start(ctx, embedConfig(p.set, p))
		if err != nil {
			return err
		}
		p.onClose(m.Close)
		p.member, p.kv = m, m.Store()
	}
	var err error
	p.store, err = store.Open(ctx, store.Config{KV: p.kv, Host: hostname(), Version: version, Format: newestFormat, Log: p.log})
	return err
}

// openSession takes the lease under which the process works.
func (p *process) openSession(ctx context.Context) (err error) {
	p.session, err = kv.NewSession(ctx, kv.SessionConfig{Store: p.kv, TTL: p.set.Store.Lease, Log: p.log})
	return err
}

func hostname() string {
	h, err := os.Hostname()
	if err != nil {
		return "?"
	}
	return h
}

// register makes the process visible in the roles that do not register by themselves.
func (p *process) register(ctx context.Context) error {
	for _, role := range []string{"store", "reporter", "history", "web"} {
		if !p.has(role) || role == "store" && p.member == nil {
			continue
		}
		m := store.Member{ID: p.id, Role: role, Started: p.began, State: "running"}
		if role == "store" {
			m.Address = p.member.ClientAddr()
		}
		if err := p.store.Join(ctx, p.session, m); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// adminSocket is where commands of this machine reach the store of a server that opens no port for it.
func adminSocket(set *settings.Settings) string { return filepath.Join(set.Data, "etcd", "admin.sock") }

// reachStore opens the store for a command: in the server that runs it, where it does, else by itself.
func (p *process) reachStore(ctx context.Context) error {
	if m := p.set.Store.Member; m != nil && m.Clients != "" {
		p.set.Store.Etcd = &settings.Etcd{Endpoints: []string{m.Clients}, CA: m.CA, Cert: m.Cert, Key: m.Key}
	} else if c, err := net.Dial("unix", adminSocket(p.set)); err == nil && p.set.Store.Etcd == nil {
		_ = c.Close()
		p.set.Store.Etcd = &settings.Etcd{Endpoints: []string{"unix://" + adminSocket(p.set)}}
	}
	err := p.openStore(ctx)
	if err != nil && strings.Contains(err.Error(), "in use by process") {
		return fmt.Errorf("%w; its store cannot be reached from outside (a data folder with a shorter path, or store: {member: {clients: 127.0.0.1:2379}}, makes it so): stop the server first", err)
	}
	return err
}

// embedConfig is how the etcd inside this process runs.
func embedConfig(set *settings.Settings, p *process) etcd.EmbedConfig {
	c := etcd.EmbedConfig{Dir: filepath.Join(set.Data, "etcd"), Quota: int64(set.Store.Quota), Reserve: int64(set.Store.Reserve), Log: p.log}
	m := set.Store.Member
	if m == nil || m.Clients == "" {
		c.Socket = adminSocket(set)
	}
	if m == nil {
		return c
	}
	c.Name, c.ClientAddr, c.PeerAddr, c.Join = m.Name, m.Clients, m.Peers, m.Join
	if m.CA != "" {
		files := &etcd.TLSFiles{CA: m.CA, Cert: m.Cert, Key: m.Key}
		c.ClientTLS, c.PeerTLS = files, files
		if t, err := clientTLS(m.CA, m.Cert, m.Key); err == nil { // what is wrong with them, etcd says
			c.JoinDial.TLS = t
		}
	}
	return c
}

// dialConfig is how a cluster elsewhere is reached.
func dialConfig(e *settings.Etcd) (etcd.DialConfig, error) {
	c := etcd.DialConfig{Endpoints: e.Endpoints, Username: e.User, Password: e.Password}
	if e.CA == "" {
		return c, nil
	}
	var err error
	c.TLS, err = clientTLS(e.CA, e.Cert, e.Key)
	return c, err
}

// clientTLS reads the files by which others (an etcd cluster) know us and we know them.
func clientTLS(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read our certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
