// Package auth says who asks, and what they may do. It reads bearer tokens: JSON web tokens signed with
// a shared secret (HS256), checked as Zuul checks them (semantics 5.5), with admin rules over their
// claims. Where no authenticator is configured nobody can sign in; then whoever asks from this very
// machine may administer, because they could as well read the data folder, and nobody else may.
package auth

import (
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

// Config of New.
type Config struct {
	Authenticators []Authenticator
	// Rules by name; Admins are the names of those that make an admin of a tenant.
	Rules  []Rule
	Admins map[string][]string
	Now    func() time.Time
}

// Auth decides. It is safe for use by many goroutines.
type Auth struct{ c Config }

// New checks the configuration: every authenticator needs a secret, an issuer and an audience, and every
// rule that a tenant names must exist.
func New(c Config) (*Auth, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	issuers := map[string]bool{}
	for i, a := range c.Authenticators {
		if a.Secret == "" || a.Issuer == "" || a.Audience == "" {
			return nil, fmt.Errorf("authenticator %s needs secret, issuer and audience", a.Name)
		}
		if issuers[a.Issuer] {
			return nil, fmt.Errorf("authenticator %s: another one has the issuer %s already", a.Name, a.Issuer)
		}
		issuers[a.Issuer] = true
		if a.UIDClaim == "" {
			c.Authenticators[i].UIDClaim = "sub"
		}
		if a.Realm == "" {
			c.Authenticators[i].Realm = a.Name
		}
	}
	for tenant, names := range c.Admins {
		for _, n := range names {
			if !slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Name == n }) {
				return nil, fmt.Errorf("tenant %s names the admin rule %s, which does not exist", tenant, n)
			}
		}
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
		if fromHere(r) {
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

// fromHere tells whether the peer is this machine and no proxy speaks for somebody else.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback() && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == "" && sameOrigin(r)
}

// sameOrigin keeps a page of somebody else, open in a browser on this machine, from using the machine's
// rights: such a request carries its origin.
func sameOrigin(r *http.Request) bool {
	o := r.Header.Get("Origin")
	if o == "" {
		return r.Header.Get("Sec-Fetch-Site") != "cross-site"
	}
	_, host, _ := strings.Cut(o, "://")
	return host == r.Host && isLoopback(r.Host)
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
func (a *Auth) Admin(id *Identity, tenant string) bool {
	if id.local {
		return true
	}
	if id.by.AllowOverride {
		if z, ok := id.claims["zuul"].(map[string]any); ok {
			if list, ok := z["admin"].([]any); ok && (slices.Contains(list, any(tenant)) || slices.Contains(list, any("*"))) {
				return true
			}
		}
	}
	for _, name := range a.c.Admins[tenant] {
		for _, r := range a.c.Rules {
			if r.Name == name && slices.ContainsFunc(r.Conditions, func(c map[string]any) bool { return a.holds(c, id, tenant) }) {
				return true
			}
		}
	}
	return false
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
