package executor

import (
	"fmt"
	"net"
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

// What a job that means harm would try. Each attempt must come to nothing.
func TestEscapes(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "keys")
	sleep, mark := sleeper(4)
	if err := os.WriteFile(secretFile, []byte("EXECUTOR-KEY"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EXECUTOR_SECRET", "EXECUTOR-ENV")
	w := newWorld(t, func(c *Config) {
		c.Limits.Processes = 120
		c.Limits.Disk = 20 << 20
		c.Limits.Memory = 600 << 20
		c.Limits.Output = 8 << 20
	})
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
	storeAddress := ownService()
	if c, err := net.Dial("tcp", storeAddress.String()); err != nil {
		t.Fatalf("the service that jobs must not reach is not there at all: %v", err)
	} else {
		c.Close()
	}
	dial := func(to string) map[string]string {
		return shell("timeout 5 bash -c 'exec 3<>/dev/tcp/" + to + " && echo CONNECTED && cat <&3'")
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		path  string
		// secret is bound to the playbook as variable login.
		secret bool
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
		{name: "cloud metadata", files: dial("169.254.169.254/80"), never: "| CONNECTED", result: pipeline.Failure},
		{name: "the store", files: dial(strings.Replace(storeAddress.String(), ":", "/", 1)), never: "STORE-SAYS-HELLO", result: pipeline.Failure},
		{name: "the store, by a native program", path: "run.sh", files: map[string]string{"run.sh": "#!/bin/bash\nexec 3<>/dev/tcp/" + strings.Replace(storeAddress.String(), ":", "/", 1) + " && cat <&3\n"},
			never: "STORE-SAYS-HELLO", result: pipeline.Failure},
		{name: "the store, by a local connection of Ansible's", files: map[string]string{"run.yaml": "- hosts: localhost\n  connection: local\n  tasks:\n    - wait_for: {host: " +
			storeAddress.Addr().String() + ", port: " + fmt.Sprint(storeAddress.Port()) + ", timeout: 2}\n"}, result: pipeline.Failure},
		{name: "connection: local reads the executor", files: map[string]string{"run.yaml": "- hosts: localhost\n  connection: local\n  tasks:\n    - slurp: {src: " + secretFile + "}\n"},
			never: "RVhFQ1VUT1ItS0VZ", result: pipeline.Failure},
		{name: "a path out of the roles", files: map[string]string{"run.yaml": local("    - include_role: {name: ../../../../../../../.." + filepath.Dir(secretFile) + "}\n")}, result: pipeline.Failure},
		{name: "tasks of a path elsewhere", files: map[string]string{"run.yaml": local("    - include_tasks: " + secretFile + "\n")}, never: "EXECUTOR-KEY", result: pipeline.Failure},
		{name: "a vault password of the executor", files: map[string]string{"run.yaml": local("    - command: echo fine\n"), "ansible.cfg": "[defaults]\nvault_password_file = " + secretFile + "\n"},
			never: "EXECUTOR-KEY", result: pipeline.Success},
		{name: "a submodule of another repository", files: map[string]string{".gitmodules": "[submodule \"x\"]\n\tpath = x\n\turl = " + filepath.Dir(secretFile) + "\n\tupdate = !touch " + filepath.Join(w.dir, "escaped") + "\n",
			"run.yaml": local("    - shell: cd $HOME/src/example.com/org/app && git submodule update --init\n")}},
		{name: "a secret in an exception", secret: true, files: map[string]string{"run.yaml": local("    - debug: {msg: \"{{ login.password | from_json }}\"}\n")}, never: "correct-horse", result: pipeline.Failure},
		{name: "a secret in a failed result", secret: true, files: map[string]string{"run.yaml": local("    - fail: {msg: \"told: {{ login.quoted }}\"}\n")}, never: "hôrse", result: pipeline.Failure},
		{name: "a secret in a module's trace", secret: true, files: map[string]string{"run.yaml": local("    - shell: \"python3 -c 'raise ValueError(\\\"{{ login.password }}\\\")'\"\n")}, never: "correct-horse", result: pipeline.Failure},
		{name: "a secret on the disk", secret: true, files: shell("sleep 1; cat $ZUUL_JOBDIR/playbook_0/secrets.yaml | wc -c; mount | grep -c secrets.yaml")},
		{name: "output without end", files: shell("yes a-rather-long-line-of-output | head -c 40000000"), result: pipeline.Failure},
		{name: "file lookups", files: map[string]string{"run.yaml": local("    - debug: {msg: \"{{ lookup('file', '" + secretFile + "') }}\"}\n")}, never: "EXECUTOR-KEY", result: pipeline.Failure},
		{name: "results that are a link to elsewhere", files: shell("ln -s " + secretFile + " {{ zuul.executor.result_data_file }}"), never: "EXECUTOR-KEY"},
		{name: "results that are a pipe", files: shell("mkfifo {{ zuul.executor.result_data_file }}")},
		{name: "hooks in the workspace", files: shell("printf '#!/bin/sh\\ntouch " + filepath.Join(w.dir, "escaped") + "' > $HOME/src/example.com/org/app/.git/hooks/post-checkout; chmod +x $HOME/src/example.com/org/app/.git/hooks/*; true")},
		{name: "more user name spaces", files: shell("unshare -Ur true"), result: pipeline.Failure},
		{name: "mounts", files: shell("mount -t tmpfs x /tmp"), result: pipeline.Failure},
		{name: "a fork bomb", files: shell("bomb() { bomb | bomb & }; bomb; sleep 2; exit 1")},
		{name: "memory without end", files: shell("python3 -c 'x = bytearray(2000 << 20); print(\"TOO-MUCH\")'"), never: "| TOO-MUCH", result: pipeline.Failure},
		{name: "a full disk", files: shell("dd if=/dev/zero of=$HOME/big bs=1M count=60; sleep 500"), result: pipeline.DiskFull},
		{name: "a log without end", path: "run.sh", files: map[string]string{"run.sh": "#!/bin/sh\nrm -f $HOME/logs/job-output.*\nyes a-rather-long-line-of-output | head -c 30000000; sleep 500\n"}, result: pipeline.DiskFull},
		{name: "processes that stay", files: shell("setsid " + sleep + " >/dev/null 2>&1 </dev/null &")},
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
			s := w.start(func(s *pipeline.Start) {
				s.Job.Run, s.Job.Timeout = []job.Playbook{play(path)}, 10*time.Minute
				if c.secret {
					s.Job.Run[0].Secrets = []job.Secret{{Var: "login", Name: "login", Owner: proj("org/app"), Data: map[string]any{"password": "correct-horse-battery", "quoted": "hôrse\"\\battery\"é"}}}
				}
			})
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
			if err := filepath.WalkDir(w.x.Dir, func(path string, e os.DirEntry, err error) error {
				if err == nil && e.Type().IsRegular() {
					if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "correct-horse") {
						t.Errorf("the secret is on the disk, in %s", path)
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			if p := processes(mark); len(p) > 0 {
				t.Errorf("processes are left: %v", p)
			}
		})
	}
}
