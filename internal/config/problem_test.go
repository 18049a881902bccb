package config_test

import (
	"testing"

	"github.com/gozer-ci/gozer/internal/config"
)

// Clients that know Zuul's names find what has none there as Unknown.
func TestIsNamed(t *testing.T) {
	for _, x := range []struct {
		name, asked string
		want        bool
	}{
		{config.NameProjectNotFound, config.NameProjectNotFound, true},
		{config.NameProjectNotFound, config.NameUnknown, false},
		{config.NameSyntax, config.NameSyntax, true},
		{config.NameSyntax, config.NameUnknown, true},
		{config.NameUnknown, config.NameSyntax, false},
	} {
		if got := config.IsNamed(x.name, x.asked); got != x.want {
			t.Errorf("%q asked for as %q: %v", x.name, x.asked, got)
		}
	}
}
