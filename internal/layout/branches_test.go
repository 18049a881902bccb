package layout_test

import (
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
)

// Which branches are read when something is proposed on them, and which of them make it worth asking the forge again.
func TestBranches(t *testing.T) {
	tenant := config.NewTenant("t")
	add := func(name string, trusted bool) *config.TenantProject {
		o := config.NewTenantProject("gerrit", name, trusted)
		tenant.Projects = append(tenant.Projects, o)
		return o
	}
	add("config", true)
	add("plain", false).ExcludeBranches = []string{"old"}
	add("picked", false).IncludeBranches = []string{"main", "stable/.*"}
	add("dynamic", false).AlwaysDynamic = []string{"try/.*"}
	add("unread", false).Classes = nil
	add("protected", false)
	in := layout.Input{Tenant: tenant}
	for _, o := range tenant.Projects {
		in.Projects = append(in.Projects, layout.ProjectInput{
			Project: change.Project{Connection: "gerrit", Host: "h", Name: o.Name}, Options: o,
			ExcludeUnprotected: o.Name == "protected", Branches: []layout.BranchInput{{Name: "main"}, {Name: "master"}},
		})
	}
	l := layout.New(in)
	for _, x := range []struct {
		project, branch string
		reads, knows    bool
	}{
		{"config", "master", true, true},
		{"config", "main", false, true},
		{"config", "new", false, true},
		{"plain", "main", true, true},
		{"plain", "new", true, false},
		{"plain", "old", false, true},
		{"picked", "main", true, true},
		{"picked", "master", false, true},
		{"picked", "stable/1", true, false},
		{"dynamic", "try/1", true, true},
		{"dynamic", "new", true, false},
		{"unread", "new", true, true},
		{"protected", "main", true, true},
		{"protected", "new", false, false},
		{"elsewhere", "main", false, true},
	} {
		p := change.Project{Connection: "gerrit", Host: "h", Name: x.project}
		if got := l.Reads(p, x.branch); got != x.reads {
			t.Errorf("%s, branch %s: is read: %v", x.project, x.branch, got)
		}
		if got := l.Knows(p, x.branch); got != x.knows {
			t.Errorf("%s, branch %s: is known: %v", x.project, x.branch, got)
		}
	}
}
