// Package auth says who asks, and what they may do. It reads bearer tokens: JSON web tokens signed with
// a shared secret (HS256), checked as Zuul checks them (semantics 5.5), with the tenants' rules over their
// claims: who is an admin of a tenant, and, where a tenant says it, who may read of it at all. Where no
// authenticator is configured nobody can sign in; then whoever asks from this very machine may administer,
// because they could as well read the data folder, and nobody else may.
package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Errors that callers tell apart.
var (
	// ErrNoToken: the request says not who makes it.
	ErrNoToken = errors.New("this needs a bearer token")
	// ErrBadToken: there is a token, and it does not hold.
	ErrBadToken = errors.New("the token is not valid")
	// ErrForbidden: it is known who asks, and they may not.
	ErrForbidden = errors.New("not allowed")
)

// Authenticator is one way to sign in.
type Authenticator struct {
	Name string
	// Secret signs the tokens (HS256). Issuer and Audience must be theirs.
	Secret, Issuer, Audience string
	// Realm is what clients are told; Name where it is empty.
	Realm string
	// UIDClaim names the person; "sub" where it is empty.
	UIDClaim string
	// MaxAge bounds how long a token may be valid; Skew, how far clocks may differ.
	MaxAge, Skew time.Duration
	// AllowOverride: the token itself may say of which tenants its bearer is an admin.
	AllowOverride bool
}

// Rule is an admin rule: it holds if one of its conditions does, and a condition if every claim does.
type Rule struct {
	Name       string
	Conditions []map[string]any
}

// Rules are what a tenant says of people.
type Rules struct {
	// Named are all rules that there are; one that is named below and not among them holds for nobody.
	Named []Rule
	// Admin and Access name those that make an admin, and a reader, of the tenant. Without Access everybody reads.
	Admin, Access []string
}

// Config of New.
type Config struct {
	Authenticators []Authenticator
	// Rules tells those of a tenant, or of the API as a whole for an empty name. nil: there are none.
	Rules func(ctx context.Context, tenant string) (Rules, error)
	// Hosts are names by which programs of this machine may call the server, beside those of its loopback.
	Hosts []string
	// Proxied: people reach the server through something on this machine, so that who asks from here may be
	// anybody.
	Proxied bool
	Now     func() time.Time
}

// Auth decides. It is safe for use by many goroutines.
type Auth struct{ c Config }

// New checks the configuration: every authenticator needs a secret, an issuer and an audience.
func New(c Config) (*Auth, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rules == nil {
		c.Rules = func(context.Context, string) (Rules, error) { return Rules{}, nil }
	}
	c.Authenticators = slices.Clone(c.Authenticators)
	issuers := map[string]bool{}
	for i := range c.Authenticators {
		a := &c.Authenticators[i]
		if a.Secret == "" || a.Issuer == "" || a.Audience == "" {
			return nil, fmt.Errorf("authenticator %s needs secret, issuer and audience", a.Name)
		}
		if issuers[a.Issuer] {
			return nil, fmt.Errorf("authenticator %s: another one has the issuer %s already", a.Name, a.Issuer)
		}
		issuers[a.Issuer] = true
		a.UIDClaim, a.Realm = cmp.Or(a.UIDClaim, "sub"), cmp.Or(a.Realm, a.Name)
	}
	return &Auth{c}, nil
}

// Authenticators are those configured.
func (a *Auth) Authenticators() []Authenticator { return a.c.Authenticators }

// Realm is what a 401 names: the first authenticator's.
func (a *Auth) Realm() string {
	if len(a.c.Authenticators) == 0 {
		return "gozer"
	}
	return a.c.Authenticators[0].Realm
}

// Identity is who asks.
type Identity struct {
	// Name of the person, for the audit record.
	Name   string
	local  bool
	claims jwt.MapClaims
	by     *Authenticator
}

// Who reads the request's bearer token. ErrNoToken and ErrBadToken say why nobody is known.
func (a *Auth) Who(r *http.Request) (*Identity, error) {
	if len(a.c.Authenticators) == 0 {
		switch {
		case a.c.Proxied:
			return nil, fmt.Errorf("%w: this server has no authenticator, and is reached through another one, so it knows of nobody who they are; configure one (auth:)", ErrForbidden)
		case a.fromHere(r):
			return &Identity{Name: "local", local: true}, nil
		}
		return nil, fmt.Errorf("%w, and this server has no authenticator: ask from the machine itself", ErrForbidden)
	}
	word, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(word, "bearer") {
		return nil, ErrNoToken
	}
	return a.token(strings.TrimSpace(token))
}

// fromHere tells whether the peer is this machine and nobody speaks through it for somebody else: no proxy, and no
// page of others, which is open in a browser of this machine. Such a page is known by its origin, or, where its name
// was made to lead here, by the name that the browser calls the server.
func (a *Auth) fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	if err != nil || ip == nil || !ip.IsLoopback() || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" || !a.calledOurs(r.Host) {
		return false
	}
	if o := r.Header.Get("Origin"); o != "" {
		_, from, _ := strings.Cut(o, "://")
		return from == r.Host
	}
	return r.Header.Get("Sec-Fetch-Site") != "cross-site"
}

