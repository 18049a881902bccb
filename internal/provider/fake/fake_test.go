package fake_test

import (
	"testing"

	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/fake"
	"github.com/gozer-ci/gozer/internal/provider/providertest"
)

func TestPromises(t *testing.T) {
	providertest.Run(t, providertest.Config{
		Label: "small", Max: 3,
		New: func(*testing.T) provider.Provider {
			return fake.New("fake", provider.Label{Name: "small", Max: 3})
		},
	})
}
