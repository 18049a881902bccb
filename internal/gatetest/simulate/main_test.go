package simulate

import (
	"os"
	"runtime/debug"
	"testing"
)

// Runs are many and short-lived: collecting less often makes them twice as fast.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
