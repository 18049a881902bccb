package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/settings"
)

func tokenCommand() *cobra.Command {
	var file, with, user string
	var tenants []string
	var valid time.Duration
	cmd := &cobra.Command{
		Use: "create-auth-token --user NAME --tenant TENANT", Short: "Print a token with which somebody administers tenants for a while", Args: cobra.NoArgs,
		Long: `Signs a token with the secret of an authenticator of the configuration (auth:) that has allow-authz-override: it says
itself of which tenants its bearer is an admin. No server is asked, and none can take the token back before it expires.`,
		Example: "  export GOZER_TOKEN=$(gozer admin create-auth-token --config gozer.yaml --user ann --tenant main)\n  gozer enqueue ...",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case user == "" || len(tenants) == 0:
				return errors.New("say with --user and --tenant who shall administer what")
			case valid <= 0:
				return fmt.Errorf("--expires-in %v: a token is valid for some time", valid)
			}
			return withProcess(file, func(p *process) error {
				a, err := signer(p.set.Auth, with)
				if err != nil {
					return err
				}
				token, err := newToken(a, user, tenants, time.Now(), valid)
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), token)
				return nil
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&file, "config", "c", "", "configuration of the web server's process")
	fl.StringVar(&with, "auth-config", "", "the authenticator, where several could sign")
	fl.StringVarP(&user, "user", "u", "", "who bears it, for the audit record")
	fl.StringSliceVarP(&tenants, "tenant", "t", nil, "a tenant that the bearer administers; * is all (may be given again)")
	fl.DurationVar(&valid, "expires-in", 10*time.Minute, "how long it is valid")
	return cmd
}

// signer finds the authenticator of that name, or the only one, whose tokens may say what their bearer administers.
func signer(all []settings.Auth, named string) (*settings.Auth, error) {
	can := slices.DeleteFunc(slices.Clone(all), func(a settings.Auth) bool { return !a.Override || named != "" && a.Name != named })
	switch {
	case len(can) == 1:
		return &can[0], nil
	case len(can) > 1:
		return nil, fmt.Errorf("%d authenticators could sign the token; name one with --auth-config", len(can))
	case named != "":
		return nil, fmt.Errorf("auth: of the configuration has no %s with allow-authz-override", named)
	}
	return nil, errors.New("auth: of the configuration has no authenticator with allow-authz-override")
}

// newToken signs that user administers the tenants from now on, for as long as it is valid.
func newToken(a *settings.Auth, user string, tenants []string, now time.Time, valid time.Duration) (string, error) {
	uid := a.UIDClaim
	if uid == "" {
		uid = "sub"
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": a.Issuer, "aud": a.Audience, uid: user,
		"iat": now.Unix(), "exp": now.Add(valid).Unix(), "zuul": map[string]any{"admin": tenants}}).SignedString([]byte(a.Secret))
}
