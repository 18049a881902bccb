package executor

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"gocloud.dev/blob/fileblob"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/provider"
	nodes "github.com/gozer-ci/gozer/internal/provider/sandbox"
	"github.com/gozer-ci/gozer/internal/sandbox"
	"github.com/gozer-ci/gozer/internal/secret"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-node" {
		os.Exit(nodes.NodeMain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "test-executor" {
		os.Exit(executorMain())
	}
	code := m.Run()
	for _, below := range []string{"*", "*/*", "*/*/*", "*/*/*/*", "*/*/*/*/*"} {
		left, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", below, ownGroup))
		for _, g := range left {
			_ = os.Remove(g) // which a group with processes is not
		}
	}
	os.Exit(code)
}

// ownGroup is the control group of this process's builds.
var ownGroup = fmt.Sprint("gozer-test-", os.Getpid())

// sleeper is a command that goes on for longer than any test, and its arguments as the kernel tells them. Nobody else
// on this machine sleeps as long.
func sleeper(n int) (command, mark string) {
	long := fmt.Sprint(n*10_000_000 + os.Getpid())
	return "sleep " + long, "sleep\x00" + long
}

// cache is where Ansible is installed once for all tests.
func cache(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"GOZER_TEST_CACHE", "GOZER_CACHE"} {
		if d := os.Getenv(name); d != "" {
			return d
		}
	}
	d, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(d, "gozer")
}

func installed(t testing.TB, version string) string {
	t.Helper()
	dir := filepath.Join(cache(t), "ansible")
	if _, err := ansible.Install(t.Context(), dir, version, nil, func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownService stands for a service of Gozer's own that jobs must not reach. It greets who does.
var ownService = sync.OnceValue(func() netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("STORE-SAYS-HELLO"))
			c.Close()
		}
	}()
	a, _ := l.Addr().(*net.TCPAddr)
	return a.AddrPort()
})

// world is an executor with repositories around it.
type world struct {
	t      testing.TB
	x      *Executor
	dir    string
	repos  map[change.Project]string
	nodes  []node.Node
	told   []pipeline.Input
	mu     sync.Mutex
	states map[string]map[string]string
	secret map[string]any
	held   []Release
}

