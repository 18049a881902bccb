package read

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/deps"
)

// python finds a Python with Ansible for tests: the one that make sets up, else that of ansible-playbook on
// PATH.
func python(t testing.TB) string {
	t.Helper()
	cache := os.Getenv("GOZER_CACHE")
	if cache == "" {
		if dir, err := os.UserCacheDir(); err == nil {
			cache = filepath.Join(dir, "gozer")
		}
	}
	if env, err := ansible.Find(filepath.Join(cache, "ansible"), "9"); err == nil {
		return env.Python()
	}
	if p, err := (Options{}).python(); err == nil {
		return p
	}
	t.Skip("no Ansible here: make ansible sets one up")
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
