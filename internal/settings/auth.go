package settings

import (
	"slices"
	"strings"
	"time"
)

// Auth is one authenticator: who brings a token that is signed with its secret is known by it.
type Auth struct {
	Name string `yaml:"name"`
	// Driver is HS256.
	Driver string `yaml:"driver"`
	Secret string `yaml:"secret"`
	// Issuer and Audience are those that its tokens must have.
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	// Realm is what clients are told (the name).
	Realm string `yaml:"realm"`
	// UIDClaim is the claim that names the person (sub).
	UIDClaim string `yaml:"uid-claim"`
	// MaxAge is how long after its issue a token is taken, Skew, how far the clocks may differ.
	MaxAge time.Duration `yaml:"max-validity"`
	Skew   time.Duration `yaml:"skew"`
	// Override: the token itself may say of which tenants its bearer is an admin (claim zuul.admin).
	Override bool `yaml:"allow-authz-override"`
}

// AuthDrivers that there are.
var AuthDrivers = []string{"HS256"}

// leastSecret is the shortest secret, in bytes, that a token of HS256 may be signed with: whoever has a token can try
// shorter ones at leisure.
const leastSecret = 32

func (s *Settings) finishAuth(problem func(string, ...any)) {
	issuers := map[string]bool{}
	for i, a := range s.Auth {
		switch {
		case !name.MatchString(a.Name):
			problem("auth[%d].name: %q is no name (letters, digits, _ . -)", i, a.Name)
		case !slices.Contains(AuthDrivers, a.Driver):
			problem("auth[%d].driver: %q is none of %s", i, a.Driver, strings.Join(AuthDrivers, ", "))
		case len(a.Secret) < leastSecret:
			problem("auth[%d].secret: it has %d characters; at least %d keep it from being guessed (openssl rand -hex 32)", i, len(a.Secret), leastSecret)
		case a.Issuer == "" || a.Audience == "":
			problem("auth[%d]: name the issuer and the audience that its tokens have", i)
		case issuers[a.Issuer]:
			problem("auth[%d].issuer: another one has the issuer %s already", i, a.Issuer)
		case a.MaxAge < 0 || a.Skew < 0:
			problem("auth[%d]: max-validity and skew are 0 or more", i)
		}
		issuers[a.Issuer] = true
	}
}