// calledOurs tells whether a name of the server is one that only its operator gives it.
func (a *Auth) calledOurs(hostport string) bool {
	if isLoopback(hostport) {
		return true
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return slices.Contains(a.c.Hosts, host)
}

func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (a *Auth) token(raw string) (*Identity, error) {
	var claims jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(raw, &claims); err != nil {
		return nil, fmt.Errorf("%w: it is no JSON web token", ErrBadToken)
	}
	issuer, _ := claims.GetIssuer()
	i := slices.IndexFunc(a.c.Authenticators, func(x Authenticator) bool { return x.Issuer == issuer })
	if i < 0 {
		return nil, fmt.Errorf("%w: its issuer %q is not known here", ErrBadToken, issuer)
	}
	by := &a.c.Authenticators[i]
	claims = jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return []byte(by.Secret), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(by.Issuer), jwt.WithAudience(by.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(by.Skew), jwt.WithTimeFunc(a.c.Now))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadToken, err)
	}
	if err := a.age(by, claims); err != nil {
		return nil, err
	}
	uid, _ := claims[by.UIDClaim].(string)
	if uid == "" {
		return nil, fmt.Errorf("%w: it has no claim %s", ErrBadToken, by.UIDClaim)
	}
	if _, has := claims["zuul"]; has && !by.AllowOverride {
		return nil, fmt.Errorf("%w: its issuer may not say of what its bearer is an admin", ErrBadToken)
	}
	return &Identity{Name: uid, claims: claims, by: by}, nil
}

func (a *Auth) age(by *Authenticator, c jwt.MapClaims) error {
	if by.MaxAge == 0 {
		return nil
	}
	issued, err := c.GetIssuedAt()
	if err != nil || issued == nil {
		return fmt.Errorf("%w: it does not say when it was issued", ErrBadToken)
	}
	if a.c.Now().After(issued.Add(by.MaxAge + by.Skew)) {
		return fmt.Errorf("%w: it was issued more than %s ago", ErrBadToken, by.MaxAge)
	}
	return nil
}

// Admin tells whether id may administer the tenant.
func (a *Auth) Admin(ctx context.Context, id *Identity, tenant string) (bool, error) {
	if id.local || a.overrides(id, tenant) {
		return true, nil
	}
	rules, err := a.c.Rules(ctx, tenant)
	return err == nil && a.oneHolds(&rules, rules.Admin, id, tenant), err
}

// Public tells whether everybody may read of the tenant, or of the API as a whole for an empty name.
func (a *Auth) Public(ctx context.Context, tenant string) (bool, error) {
	rules, err := a.c.Rules(ctx, tenant)
	return err == nil && len(rules.Access) == 0, err
}

// Reads tells whether id may read of the tenant, or of the API as a whole for an empty name. Admins may.
func (a *Auth) Reads(ctx context.Context, id *Identity, tenant string) (bool, error) {
	if id.local || a.overrides(id, tenant) {
		return true, nil
	}
	rules, err := a.c.Rules(ctx, tenant)
	if err != nil {
		return false, err
	}
	return len(rules.Access) == 0 || a.oneHolds(&rules, rules.Access, id, tenant) || a.oneHolds(&rules, rules.Admin, id, tenant), nil
}

// overrides tells whether the token itself says that its bearer is an admin of the tenant.
func (a *Auth) overrides(id *Identity, tenant string) bool {
	if !id.by.AllowOverride {
		return false
	}
	z, _ := id.claims["zuul"].(map[string]any)
	list, _ := z["admin"].([]any)
	return tenant != "" && slices.Contains(list, any(tenant)) || slices.Contains(list, any("*"))
}

// oneHolds tells whether one of the named rules holds.
func (a *Auth) oneHolds(rules *Rules, names []string, id *Identity, tenant string) bool {
	return slices.ContainsFunc(rules.Named, func(r Rule) bool {
		return slices.Contains(names, r.Name) && slices.ContainsFunc(r.Conditions, func(c map[string]any) bool { return a.holds(c, id, tenant) })
	})
}

func (a *Auth) holds(condition map[string]any, id *Identity, tenant string) bool {
	for name, want := range condition {
		have := find(id.claims, name)
		if name == "zuul_uid" {
			have = id.Name
		}
		if !matches(have, want, tenant) {
			return false
		}
	}
	return len(condition) > 0
}

// find reads a claim by its name, or by a path of names with dots.
func find(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok {
		return v
	}
	head, rest, ok := strings.Cut(strings.TrimPrefix(name, "$."), ".")
	if inner, is := claims[head].(map[string]any); ok && is {
		return find(inner, rest)
	}
	return claims[head]
}

// matches compares a claim with what a condition wants: lists by membership, mappings within, everything
// else as text.
func matches(have, want any, tenant string) bool {
	if w, ok := want.(map[string]any); ok {
		h, ok := have.(map[string]any)
		for k, v := range w {
			if !ok || !matches(h[k], v, tenant) {
				return false
			}
		}
		return len(w) > 0
	}
	text := strings.ReplaceAll(fmt.Sprint(want), "{tenant.name}", tenant)
	if list, ok := have.([]any); ok {
		return slices.ContainsFunc(list, func(v any) bool { return fmt.Sprint(v) == text })
	}
	return have != nil && fmt.Sprint(have) == text
}
