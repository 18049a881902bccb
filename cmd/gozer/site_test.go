package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/forge/local"
	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	"github.com/gozer-ci/gozer/internal/settings"
)

// site is a running server with every role, a forge with projects config and app, and sandbox nodes; jobs
// are programs, so that no Ansible is needed.
type site struct {
	*testing.T
	set   *settings.Settings
	forge string
	admin string
	dir   string
}

const siteTenants = `- tenant:
    name: example
    source:
      local:
        config-projects:
          - config: {load-branch: main}
        untrusted-projects: [app]
`

const siteConfig = `- pipeline:
    name: check
    manager: independent
    trigger: {local: [{event: patchset-created}, {event: comment-added, comment: '(?i)recheck'}]}
    success: {local: {Verified: 1}}
    failure: {local: {Verified: -1}}
- job: {name: base, parent: null, attempts: 1}
`

// newSite starts one. app are the files of project app.
func newSite(t *testing.T, app map[string]string) *site {
	t.Helper()
	return newSiteWith(t, app, nil, allRoles)
}

// newSiteWith starts one with other settings, in some roles.
func newSiteWith(t *testing.T, app map[string]string, adjust func(*settings.Settings), roles []string) *site {
	t.Helper()
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	s := &site{T: t, dir: dir}
	tenants := filepath.Join(dir, "tenants.yaml")
	s.write(tenants, siteTenants, 0o600)
	s.set = &settings.Settings{
		Data: filepath.Join(dir, "data"), Listen: port.Own(t), Tenants: tenants,
		Connections: []settings.Connection{{Name: "local", Driver: "local", Projects: []string{"config", "app"}}},
		Providers:   []settings.Provider{{Name: "sandbox", Driver: "sandbox", Labels: []settings.Label{{Name: "small", Max: 4}}}},
		Ansible:     settings.Ansible{Dir: defaultAnsibleDir()},
	}
	if adjust != nil {
		adjust(s.set)
	}
	if err := s.set.Finish(dir); err != nil {
		t.Fatal(err)
	}
	p := s.serveRoles(s.set, roles)
	s.forge = strings.TrimSuffix(s.set.Root, "/") + strings.TrimSuffix(mountPoint("local"), "/")
	s.admin = p.forges.For("local").(interface{ AdminPassword() string }).AdminPassword()
	s.push("config", map[string]string{"zuul.yaml": siteConfig})
	s.push("app", app)
	return s
}

// serveRoles runs a server until the end of the test.
func (s *site) serveRoles(set *settings.Settings, roles []string) *process {
	s.Helper()
	ctx, stop := context.WithCancel(context.Background())
	log := newLogger(os.Stderr, settings.Log{Level: "error"})
	p, err := open(ctx, set, roles, log)
	if err != nil {
		stop()
		s.Fatal(err)
	}
	ended, started := make(chan error, 1), make(chan struct{})
	go func() { ended <- p.run(ctx, func() { close(started) }) }()
	s.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			s.Errorf("the server: %v", err)
		}
		p.close()
	})
	select {
	case <-started:
	case err := <-ended:
		ended <- nil
		s.Fatalf("the server ended: %v", err)
	}
	return p
}

func (s *site) write(path, text string, mode os.FileMode) {
	s.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.Fatal(err)
	}
}

// files writes files below a folder; programs are what begins with #!.
func (s *site) files(dir string, files map[string]string) {
	for name, text := range files {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		s.write(filepath.Join(dir, name), text, mode)
	}
}

