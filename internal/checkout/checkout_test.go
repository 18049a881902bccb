package checkout

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemoteName(t *testing.T) {
	for raw, want := range map[string][2]string{
		"https://opendev.org/zuul/zuul-jobs":             {"opendev.org", "zuul/zuul-jobs"},
		"https://ann@review.example.org/a/org/web.git":   {"review.example.org", "org/web"},
		"ssh://ann@review.example.org:29418/org/web":     {"review.example.org", "org/web"},
		"git@github.com:org/web.git":                     {"github.com", "org/web"},
		"/srv/git/org/web.git":                           {"", ""},
		"../web":                                         {"", ""},
		"C:/repos/web":                                   {"", ""},
		"http://127.0.0.1:8090/forge/local/opendev/conf": {"127.0.0.1", "forge/local/opendev/conf"},
	} {
		host, name := remoteName(raw)
		if got := [2]string{host, name}; got != want {
			t.Errorf("%s: %v, want %v", raw, got, want)
		}
	}
}

func TestCalledBy(t *testing.T) {
	called := []string{"org/web", "common-config", "org/lib", "other/lib", "org/a/b"}
	for folder, want := range map[string]string{
		"web": "org/web", "src/org/web": "org/web", "git/common-config": "common-config", "lib": "", "git/org_web": "org/web",
		"org/lib": "org/lib", "nothing": "", "b": "org/a/b",
	} {
		if got := calledBy(folder, called); got != want {
			t.Errorf("%s: %q, want %q", folder, got, want)
		}
	}
}

func TestGuessDriver(t *testing.T) {
	texts := map[string]string{
		"gerrit": "- pipeline:\n    trigger: {review: [{event: patchset-created}]}\n    success: {review: {Verified: 1}, post: {to: a@example.org}}\n",
		"github": "- pipeline:\n    trigger:\n      review:\n        - event: pull_request\n    success: {review: {status: success}}\n",
	}
	for want, text := range texts {
		votes := map[string]map[string]int{}
		survey([]byte(text), votes)
		if got := guessDriver("review", votes["review"]); got != want {
			t.Errorf("%s: %q", want, got)
		}
		if want == "gerrit" {
			if got := guessDriver("post", votes["post"]); got != "smtp" {
				t.Errorf("post: %q", got)
			}
		}
	}
	for name, want := range map[string]string{"github": "github", "my-gitlab": "gitlab", "gerrit2": "gerrit", "whatever": "gerrit", "smtp": "smtp"} {
		if got := guessDriver(name, nil); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, hostile := range []string{"- pipeline: [", "pipeline: x", "- pipeline: {trigger: {a: *b}}", "- pipeline: 5", "\x00"} {
		survey([]byte(hostile), map[string]map[string]int{}) // must not panic
	}
}

// write makes the files of a test below a folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const standing = "- pipeline: {name: check, manager: independent}\n- job: {name: base, parent: null, run: run.yaml}\n"

func TestGuessedTenant(t *testing.T) {
	dir := write(t, map[string]string{
		"src/config/zuul.yaml":        standing + "- project: {name: org/web, check: {jobs: [unit]}}\n",
		"src/web/.zuul.d/jobs.yaml":   "- job: {name: unit}\n",
		"src/web/.zuul.d/notes.txt":   "no configuration",
		"src/docs/README":             "no repository",
		"src/deep/er/lib/zuul.yaml":   "- job: {name: lib}\n",
		"src/.hidden/x/zuul.yaml":     "- job: {name: hidden}\n",
		"src/empty/zuul.yaml":         "",
		"src/empty/.zuul.yaml":        "- job: {name: second}\n",
		"src/linked/zuul.d/real.yaml": "- job: {name: real}\n",
	})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "src/linked/zuul.d/link.yaml")); err != nil {
		t.Fatal(err)
	}
	s, err := Load(context.Background(), Options{Paths: []string{filepath.Join(dir, "src")}})
	if err != nil {
		t.Fatal(err)
	}
	tenant := s.Tenants[0]
	got := map[string]bool{}
	for _, p := range tenant.Projects {
		got[p.Name] = p.Trusted
	}
	want := map[string]bool{"config": true, "org/web": false, "deep/er/lib": false, "empty": false, "linked": false}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"base", "lib", "second", "real", "unit"}, tenant.Layout.Jobs()); d != "" {
		t.Error(d)
	}
	if len(tenant.Layout.Problems) > 0 || len(tenant.Elsewhere) > 0 {
		t.Errorf("%v %v", tenant.Layout.Problems, tenant.Elsewhere)
	}
	src := tenant.Layout.Variants("unit")[0].File.Source
	if at := s.Path(src); !strings.HasSuffix(at, "src/web/.zuul.d/jobs.yaml") {
		t.Errorf("the file is at %s", at)
	}
	if p, ok := tenant.Find("web"); !ok || p.Name != "org/web" {
		t.Errorf("found %v", p)
	}
}

// What is far too large is refused by the parser, and not read into memory before.
func TestHugeFile(t *testing.T) {
	dir := write(t, map[string]string{"zuul.yaml": ""})
	if err := os.Truncate(filepath.Join(dir, "zuul.yaml"), 1<<40); err != nil {
		t.Skip("no sparse files here")
	}
	s, err := Load(context.Background(), Options{Paths: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	p := s.Tenants[0].Layout.Problems
	if len(p) != 1 || !strings.Contains(p[0].Short, "more than") {
		t.Errorf("%v", p)
	}
}

func TestSpecs(t *testing.T) {
	dir := write(t, map[string]string{"a@b/zuul.yaml": standing, "c/zuul.yaml": standing, "file": ""})
	t.Chdir(dir)
	for text, want := range map[string]spec{
		"a@b": {dir: "a@b"}, "c@HEAD~1": {dir: "c", rev: "HEAD~1"}, "org/x=c": {name: "org/x", dir: "c"},
		"org/x=c@v1": {name: "org/x", dir: "c", rev: "v1"}, "@HEAD": {dir: ".", rev: "HEAD"}, "a@b@main": {dir: "a@b", rev: "main"},
	} {
		got, err := parseSpec(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"nowhere", "file", "x=nowhere", ""} {
		if got, err := parseSpec(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// A bare repository is read, also by somebody whose git takes none that it was not told of.
func TestBareRepositoriesThatAreNamed(t *testing.T) {
	dir := write(t, map[string]string{"work/zuul.yaml": standing})
	config := filepath.Join(dir, "gitconfig")
	if err := os.WriteFile(config, []byte("[safe]\n\tbareRepository = explicit\n[user]\n\tname = a\n\temail = a@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	work, bare := filepath.Join(dir, "work"), filepath.Join(dir, "bare", "config.git")
	for _, args := range [][]string{{"-C", work, "init", "-q", "-b", "main"}, {"-C", work, "add", "-A"}, {"-C", work, "commit", "-qm", "one"}, {"clone", "-q", "--bare", work, bare}} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	for _, path := range []string{bare, bare + "@main"} {
		s, err := Load(t.Context(), Options{Paths: []string{path}})
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if jobs := s.Tenants[0].Layout.Jobs(); !cmp.Equal(jobs, []string{"base"}) {
			t.Errorf("%s: jobs %v", path, jobs)
		}
	}
}
