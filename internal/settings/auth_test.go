package settings_test

import (
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/settings"
)

func TestAuthenticators(t *testing.T) {
	long := strings.Repeat("s", 32)
	s, err := settings.Read(write(t, least+"auth: [{name: cli, driver: HS256, secret: "+long+", issuer: i, audience: a, allow-authz-override: true, uid-claim: email, skew: 5s, max-validity: 1h}]\n"))
	if err != nil || len(s.Auth) != 1 || !s.Auth[0].Override || s.Auth[0].UIDClaim != "email" || s.Auth[0].Skew.Seconds() != 5 {
		t.Fatalf("%+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"{name: a b, driver: HS256}":                                                        "auth[0].name",
		"{name: a, driver: RS256}":                                                          "none of HS256",
		"{name: a, driver: HS256, secret: short, issuer: i, audience: a}":                   "at least 32",
		"{name: a, driver: HS256, secret: " + long + "}":                                    "issuer and the audience",
		"{name: a, driver: HS256, secret: " + long + ", issuer: i, audience: a, skew: -1s}": "0 or more",
	} {
		if _, err := settings.Read(write(t, least+"auth: ["+text+"]\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	one := "{name: a, driver: HS256, secret: " + long + ", issuer: i, audience: a}"
	if _, err := settings.Read(write(t, least+"auth: ["+one+", "+one+"]\n")); err == nil || !strings.Contains(err.Error(), "issuer i already") {
		t.Errorf("two of one issuer: %v", err)
	}
}
