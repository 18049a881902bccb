package main

import (
	"context"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/auth"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// authorizer decides who may do and read what over HTTP: the authenticators are the process's, the rules those of the
// tenant file.
func (p *process) authorizer() (*auth.Auth, error) {
	host, proxied := reachedBy(p.set)
	rules := &tenantRules{tenants: p.tenants, read: map[string]readRules{}}
	c := auth.Config{Hosts: []string{host}, Proxied: proxied, Rules: rules.of}
	for _, a := range p.set.Auth {
		c.Authenticators = append(c.Authenticators, auth.Authenticator{Name: a.Name, Secret: a.Secret, Issuer: a.Issuer, Audience: a.Audience,
			Realm: a.Realm, UIDClaim: a.UIDClaim, MaxAge: a.MaxAge, Skew: a.Skew, AllowOverride: a.Override})
	}
	return auth.New(c)
}

// freshRules is for how long rules count that were read: each request asks for some, and some for those of all tenants.
const freshRules = time.Second

// tenantRules are what the tenant file says of people.
type tenantRules struct {
	tenants *tenant.Service

	mu   sync.Mutex
	read map[string]readRules
}

type readRules struct {
	auth.Rules
	at time.Time
}

// of gives the rules of a tenant, or of the API as a whole for an empty name.
func (r *tenantRules) of(ctx context.Context, name string) (auth.Rules, error) {
	if name == "" {
		return rulesOfAPI(r.tenants.File()), nil
	}
	r.mu.Lock()
	known := r.read[name]
	r.mu.Unlock()
	if time.Since(known.at) < freshRules {
		return known.Rules, nil
	}
	now := time.Now()
	t, file, err := r.tenants.Declared(ctx, name)
	if err != nil {
		return auth.Rules{}, err
	}
	out := auth.Rules{Named: namedRules(file), Admin: t.AdminRules, Access: t.AccessRules}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read[name] = readRules{out, now}
	return out, nil
}

// rulesOfAPI are those for what belongs to no tenant.
func rulesOfAPI(file *config.TenantFile) auth.Rules {
	if file.APIRoot == nil {
		return auth.Rules{}
	}
	return auth.Rules{Named: namedRules(file), Access: file.APIRoot.AccessRules}
}

func namedRules(file *config.TenantFile) []auth.Rule {
	out := make([]auth.Rule, len(file.Rules))
	for i, r := range file.Rules {
		out[i] = auth.Rule{Name: r.Name, Conditions: r.Conditions}
	}
	return out
}

// reachedBy is the host name that people type, and whether what answers there is something else than this process: it
// speaks no TLS itself, and nobody elsewhere reaches its loopback.
func reachedBy(set *settings.Settings) (host string, proxied bool) {
	u, err := url.Parse(set.Root)
	if err != nil {
		return "", false
	}
	at, _, err := net.SplitHostPort(set.Listen)
	return u.Hostname(), u.Scheme == "https" || err == nil && isLoopback(at) && !isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