func (s *site) git(dir string, args ...string) string {
	s.Helper()
	out, err := s.tryGit(dir, args...)
	if err != nil {
		s.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *site) tryGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=ann", "GIT_COMMITTER_EMAIL=ann@example.org", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "no_proxy=127.0.0.1")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// push puts files into the main branch of a project, past review.
func (s *site) push(project string, files map[string]string) {
	s.Helper()
	at := filepath.Join(s.dir, "seed", project)
	s.git(s.dir, "clone", "-q", s.forge+"/"+project, at)
	s.files(at, files)
	s.git(at, "add", "-A")
	s.git(at, "commit", "-qm", "begin")
	s.git(at, "push", "-q", strings.Replace(s.forge, "://", "://admin:"+s.admin+"@", 1)+"/a/"+project, "HEAD:main")
}

// propose pushes a change of project app for review and gives its number. Footers end its message.
func (s *site) propose(title string, files map[string]string, footers ...string) int {
	s.Helper()
	s.git(s.commit(title, files, footers...), "push", "-q", "origin", "HEAD:refs/for/main")
	list, err := (&local.Client{URL: s.forge, User: "ann"}).Changes(s.Context(), local.Filter{Status: local.StatusNew})
	if err != nil || len(list) == 0 {
		s.Fatalf("no change was made: %v", err)
	}
	return list[0].Number
}

// commit makes a change of project app, and gives the folder that it can be pushed from.
func (s *site) commit(title string, files map[string]string, footers ...string) string {
	s.Helper()
	at := filepath.Join(s.dir, "clone", strings.ReplaceAll(title, " ", "-"))
	s.git(s.dir, "clone", "-q", s.forge+"/app", at)
	s.files(at, files)
	s.git(at, "add", "-A")
	message := append(append([]string{title, ""}, footers...), fmt.Sprintf("Change-Id: I%x", sha1.Sum([]byte(title))))
	s.git(at, "commit", "-qm", strings.Join(message, "\n"))
	return at
}

// gozer runs a command and gives what it printed and its exit code.
func (s *site) gozer(args ...string) (string, int) {
	s.Helper()
	s.Setenv("GOZER_SERVER", strings.TrimSuffix(s.set.Root, "/"))
	s.Setenv("GOZER_FORGE", s.forge)
	var out bytes.Buffer
	code := runWith(s.Context(), args, strings.NewReader(""), &out, &out)
	return out.String(), code
}

// must is gozer where the exit code must be 0.
func (s *site) must(args ...string) string {
	s.Helper()
	out, code := s.gozer(args...)
	if code != 0 {
		s.Fatalf("gozer %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func (s *site) wait(what string, done func() bool) {
	s.Helper()
	for range 6000 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Fatalf("waited in vain for %s", what)
}

func (s *site) client() *api.Client {
	return api.New(api.ClientConfig{URL: s.set.Root, HTTP: &http.Client{}})
}

// report waits for the comment of Gozer on the newest patch set of a change, and until what it tells is in the history:
// that is written by somebody else than who comments.
func (s *site) report(number int) string {
	s.Helper()
	text := s.comment(number)
	query := url.Values{"change": {fmt.Sprint(number)}}
	s.wait(fmt.Sprintf("the history of change %d", number), func() bool {
		sets, err := s.client().Buildsets(s.Context(), "example", query)
		if err != nil {
			s.Fatal(err)
		}
		if len(sets) == 0 || slices.ContainsFunc(sets, func(b api.Buildset) bool { return b.Result == "" }) {
			return false
		}
		builds, err := s.client().Builds(s.Context(), "example", query)
		if err != nil {
			s.Fatal(err)
		}
		final := slices.DeleteFunc(builds, func(b api.Build) bool { return !b.Final })
		return len(final) >= strings.Count(text, "\n- ")
	})
	return text
}

// comment waits for the comment of Gozer on the newest patch set of a change.
func (s *site) comment(number int) string {
	s.Helper()
	var text string
	s.wait(fmt.Sprintf("a report on change %d", number), func() bool {
		d, err := (&local.Client{URL: s.forge, User: "ann"}).Change(s.Context(), number)
		if err != nil {
			s.Fatal(err)
		}
		for _, m := range d.Comments {
			if m.User == "gozer" && strings.Contains(m.Text, "Build ") {
				text = m.Text
			}
		}
		return text != ""
	})
	return text
}
