package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/settings"
)

// What the configuration says of authenticators, and the tenant file of rules, holds for whoever asks over HTTP, also
// from this machine; and rules that change hold when the tenant file is read again.
func TestPeopleAreWhatTheConfigurationMakesThem(t *testing.T) {
	secret := strings.Repeat("s", 32)
	s := newSiteWith(t, appFiles(), func(set *settings.Settings) {
		set.Auth = []settings.Auth{{Name: "cli", Driver: "HS256", Secret: secret, Issuer: "cli", Audience: "gozer", Override: true},
			{Name: "sso", Driver: "HS256", Secret: strings.Repeat("o", 32), Issuer: "sso", Audience: "gozer"}}
	}, allRoles)
	config := filepath.Join(s.dir, "gozer.yaml")
	s.write(config, fmt.Sprintf("data: %s\ntenants: %s\nconnections: [{name: local, driver: local}]\n"+
		"auth: [{name: cli, driver: HS256, secret: %s, issuer: cli, audience: gozer, allow-authz-override: true}]\n", s.set.Data, s.set.Tenants, secret), 0o600)
	admin := s.must("admin", "create-auth-token", "--config", config, "--user", "ann", "--tenant", "example")
	stranger, err := newToken(&settings.Auth{Issuer: "sso", Audience: "gozer", Secret: strings.Repeat("o", 32)}, "eve", nil, time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, token, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, strings.TrimSuffix(s.set.Root, "/")+"/api/tenant/example"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.StatusCode
	}
	const pause = `{"pipeline":"check","reason":"freeze"}`
	for _, c := range []struct {
		method, path, token, body string
		want                      int
	}{
		{"POST", "/pause", "", pause, 401},
		{"POST", "/pause", "nonsense", pause, 401},
		{"POST", "/pause", admin, pause, 200},
		{"GET", "/audit", "", "", 401},
		{"GET", "/status", "", "", 200},
	} {
		if got := ask(c.method, c.path, c.token, c.body); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got, c.want)
		}
	}

	text, err := os.ReadFile(s.set.Tenants)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.set.Tenants, "- authorization-rule: {name: staff, conditions: [{zuul_uid: bob}]}\n"+
		strings.Replace(string(text), "name: example", "name: example\n    access-rules: [staff]", 1), 0o600)
	if got := ask("POST", "/reconfigure", admin, `{"how":"smart"}`); got != 200 {
		t.Fatalf("reconfigure: %d", got)
	}
	s.wait("the rules", func() bool { return ask("GET", "/status", "", "") == 401 })
	if got := ask("GET", "/status", stranger, ""); got != 401 { // its issuer may say of nobody what he administers
		t.Errorf("a token that claims too much: %d", got)
	}
	if got := ask("GET", "/status", admin, ""); got != 200 {
		t.Errorf("an admin reads: %d", got)
	}
}

func TestWhoStandsBeforeTheServer(t *testing.T) {
	for _, c := range []struct {
		listen, root, host string
		proxied            bool
	}{
		{"127.0.0.1:8090", "http://127.0.0.1:8090/", "127.0.0.1", false},
		{"127.0.0.1:8090", "http://localhost:8090/", "localhost", false},
		{"0.0.0.0:8090", "http://ci.example.org:8090/", "ci.example.org", false},
		{"127.0.0.1:8090", "http://ci.example.org/", "ci.example.org", true},
		{"0.0.0.0:8090", "https://ci.example.org/", "ci.example.org", true},
	} {
		host, proxied := reachedBy(&settings.Settings{Listen: c.listen, Root: c.root})
		if host != c.host || proxied != c.proxied {
			t.Errorf("%s reached as %s: %s, %v", c.listen, c.root, host, proxied)
		}
	}
}
