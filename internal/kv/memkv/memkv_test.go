package memkv_test

import (
	"testing"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/kvtest"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
)

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t testing.TB) kv.Store {
		s := memkv.New(memkv.Config{})
		t.Cleanup(func() { s.Close() })
		return s
	})
}
