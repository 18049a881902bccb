package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gozer-ci/gozer/internal/gatetest"
	"github.com/gozer-ci/gozer/internal/gatetest/conformance"
)

// TestOwn replays the project's own scenarios.
func TestOwn(t *testing.T) { replay(t, filepath.Join("..", "testdata")) }

// TestShared replays the scenarios beside the project, where they are there.
func TestShared(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	dir := filepath.Join("..", "..", "..", "..", "shared", "conformance")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s is not there", dir)
	}
	replay(t, dir)
}

func replay(t *testing.T, dir string) {
	t.Helper()
	excused, err := conformance.ReadExcused(gatetest.Excused)
	if err != nil {
		t.Fatal(err)
	}
	results, err := conformance.Replay(t.Context(), conformance.Options{Dir: dir, Excused: excused})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Run(r.Name, func(t *testing.T) {
			switch {
			case r.Passed && r.Excuse != "":
				t.Errorf("it passes: take it out of excused.txt")
			case !r.Passed && r.Excuse != "":
				t.Skipf("excused: %s (%s: %s)", r.Excuse, r.Where, r.Reason)
			case !r.Passed:
				t.Errorf("%s: %s", r.Where, r.Reason)
			}
		})
	}
}
