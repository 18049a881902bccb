package auth_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gozer-ci/gozer/internal/auth"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sign(t *testing.T, secret string, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func claims(more jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"iss": "cli", "aud": "gozer", "sub": "ann", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for k, v := range more {
		c[k] = v
	}
	return c
}

func TestTokens(t *testing.T) {
	a, err := auth.New(auth.Config{Now: func() time.Time { return now },
		Authenticators: []auth.Authenticator{
			{Name: "cli", Secret: "s3cret", Issuer: "cli", Audience: "gozer", AllowOverride: true, MaxAge: time.Hour},
			{Name: "sso", Secret: "other", Issuer: "sso", Audience: "gozer"}},
		Rules: func(_ context.Context, tenant string) (auth.Rules, error) {
			named := []auth.Rule{{Name: "staff", Conditions: []map[string]any{{"groups": "staff"}}}, {Name: "ops", Conditions: []map[string]any{
				{"groups": "{tenant.name}-ops"}, {"zuul_uid": "root"}, {"realm.role": "boss", "sub": "eve"}}}}
			return map[string]auth.Rules{"t": {Named: named, Admin: []string{"ops"}}, "closed": {Named: named, Admin: []string{"ops"}, Access: []string{"staff"}},
				"nobody": {Named: named, Access: []string{"missing"}}}[tenant], nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, secret string
		claims       jwt.MapClaims
		err          error
		admin        bool
	}{
		{"override", "s3cret", claims(jwt.MapClaims{"zuul": map[string]any{"admin": []string{"t"}}}), nil, true},
		{"override of another tenant", "s3cret", claims(jwt.MapClaims{"zuul": map[string]any{"admin": []string{"u"}}}), nil, false},
		{"override by who may not", "other", claims(jwt.MapClaims{"iss": "sso", "zuul": map[string]any{"admin": []string{"t"}}}), auth.ErrBadToken, false},
		{"group", "other", claims(jwt.MapClaims{"iss": "sso", "groups": []string{"x", "t-ops"}}), nil, true},
		{"another group", "other", claims(jwt.MapClaims{"iss": "sso", "groups": []string{"u-ops"}}), nil, false},
		{"uid", "other", claims(jwt.MapClaims{"iss": "sso", "sub": "root"}), nil, true},
		{"nested, all of a condition", "other", claims(jwt.MapClaims{"iss": "sso", "sub": "eve", "realm": map[string]any{"role": "boss"}}), nil, true},
		{"nested, half of a condition", "other", claims(jwt.MapClaims{"iss": "sso", "realm": map[string]any{"role": "boss"}}), nil, false},
		{"wrong secret", "guess", claims(nil), auth.ErrBadToken, false},
		{"another audience", "s3cret", claims(jwt.MapClaims{"aud": "x"}), auth.ErrBadToken, false},
		{"expired", "s3cret", claims(jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}), auth.ErrBadToken, false},
		{"too old", "s3cret", claims(jwt.MapClaims{"iat": now.Add(-2 * time.Hour).Unix()}), auth.ErrBadToken, false},
		{"unknown issuer", "s3cret", claims(jwt.MapClaims{"iss": "x"}), auth.ErrBadToken, false},
		{"nobody", "s3cret", claims(jwt.MapClaims{"sub": ""}), auth.ErrBadToken, false},
	}
	for _, c := range cases {
		r := httptest.NewRequest("POST", "/api", nil)
		r.Header.Set("Authorization", "Bearer "+sign(t, c.secret, c.claims))
		id, err := a.Who(r)
		if !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
			continue
		}
		if err != nil {
			continue
		}
		if is, err := a.Admin(t.Context(), id, "t"); err != nil || is != c.admin {
			t.Errorf("%s: admin is %v, %v", c.name, is, err)
		}
	}
	for _, c := range []struct {
		group  string
		tenant string
		reads  bool
	}{{"staff", "closed", true}, {"closed-ops", "closed", true}, {"guests", "closed", false}, {"guests", "t", true}, {"staff", "nobody", false}, {"guests", "", true}} {
		r := httptest.NewRequest("GET", "/api", nil)
		r.Header.Set("Authorization", "Bearer "+sign(t, "other", claims(jwt.MapClaims{"iss": "sso", "groups": []string{c.group}})))
		id, err := a.Who(r)
		if err != nil {
			t.Fatal(err)
		}
		if reads, err := a.Reads(t.Context(), id, c.tenant); err != nil || reads != c.reads {
			t.Errorf("%s reads of %q: %v, %v", c.group, c.tenant, reads, err)
		}
	}
	if _, err := a.Who(httptest.NewRequest("GET", "/", nil)); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("without a token: %v", err)
	}
}

func TestWithoutAuthenticatorOnlyThisMachine(t *testing.T) {
	a, err := auth.New(auth.Config{Hosts: []string{"gozer.test"}})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		peer, host, header, value string
		ok                        bool
	}{
		{"127.0.0.1:4711", "127.0.0.1:9000", "", "", true},
		{"[::1]:4711", "localhost:9000", "Origin", "http://localhost:9000", true},
		{"192.0.2.7:4711", "gozer.test", "", "", false},
		{"127.0.0.1:4711", "gozer.test", "X-Forwarded-For", "192.0.2.7", false},
		{"127.0.0.1:4711", "127.0.0.1:9000", "Origin", "https://evil.test", false},
		{"127.0.0.1:4711", "gozer.test:9000", "", "", true},
		{"127.0.0.1:4711", "evil.test", "Origin", "http://evil.test", false},
		{"127.0.0.1:4711", "evil.test:9000", "", "", false}, // a browser gives no origin of what it only reads
		{"127.0.0.1:4711", "127.0.0.1:9000", "Sec-Fetch-Site", "cross-site", false},
	}
	for _, c := range cases {
		r := httptest.NewRequest("POST", "/api", nil)
		r.RemoteAddr, r.Host = c.peer, c.host
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		id, err := a.Who(r)
		if c.ok != (err == nil) {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if c.ok {
			if is, err := a.Admin(t.Context(), id, "t"); err != nil || !is {
				t.Errorf("%+v is no admin: %v", c, err)
			}
		}
	}
	behind, err := auth.New(auth.Config{Proxied: true})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/api", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "127.0.0.1:9000"
	if _, err := behind.Who(r); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("whoever comes through a proxy of this machine may do everything: %v", err)
	}
}
