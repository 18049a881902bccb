package sandbox_test

import (
	"os"
	"testing"

	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-node" {
		os.Exit(sandbox.NodeMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}
