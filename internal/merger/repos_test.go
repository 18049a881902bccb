package merger_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/merger"
)

// What one fetch found serves everybody who asked before it began, and nobody who asks later or for more.
func TestSince(t *testing.T) {
	d := newDepot(t, 2)
	push := func() string {
		cmd := exec.Command("git", "--git-dir", d.dir, "-c", "user.name=a", "-c", "user.email=a@example.com",
			"commit-tree", "master^{tree}", "-p", "master", "-m", "more")
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSpace(string(out))
		if err := exec.Command("git", "--git-dir", d.dir, "update-ref", "refs/heads/master", id).Run(); err != nil {
			t.Fatal(err)
		}
		return id
	}
	forges, err := forge.NewSet(d)
	if err != nil {
		t.Fatal(err)
	}
	repos := merger.NewRepos(t.TempDir(), forges)
	t.Cleanup(repos.Close)
	master := func(since time.Time, refs ...string) string {
		t.Helper()
		_, tips, err := repos.Since(t.Context(), project, since, refs...)
		if err != nil {
			t.Fatal(err)
		}
		return tips["refs/heads/master"]
	}
	asked := time.Now()
	first := master(asked)
	second := push()
	if got := master(asked); got != first {
		t.Errorf("who asked at the same moment sees %s, and the fetch found %s", got, first)
	}
	if got := master(time.Now()); got != second {
		t.Errorf("who asks later sees %s, and master is at %s", got, second)
	}
	third := push()
	if got := master(asked, d.changes[0].Ref); got != third {
		t.Errorf("who needs a further ref sees %s, and master is at %s", got, third)
	}
	fourth := push()
	if got := master(asked, d.changes[0].Ref); got != third {
		t.Errorf("the ref is here, and master is %s, not %s", got, third)
	}
	if g, err := repos.Fresh(t.Context(), project); err != nil {
		t.Error(err)
	} else if has, err := g.Has(t.Context(), fourth); err != nil || !has {
		t.Errorf("fresh, and without %s: %v", fourth, err)
	}
}
