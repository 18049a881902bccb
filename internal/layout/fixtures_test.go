package layout_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
)

// connections are those of the conformance fixtures.
var connections = map[string]string{"gerrit": "gerrit", "github": "github", "smtp": "smtp", "outgoing_smtp": "smtp"}

func host(connection string) string {
	return map[string]string{"gerrit": "review.example.com", "github": "github.com"}[connection]
}

// fixtureRoot finds the conformance fixtures, which are no part of this repository.
func fixtureRoot(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..", "..", "shared", "conformance", "fixtures")
	if _, err := os.Stat(root); err != nil {
		t.Skip("the conformance fixtures are not here")
	}
	return root
}

// readTree reads the files of a folder, by path relative to it; nothing, where there is no folder.
func readTree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return fs.SkipAll
		}
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// parseTree parses the configuration in a tree as the given branch of a project.
func parseTree(p change.Project, o *config.TenantProject, branch string, tree map[string][]byte) layout.BranchInput {
	paths := make([]string, 0, len(tree))
	for path := range tree {
		paths = append(paths, path)
	}
	in := layout.BranchInput{Name: branch}
	var files []string
	files, in.Ignored = config.Select(paths, o.ExtraConfigPaths)
	for _, path := range files {
		src := config.Source{Project: p, Branch: branch, Path: path, Trusted: o.Trusted}
		in.Files = append(in.Files, config.Parse(src, tree[path], config.Options{Connections: connections}))
	}
	return in
}

// brokenFixtures have errors on purpose.
var brokenFixtures = map[string]bool{"broken": true, "broken-trusted": true, "change-queues": true,
	"job-update-broken": true}

func TestFixturesLoad(t *testing.T) {
	root := fixtureRoot(t)
	mains, err := filepath.Glob(filepath.Join(root, "config", "*", "main.yaml"))
	if err != nil || len(mains) == 0 {
		t.Fatalf("no fixtures in %s: %v", root, err)
	}
	for _, main := range mains {
		name := filepath.Base(filepath.Dir(main))
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(main)
			if err != nil {
				t.Fatal(err)
			}
			file := config.ParseTenants("main.yaml", data, config.Options{Connections: connections})
			if len(file.Problems) > 0 {
				t.Fatalf("tenant file: %v", file.Problems[0].Text)
			}
			errors := 0
			for _, tenant := range file.Tenants {
				l := layout.New(fixtureInput(t, filepath.Dir(main), file, tenant))
				for _, p := range l.Problems {
					if p.Severity != config.Error {
						continue
					}
					errors++
					if !brokenFixtures[name] {
						t.Errorf("%s: %s: %s: %s", tenant.Name, p.Where(), p.Name, p.Short)
					}
				}
			}
			if brokenFixtures[name] && errors == 0 {
				t.Error("it is broken on purpose, but loads")
			}
		})
	}
}

func fixtureInput(t *testing.T, dir string, file *config.TenantFile, tenant *config.Tenant) layout.Input {
	t.Helper()
	in := layout.Input{Tenant: tenant, GlobalSemaphores: map[string]int{}}
	for _, s := range file.GlobalSemaphores {
		in.GlobalSemaphores[s.Name] = s.Max
	}
	for _, o := range tenant.Projects {
		p := change.Project{Connection: o.Connection, Host: host(o.Connection), Name: o.Name}
		tree := readTree(t, filepath.Join(dir, "git", strings.ReplaceAll(o.Name, "/", "_")))
		in.Projects = append(in.Projects, layout.ProjectInput{Project: p, Options: o, Driver: o.Connection,
			Branches: []layout.BranchInput{parseTree(p, o, o.LoadBranch, tree)}})
	}
	return in
}

// brokenLayouts have errors on purpose, or because they are meant for a tenant with more projects.
var brokenLayouts = map[string]bool{"broken-template": true, "broken-double-gate": true,
	"circular-dependency-shared-queue-removed": true, "soft-dependencies-error": true}

func TestFixtureLayoutsLoad(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(fixtureRoot(t), "layouts", "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no layouts")
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			l := layout.New(layoutInput(data))
			errors, warnings := 0, 0
			for _, p := range l.Problems {
				if p.Severity == config.Warning {
					warnings++
					continue
				}
				errors++
				if !brokenLayouts[name] {
					t.Errorf("%s: %s", p.Where(), p.Short)
				}
			}
			switch {
			case brokenLayouts[name] && errors == 0,
				name == "broken-warnings" && (errors != 0 || warnings != 1),
				name == "pcre-deprecation" && warnings != 3,
				strings.HasPrefix(name, "broken-") && errors+warnings != 1:
				t.Errorf("%d errors, %d warnings: %v", errors, warnings, l.Problems)
			}
		})
	}
}

// layoutInput is the tenant that a single file of the fixtures stands for.
func layoutInput(data []byte) layout.Input {
	tenant := config.NewTenant("tenant-one")
	in := layout.Input{Tenant: tenant}
	add := func(name string, trusted bool, files ...*config.File) {
		o := config.NewTenantProject("gerrit", name, trusted)
		tenant.Projects = append(tenant.Projects, o)
		p := change.Project{Connection: "gerrit", Host: host("gerrit"), Name: name}
		in.Projects = append(in.Projects, layout.ProjectInput{Project: p, Options: o, Driver: "gerrit",
			Branches: []layout.BranchInput{{Name: "master", Files: files}}})
	}
	p := change.Project{Connection: "gerrit", Host: host("gerrit"), Name: "org/common-config"}
	f := config.Parse(config.Source{Project: p, Branch: "master", Path: "zuul.yaml", Trusted: true}, data,
		config.Options{Connections: connections})
	add(p.Name, true, f)
	seen := map[string]bool{p.Name: true}
	for _, st := range f.Projects {
		if st.Name != "" && st.Name[0] != '^' && !seen[st.Name] {
			seen[st.Name] = true
			add(st.Name, false)
		}
	}
	return in
}
