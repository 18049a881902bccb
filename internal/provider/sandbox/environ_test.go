package sandbox_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

// Every session has what the operator put into the environment, also where it has line ends; no list of processes does.
func TestEnvironmentOfSessions(t *testing.T) {
	signer, key := newKey(t)
	password := fmt.Sprintf("hunter-%d", os.Getpid())
	p := open(t, sandbox.Config{Labels: []sandbox.Label{{Name: "small"}}, Environ: []string{"https_proxy=http://u:" + password + "@proxy.test:3128", "TWO=a\nb"}})
	i, err := p.Create(t.Context(), provider.Spec{ID: "one", Label: "small", Keys: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, dial(t, i.Access, "zuul", signer), `printf '%s|%s|%s' "$https_proxy" "$TWO" "$GOZER_NODE_ENVIRON"`); out != "http://u:"+password+"@proxy.test:3128|a\nb|" {
		t.Errorf("a session has %q", out)
	}
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(password)) {
			t.Errorf("%s tells the password", f)
		}
	}
}
