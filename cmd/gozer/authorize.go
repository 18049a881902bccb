package main

import (
	"context"
	"net"
	"net/url"

	"github.com/gozer-ci/gozer/internal/auth"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/settings"
)

// authorizer decides who may do and read what over HTTP: the authenticators are the process's, the rules those of the
// tenant file.
func (p *process) authorizer() (*auth.Auth, error) {
	host, proxied := reachedBy(p.set)
	c := auth.Config{Hosts: []string{host}, Proxied: proxied, Rules: func(ctx context.Context, tenant string) (auth.Rules, error) {
		if tenant == "" {
			return rulesOfAPI(p.tenants.File()), nil
		}
		t, file, err := p.tenants.Declared(ctx, tenant)
		if err != nil {
			return auth.Rules{}, err
		}
		return auth.Rules{Named: namedRules(file), Admin: t.AdminRules, Access: t.AccessRules}, nil
	}}
	for _, a := range p.set.Auth {
		c.Authenticators = append(c.Authenticators, auth.Authenticator{Name: a.Name, Secret: a.Secret, Issuer: a.Issuer, Audience: a.Audience,
			Realm: a.Realm, UIDClaim: a.UIDClaim, MaxAge: a.MaxAge, Skew: a.Skew, AllowOverride: a.Override})
	}
	return auth.New(c)
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