func newWorld(t testing.TB, alter func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), repos: map[change.Project]string{}, states: map[string]map[string]string{}}
	bucket, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bucket.Close() })
	lg := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	logs, err := joblog.New(joblog.Config{Dir: filepath.Join(w.dir, "logs"), Bucket: bucket, Log: lg})
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.New(t.Context(), sandbox.Config{Cgroup: ownGroup, Log: lg,
		Denied: sandbox.Denied{Networks: sandbox.Metadata, Services: []netip.AddrPort{ownService()}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	// What else is on this machine is no reason to take no builds, nor to give one up.
	c := Config{ID: "x1", Host: "x1.example.com", Dir: filepath.Join(w.dir, "x"), Ansible: Ansible{Dir: installed(t, "9")},
		Sandbox: box, Logs: logs, Sources: w, Nodes: w, Secrets: w, Log: lg, Blob: w.blob, Sensors: Sensors{Disk: -1, Inodes: -1, Memory: -1},
		Limits: Limits{Setup: 10 * time.Minute}}
	if alter != nil {
		alter(&c)
	}
	if w.x, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.x.Close() })
	return w
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (w *world) blob(_ context.Context, _ string, v any) error {
	out := v.(*states)
	*out = states{}
	for p, rs := range w.states {
		(*out)[p] = rs
	}
	return nil
}

// The seams.

func (w *world) Path(p change.Project) string { return w.repos[p] }

func (w *world) Fresh(_ context.Context, p change.Project, _ ...string) (*git.Repo, error) {
	return git.Open(git.Config{Dir: w.repos[p]})
}

func (w *world) Use(context.Context, []string, pipeline.BuildID) ([]node.Node, error) {
	return w.nodes, nil
}

func (w *world) Release(_ context.Context, _ []string, _ pipeline.BuildID, how Release) error {
	w.held = append(w.held, how)
	return nil
}

func (w *world) Open(_ context.Context, s job.Secret) (any, error) { return opened(s.Data), nil }

// opened is data with what stands for encrypted leaves in it open.
func opened(data any) any {
	m, ok := data.(map[string]any)
	if !ok {
		return data
	}
	if chunks, ok := secret.Encrypted(m); ok {
		return strings.Join(chunks, "")
	}
	out := map[string]any{}
	for k, v := range m {
		out[k] = opened(v)
	}
	return out
}
func (w *world) Unseal(_ context.Context, _, name string) (map[string]any, error) {
	return map[string]any{"from_parent": name}, nil
}
func (w *world) Seal(_ context.Context, _ string, data map[string]any) (string, error) {
	w.secret = data
	return "sealed", nil
}
func (w *world) SSHKey(context.Context, change.Project) ([]byte, error) { return nil, nil }

// Repositories.

func proj(name string) change.Project {
	return change.Project{Connection: "git", Host: "example.com", Name: name}
}

// repo makes a bare repository whose branch main has these files, and a branch head that is returned.
func (w *world) repo(name string, files map[string]string) string {
	w.t.Helper()
	p := proj(name)
	tree := filepath.Join(w.dir, "trees", name)
	for path, text := range files {
		f := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			w.t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(target, f); err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(f, []byte(text), mode); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, ok := w.repos[p]; !ok {
		w.git(tree, "init", "-q", "-b", "main")
	}
	w.git(tree, "add", "-A")
	w.git(tree, "commit", "-q", "--allow-empty", "-m", "files of "+name)
	bare := filepath.Join(w.dir, "bare", name+".git")
	if w.repos[p] == "" {
		w.git(w.dir, "clone", "-q", "--bare", tree, bare)
	}
	w.git(tree, "push", "-q", "--force", bare, "main")
	w.repos[p] = bare
	head := strings.TrimSpace(w.git(tree, "rev-parse", "HEAD"))
	w.states[p.Canonical()] = map[string]string{"refs/heads/main": head}
	return head
}

func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=T", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=T", "GIT_COMMITTER_EMAIL=t@example.com", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// start is a build of a job for change 1,1 of org/app, whose playbooks come from there.
func (w *world) start(alter func(*pipeline.Start)) *pipeline.Start {
	c := &change.Change{Kind: change.KindChange, Project: proj("org/app"), Branch: "main", Ref: "refs/changes/01/1/1", Number: "1", Patchset: "1",
		Message: "A change\n\nwith {{ braces }}", URL: "https://example.com/1"}
	head := w.states[proj("org/app").Canonical()]["refs/heads/main"]
	s := &pipeline.Start{
		Item: "i", Buildset: "b", Build: pipeline.BuildID(uuid.NewString()), Attempt: 1,
		Job:     &job.Job{ID: "test", Name: "test", Voting: true, Attempts: 3, Refs: []change.Key{c.Key()}},
		Changes: []*change.Change{c}, Own: []change.Key{c.Key()}, Refs: []change.Key{c.Key()},
		Merge: &pipeline.MergeResult{RepoState: "state", Commits: []pipeline.Commit{{Project: c.Project, Branch: "main", Commit: head, Base: head}}},
		Event: event.Ref{ID: "e1"},
	}
	if alter != nil {
		alter(s)
	}
	return s
}

// play is a playbook of org/app.
func play(path string) job.Playbook {
	return job.Playbook{Source: job.Source{Project: proj("org/app"), Branch: "main"}, Path: path,
		Roles: []job.Role{{Project: proj("org/app"), Name: "app", Implicit: true}}}
}

// build runs a build and gives its end and its log.
func (w *world) build(s *pipeline.Start) (*pipeline.BuildEnded, string) {
	w.t.Helper()
	resume := make(chan struct{})
	end := w.x.runBuild(w.t.Context(), s, Context{Tenant: "t", Pipeline: "check", Resume: resume, Tell: func(_ context.Context, in ...pipeline.Input) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, in...)
		for _, i := range in {
			if _, ok := i.(*pipeline.BuildPaused); ok {
				close(resume)
			}
		}
		return nil
	}})
	return end, w.logOf(s)
}

func (w *world) logOf(s *pipeline.Start) string {
	w.t.Helper()
	r, err := w.x.Logs.Open(w.t.Context(), string(s.Build))
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	lines, err := r.ReadLines(w.t.Context(), 0, 1e6)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func (w *world) attached(s *pipeline.Start) string {
	w.t.Helper()
	r, err := w.x.Logs.Attached(w.t.Context(), string(s.Build), "job-output.json")
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// withNode gives the world a sandbox node and the executor the key to it.
func withNode(t testing.TB, names ...string) (*world, job.Nodeset) {
	t.Helper()
	return withNodes(t, false, names...)
}

// withNodes makes nodes on which zuul is root, or a user of his own where that can be.
func withNodes(t testing.TB, ownUser bool, names ...string) (*world, job.Nodeset) {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.Keys = [][]byte{pem.EncodeToMemory(block)} })
	p, err := nodes.Open(t.Context(), nodes.Config{Name: "local", Folder: filepath.Join(w.dir, "nodes"), Labels: []nodes.Label{{Name: "small", OwnUser: ownUser && os.Geteuid() == 0}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	var ns job.Nodeset
	for i, name := range names {
		in, err := p.Create(t.Context(), provider.Spec{ID: fmt.Sprint("n", i), Label: "small", Keys: []string{string(gossh.MarshalAuthorizedKey(signer.PublicKey()))}})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the node is up", func() bool {
			if in, err = p.Describe(t.Context(), in.ID); err != nil {
				t.Fatal(err)
			}
			return in.Up
		})
		w.nodes = append(w.nodes, node.Node{ID: in.ID, Label: "small", Provider: "local", Access: in.Access})
		ns.Nodes = append(ns.Nodes, job.Node{Names: []string{name}, Label: "small"})
	}
	return w, ns
}

func (w *world) onNodes(ns job.Nodeset, s *pipeline.Start) {
	s.Nodeset, s.Job.Nodeset = ns, ns
	for _, n := range w.nodes {
		s.Nodes = append(s.Nodes, n.ID)
	}
}

// eventually waits until done, for two minutes at most.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in two minutes: %s", what)
		}
	}
}

