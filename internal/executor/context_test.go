package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// base is a playbook of the trusted project org/base.
func base(path string) job.Playbook {
	return job.Playbook{Source: job.Source{Project: proj("org/base"), Branch: "main", Trusted: true}, Path: path,
		Roles: []job.Role{{Project: proj("org/base"), Name: "base", Implicit: true}, {Project: proj("org/roles"), Name: "shared"}}}
}

func TestVariablesSecretsAndTrust(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.SiteVariables = map[string]any{"site": "here", "who": "site"} })
	w.repo("org/roles", map[string]string{"tasks/main.yaml": "- debug: {msg: 'bare role {{ greeting }}'}\n"})
	w.repo("org/base", map[string]string{
		"pre.yaml": local("    - include_role: {name: shared}\n" +
			"    - debug: {msg: 'templated={{ templated }} site={{ site }} who={{ who }} secret={{ login.password | length }} raw={{ unsafe_vars.templated }}'}\n" +
			"    - shell: 'echo the password is {{ login.password }}; echo {{ login.password }} | base64'\n" +
			"    - copy: {content: '{{ login.password }}', dest: '{{ zuul.executor.work_root }}/leak'}\n"),
		"roles/x/tasks/main.yaml": "- debug: {msg: x}\n",
	})
	w.repo("org/app", map[string]string{
		"run.yaml": local("    - debug: {msg: 'secret is {{ login is defined }} evil={{ evil }} inc={{ inc.a }}{{ inc.b }} parent={{ from_job }} {{ from_parent }}'}\n" +
			"    - debug: {msg: 'message={{ zuul.change_message }} legacy={{ (zuul | zuul_legacy_vars).ZUUL_CHANGE_IDS }}'}\n" +
			"    - debug: {msg: 'src {{ zuul.projects[\"example.com/org/app\"].checkout }} {{ zuul.project.src_dir }}'}\n" +
			"    - shell: 'cd {{ zuul.executor.work_root }}/{{ zuul.project.src_dir }} && git log --oneline origin/main..main | wc -l; git remote -v'\n"),
		"vars.yaml": "inc: {a: 1, b: 1}\n", "more.yaml": "inc: {b: 2}\n",
	})
	pre := base("pre.yaml")
	pre.Secrets = []job.Secret{{Var: "login", Name: "login", Owner: proj("org/base"), Data: map[string]any{"password": "correct-horse-{{ battery }}"}}}
	s := w.start(func(s *pipeline.Start) {
		s.Job.PreRun, s.Job.Run = []job.Playbook{pre}, []job.Playbook{play("run.yaml")}
		s.Job.Vars = map[string]any{"greeting": "hello", "templated": "{{ greeting }} world", "evil": "{{ 40 + 2 }}", "who": "job"}
		s.Job.IncludeVars = []job.IncludeVars{{Project: proj("org/app"), Path: "vars.yaml", Required: true}, {Project: proj("org/app"), Path: "more.yaml"}, {Project: proj("org/app"), Path: "none.yaml"}}
		s.ParentData = map[string]any{"from_job": "data", "zuul": map[string]any{"x": 1}}
		s.SecretData = []string{"blob-name"}
	})
	end, log := w.build(s)
	if end.Result != pipeline.Success {
		t.Fatalf("end %+v\n%s", end, log)
	}
	want(t, log, "bare role hello", "templated=hello world site=here who=site", "raw={{ greeting }} world", "the password is ********",
		"secret is False evil=42 inc=12 parent=data ********", "message=A change", "with {{ braces }}", "legacy=1,1", "src main src/example.com/org/app",
		"localhost | origin\tfile:///dev/null (fetch)", "PRE-RUN START: [trusted : example.com/org/base/pre.yaml@main]")
	for _, text := range []string{log, w.attached(s)} {
		if strings.Contains(text, "correct-horse") || strings.Contains(text, "Y29ycmVjdC1ob3JzZS") {
			t.Errorf("the secret shows:\n%s", text)
		}
	}
	var records []map[string]any
	if err := json.Unmarshal([]byte(w.attached(s)), &records); err != nil || len(records) != 2 || records[0]["phase"] != "pre" || records[0]["trusted"] != true {
		t.Errorf("job-output.json: %v %v", err, records)
	}
	left, err := os.ReadDir(filepath.Join(w.x.Dir, "builds"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestOutputArrivesWhileItIsWritten(t *testing.T) {
	w, ns := withNode(t, "controller")
	w.repo("org/app", map[string]string{"run.yaml": `
- hosts: all
  tasks:
    - name: Count slowly
      shell: |
        for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done
    - name: Loop
      shell: "sleep 0.6; echo item {{ item }}; sleep 0.4"
      loop: [a, b]
    - name: Both streams
      shell: "echo out; echo err >&2; sleep 0.8; echo more"
`})
	s := w.start(func(s *pipeline.Start) {
		s.Job.Run = []job.Playbook{play("run.yaml")}
		w.onNodes(ns, s)
		s.Job.AnsibleSplitStreams = true
	})
	end, log := w.build(s)
	if end.Result != pipeline.Success {
		t.Fatalf("end %+v\n%s", end, log)
	}
	at := func(what string) time.Time {
		if strings.Count(log, what) != 1 {
			t.Fatalf("%q is there %d times:\n%s", what, strings.Count(log, what), log)
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, what) {
				x, err := time.Parse("2006-01-02 15:04:05.000000", line[:26])
				if err != nil {
					t.Fatal(err)
				}
				return x
			}
		}
		return time.Time{}
	}
	if d := at("controller | stdout: line 6").Sub(at("controller | stdout: line 2")); d < 1500*time.Millisecond {
		t.Errorf("four lines came within %s:\n%s", d, log)
	}
	at("controller | stdout: item a")
	at("controller | stdout: item b")
	at("controller | stderr: err")
	at("controller | stdout: more")
}

func TestEscapes(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(secretFile, []byte("EXECUTOR-KEY"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EXECUTOR_SECRET", "EXECUTOR-ENV")
	w := newWorld(t, func(c *Config) { c.Limits.Processes = 120; c.Limits.Disk = 20 << 20; c.Limits.Memory = 600 << 20 })
	other := filepath.Join(w.x.Dir, "builds", "other-build")
	if err := os.MkdirAll(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "private"), []byte("OTHER-BUILD"), 0o644); err != nil {
		t.Fatal(err)
	}
	plugin := "import os\nfrom ansible.plugins.%s import %s\nopen('" + filepath.Join(w.dir, "escaped") + "', 'w').write('x')\n"
	shell := func(script string) map[string]string {
		return map[string]string{"run.yaml": local("    - shell: " + fmt.Sprintf("%q", script) + "\n")}
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		path  string
		// never is what may not show; result, where it is not empty, what the build must come to.
		never  string
		result pipeline.Result
	}{
		{name: "read a key of the executor", files: shell("cat " + secretFile), never: "EXECUTOR-KEY", result: pipeline.Failure},
		{name: "read root's home", files: shell("ls /root /home /etc/shadow"), never: ".bashrc", result: pipeline.Failure},
		{name: "read another build", files: shell("cat " + other + "/private; ls " + filepath.Dir(other) + " | wc -l"), never: "OTHER-BUILD"},
		{name: "read the executor's environment", files: shell("env; cat /proc/*/environ | tr '\\0' '\\n'"), never: "EXECUTOR-ENV"},
		{name: "see the executor's processes", files: shell("cat /proc/*/cmdline | tr '\\0' ' '"), never: "executor.test"},
		{name: "write into a repository that is only read", files: shell("echo x > {{ zuul.executor.work_root }}/../untrusted/x"), result: pipeline.Failure},
		{name: "write programs of the machine", files: shell("touch /usr/bin/gozer-was-here"), result: pipeline.Failure},
		{name: "a link to a playbook elsewhere", files: map[string]string{"run.yaml": "-> /etc/hosts"}, result: pipeline.ErrorResult},
		{name: "a path out of the repository", path: "../../../../etc/hosts", files: map[string]string{"x": ""}, result: pipeline.ErrorResult},
		{name: "a role that is a link to elsewhere", files: map[string]string{"run.yaml": local("    - include_role: {name: r}\n"), "roles/r": "-> " + filepath.Dir(secretFile)}, result: pipeline.Failure},
		{name: "variables that are a link to elsewhere", files: map[string]string{"run.yaml": local("    - include_vars: {file: v.yaml}\n"), "v.yaml": "-> " + secretFile}, never: "EXECUTOR-KEY", result: pipeline.Failure},
		{name: "a lookup plugin in the tree", files: map[string]string{"run.yaml": local("    - debug: {msg: \"{{ lookup('mine') }}\"}\n"),
			"lookup_plugins/mine.py": fmt.Sprintf(plugin, "lookup", "LookupBase") + "class LookupModule(LookupBase):\n  def run(self, *a, **k):\n    return [open('" + secretFile + "').read()]\n"}, never: "EXECUTOR-KEY", result: pipeline.Failure},
		{name: "a callback plugin in the tree", files: map[string]string{"run.yaml": local("    - command: 'true'\n"),
			"callback_plugins/mine.py": fmt.Sprintf(plugin, "callback", "CallbackBase") + "class CallbackModule(CallbackBase):\n  CALLBACK_NAME='mine'\n"}},
		{name: "a configuration in the repository", files: map[string]string{"run.yaml": local("    - command: echo fine\n"), "ansible.cfg": "[defaults]\nstdout_callback = minimal\n"}, result: pipeline.Success},
		{name: "file lookups", files: map[string]string{"run.yaml": local("    - debug: {msg: \"{{ lookup('file', '" + secretFile + "') }}\"}\n")}, never: "EXECUTOR-KEY", result: pipeline.Failure},
		{name: "results that are a link to elsewhere", files: shell("ln -s " + secretFile + " {{ zuul.executor.result_data_file }}"), never: "EXECUTOR-KEY"},
		{name: "results that are a pipe", files: shell("mkfifo {{ zuul.executor.result_data_file }}")},
		{name: "hooks in the workspace", files: shell("printf '#!/bin/sh\\ntouch " + filepath.Join(w.dir, "escaped") + "' > $HOME/src/example.com/org/app/.git/hooks/post-checkout; chmod +x $HOME/src/example.com/org/app/.git/hooks/*; true")},
		{name: "more user name spaces", files: shell("unshare -Ur true"), result: pipeline.Failure},
		{name: "mounts", files: shell("mount -t tmpfs x /tmp"), result: pipeline.Failure},
		{name: "a fork bomb", files: shell("bomb() { bomb | bomb & }; bomb; sleep 2; exit 1")},
		{name: "memory without end", files: shell("python3 -c 'x = bytearray(2000 << 20); print(\"TOO-MUCH\")'"), never: "| TOO-MUCH", result: pipeline.Failure},
		{name: "a full disk", files: shell("dd if=/dev/zero of=$HOME/big bs=1M count=60; sleep 30"), result: pipeline.DiskFull},
		{name: "processes that stay", files: shell("setsid sleep 4242 >/dev/null 2>&1 </dev/null &")},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			if err := os.RemoveAll(filepath.Join(w.dir, "trees", "org/app")); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(w.dir, "bare", "org")); err != nil {
				t.Fatal(err)
			}
			delete(w.repos, proj("org/app"))
			w.x.views.repos = map[change.Project]*git.Repo{}
			w.repo("org/app", c.files)
			path := c.path
			if path == "" {
				path = "run.yaml"
			}
			s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(path)}; s.Job.Timeout = 40 * time.Second })
			end, log := w.build(s)
			all := log + end.Detail + fmt.Sprint(end.Data) + fmt.Sprint(end.Warnings)
			if c.never != "" && strings.Contains(all, c.never) {
				t.Errorf("%q shows:\n%s", c.never, all)
			}
			if c.result != "" && end.Result != c.result {
				t.Errorf("result %s, want %s: %s\n%s", end.Result, c.result, end.Detail, log)
			}
			if _, err := os.Stat(filepath.Join(w.dir, "escaped")); err == nil {
				t.Error("code of the repository ran outside of the sandbox")
			}
			if p := processes("sleep\x004242"); len(p) > 0 {
				t.Errorf("processes are left: %v", p)
			}
		})
	}
}

// processes lists those whose arguments hold what.
func processes(what string) (out []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), what) {
			out = append(out, f)
		}
	}
	return out
}

func TestManyBuildsAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", map[string]string{"run.sh": "#!/bin/sh\necho hi\n"})
	done := make(chan pipeline.Result)
	const n = 40
	for range n {
		s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")} })
		go func() { done <- w.x.runBuild(context.Background(), s, Context{Tenant: "t"}).Result }()
	}
	for range n {
		if r := <-done; r != pipeline.Success {
			t.Errorf("result %s", r)
		}
	}
}
