package read

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/gozer-ci/gozer/internal/deps"
)

// python finds a Python with Ansible for tests: the one that the environment names, or that of
// ansible-playbook on PATH, or the one that make sets up.
func python(t *testing.T) string {
	t.Helper()
	for _, p := range []string{os.Getenv("GOZER_TEST_PYTHON"), "/tmp/av/bin/python"} {
		if p != "" && exec.Command(p, "-c", "import ansible").Run() == nil {
			return p
		}
	}
	if p, err := (Options{}).python(); err == nil {
		return p
	}
	t.Skip("no Ansible here: set GOZER_TEST_PYTHON to a Python that has ansible-core")
	return ""
}

func example(t *testing.T) *deps.Analysis {
	t.Helper()
	r, err := Repo(context.Background(), Options{Path: "../../../examples/opendev/system-config", Python: python(t)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := deps.Analyse(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestX(t *testing.T) {
	a := example(t)
	for _, e := range a.Edges {
		t.Log(e.Kind, e.First, "->", e.Then, e)
	}
	for _, f := range a.Audit(deps.AuditOptions{}).Findings {
		t.Log(f.Level, f.Rule, f.Severity, f.Text, f.At)
	}
	for _, u := range a.Unknown {
		t.Log(u)
	}
	for _, u := range a.Problems {
		t.Log(u)
	}
	t.Log(a.Setup())
}