// says waits until the log of a build that is at work has a text.
func (w *world) says(s *pipeline.Start, text string) {
	w.t.Helper()
	eventually(w.t, "the log says "+text, func() bool {
		r, err := w.x.Logs.Open(w.t.Context(), string(s.Build))
		if err != nil {
			return false // it has not begun
		}
		defer r.Close()
		lines, err := r.ReadLines(w.t.Context(), 0, 1e6)
		return err == nil && strings.Contains(strings.Join(lines, "\n"), text)
	})
}

func want(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("lacks %q:\n%s", p, text)
		}
	}
}

func TestAPlaybookRunsOnANodeOverSSH(t *testing.T) {
	w, ns := withNode(t, "controller")
	w.repo("org/app", map[string]string{"run.yaml": `
- hosts: all
  tasks:
    - name: Say something
      command: sh -c 'echo hello from $(hostname); echo to stderr >&2'
    - name: Use a role
      include_role: {name: greet}
`, "roles/greet/tasks/main.yaml": `
- debug: {msg: "this is {{ zuul.job }} of {{ zuul.project.name }}"}
`})
	s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.yaml")}; w.onNodes(ns, s) })
	end, log := w.build(s)
	if end.Result != pipeline.Success {
		t.Errorf("result %s, %s", end.Result, end.Detail)
	}
	want(t, log, "Job console starting", "RUN START: [untrusted : example.com/org/app/run.yaml@main]", "PLAY [all]", "TASK [Say something]",
		"controller | hello from ", "controller | to stderr", "controller | ok: Runtime: 0:00:00", "this is test of org/app", "PLAY RECAP",
		"RUN END RESULT_NORMAL: [untrusted : example.com/org/app/run.yaml@main]")
	if t.Failed() {
		t.Log(log)
	}
}

func TestAProgramRunsAsPlaybook(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", map[string]string{"tools/test.sh": "#!/bin/sh\necho in $(pwd) for $ZUUL_PROJECT\necho '{\"data\": {\"answer\": 42}}' > $GOZER_RESULT\nexit $CODE", "tools/fail.sh": "#!/bin/sh\necho broken\nexit 3\n"})
	s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("tools/test.sh")} })
	end, log := w.build(s)
	if end.Result != pipeline.Success || fmt.Sprint(end.Data["answer"]) != "42" {
		t.Errorf("end %+v", end)
	}
	want(t, log, "localhost | in ", "work/src/example.com/org/app for org/app", "localhost | ok: exit code 0")
	s = w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("tools/fail.sh")} })
	end, _ = w.build(s)
	if end.Result != pipeline.Failure {
		t.Errorf("end %+v", end)
	}
	want(t, end.Detail, `Task "tools/fail.sh" failed on localhost: exit code 3`, "localhost | broken")
}

func TestAProgramRunsOnANode(t *testing.T) {
	w, ns := withNode(t, "controller")
	w.repo("org/app", map[string]string{
		"link":    "-> test.sh",
		"test.sh": "#!/bin/sh\necho on $(hostname) job $GOZER_JOB\necho err >&2\ngit status --short --branch; readlink link\necho '{\"zuul\": {\"warnings\": [\"careful\"]}}' > $GOZER_RESULT\n",
		"slow.sh": "#!/bin/sh\nsleep 1000 & echo $! > /tmp/pid; echo started; wait\n", "check.sh": "#!/bin/sh\n! kill -0 $(cat /tmp/pid)\n"})
	s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("test.sh")}; w.onNodes(ns, s) })
	end, log := w.build(s)
	if end.Result != pipeline.Success || len(end.Warnings) != 1 {
		t.Errorf("end %+v\n%s", end, log)
	}
	want(t, log, "controller | on ", "job test", "controller | err", "controller | ## main", "controller | test.sh")
	s = w.start(func(s *pipeline.Start) {
		s.Job.Run, s.Job.Timeout = []job.Playbook{play("slow.sh")}, 5*time.Second // long enough to start
		s.Job.PostRun = []job.Playbook{play("check.sh")}
		w.onNodes(ns, s)
	})
	end, log = w.build(s)
	if end.Result != pipeline.TimedOut {
		t.Errorf("end %+v\n%s", end, log)
	}
	want(t, log, "controller | started", "RUN END RESULT_TIMED_OUT", "controller | ok: exit code 0")
}
