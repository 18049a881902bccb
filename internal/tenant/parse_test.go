package tenant

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/forge/fake"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/store"
)

func newService(tb testing.TB, projects int) *Service {
	tb.Helper()
	m := memkv.New(memkv.Config{})
	tb.Cleanup(func() { _ = m.Close() })
	st, err := store.Open(tb.Context(), store.Config{KV: m})
	if err != nil {
		tb.Fatal(err)
	}
	forges, err := forge.NewSet(fake.New(fake.Config{Name: "gerrit", Host: "example.org", Repositories: fake.NewRepositories(tb.TempDir())}))
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("- tenant:\n    name: t\n    source:\n      gerrit:\n        untrusted-projects:\n")
	for i := range projects {
		fmt.Fprintf(&b, "          - p%d\n", i)
	}
	file := filepath.Join(tb.TempDir(), "main.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	s, err := New(Config{Store: st, Forges: forges, File: file})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// sources are n projects with a file each; the file of the one that changed tells so.
func sources(tb testing.TB, s *Service, n, changed, version int) *Sources {
	tb.Helper()
	text, err := os.ReadFile(s.path)
	if err != nil {
		tb.Fatal(err)
	}
	src := &Sources{File: string(text)}
	for i := range n {
		v := 0
		if i == changed {
			v = version
		}
		blob, err := s.store.PutJSON(tb.Context(), map[string]string{"zuul.yaml": fmt.Sprintf("- job: {name: j%d, timeout: %d}\n", i, v+1)})
		if err != nil {
			tb.Fatal(err)
		}
		src.Projects = append(src.Projects, ProjectSources{
			Project:  change.Project{Connection: "gerrit", Host: "example.org", Name: fmt.Sprintf("p%d", i)},
			Branches: []BranchSources{{Name: "master", Files: blob}}})
	}
	return src
}

// What did not change is parsed once, whatever layouts it is in; the same sources give the same identity, others give
// another.
func TestOnlyWhatChangedIsParsed(t *testing.T) {
	s := newService(t, 5)
	build := func(changed, version int) *layout.Layout {
		t.Helper()
		l, err := s.build(t.Context(), "t", sources(t, s, 5, changed, version))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	file := func(l *layout.Layout, job string) *config.Content { return l.Variants(job)[0].File.Content }
	one, two, again := build(0, 0), build(3, 1), build(0, 0)
	if one.ID == two.ID || one.ID != again.ID {
		t.Errorf("identities %s %s %s", one.ID, two.ID, again.ID)
	}
	for i := range 5 {
		name := fmt.Sprintf("j%d", i)
		if same := file(one, name) == file(two, name); same != (i != 3) {
			t.Errorf("%s: parsed once is %v", name, same)
		}
		if file(one, name) != file(again, name) {
			t.Errorf("%s was parsed again", name)
		}
	}
}

// The parsed files that nobody asks for do not pile up.
func TestParsedFilesAreForgotten(t *testing.T) {
	s := newService(t, 1)
	kept := s.content("- job: {name: kept}\n")
	for i := range 80 {
		s.parsedBytes += 1 << 20 // as if the text that follows were so much longer
		s.content(fmt.Sprintf("- job: {name: j%d}\n", i))
		if s.content("- job: {name: kept}\n") != kept {
			t.Fatalf("what is asked for all the time was forgotten after %d files", i)
		}
	}
	if n := len(s.parsed) + len(s.unasked); n > 66 {
		t.Errorf("%d files of a megabyte are kept", n)
	}
}

// OneFile: a branch of one of 2,000 projects moved; sources to layout.
func BenchmarkOneFile(b *testing.B) {
	s := newService(b, 2000)
	src := sources(b, s, 2000, -1, 0)
	if _, err := s.build(b.Context(), "t", src); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		blob, err := s.store.PutJSON(b.Context(), map[string]string{"zuul.yaml": fmt.Sprintf("- job: {name: new, timeout: %d}\n", n)})
		if err != nil {
			b.Fatal(err)
		}
		src.Projects[1000].Branches[0].Files = blob
		if _, err := s.build(b.Context(), "t", src); err != nil {
			b.Fatal(err)
		}
	}
}
