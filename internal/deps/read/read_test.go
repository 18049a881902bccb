package read

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gozer-ci/gozer/internal/ansible"
)

// python finds a Python with Ansible for tests: the one that $GOZER_DEPS_PYTHON names, the one that make sets up, else
// that of ansible-playbook on PATH.
func python(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("GOZER_DEPS_PYTHON"); p != "" {
		return p
	}
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
