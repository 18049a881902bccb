package executor

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// files reads a tree of testdata as repo takes it.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		out[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The contract that shared roles rely on: a base job puts a key of the build and the sources on the node,
// by rsync and by git over SSH, and brings back and keeps what the job left; each with the modules,
// variables and files that such roles use.
func TestTheContractOfSharedRoles(t *testing.T) {
	w, ns := withNode(t, "controller")
	w.repo("org/base", files(t, "testdata/contract/base"))
	w.repo("org/app", files(t, "testdata/contract/app"))
	for _, version := range []string{"9", "8"} {
		t.Run("ansible "+version, func(t *testing.T) {
			if version != "9" && testing.Short() {
				t.Skip("the default version only")
			}
			installed(t, version)
			w.t = t
			s := w.start(func(s *pipeline.Start) {
				s.Job.AnsibleVersion = version
				s.Job.PreRun, s.Job.Run, s.Job.PostRun = []job.Playbook{base("playbooks/pre.yaml")}, []job.Playbook{play("run.yaml")}, []job.Playbook{base("playbooks/post.yaml")}
				for _, ps := range [][]job.Playbook{s.Job.PreRun, s.Job.PostRun} {
					ps[0].Roles = ps[0].Roles[:1]
				}
				s.Job.Vars = map[string]any{"greeting": "hello", "key_file": "{{ zuul.executor.work_root }}/build_key"}
				w.onNodes(ns, s)
			})
			end, log := w.build(s)
			if end.Result != pipeline.Success {
				t.Fatalf("result %s: %s\n%s", end.Result, end.Detail, log)
			}
			want(t, log, "TASK [put-sources : Copy the sources with rsync]", "LOOP [mirror-sources : Push every ref over SSH]",
				"controller | hello from mirror", " | before the nodes")
			returned, _ := end.Data["zuul"].(map[string]any)
			if url, _ := returned["log_url"].(string); url != "https://logs.example.com/1/1/1/check/test/"+string(s.Build)[:7]+"/" {
				t.Errorf("returned %v", end.Data)
			}
			if end.Data["told"] != "told one two" {
				t.Errorf("returned %v", end.Data)
			}
		})
	}
}

// A whole site: several nodes that reach each other, a server for logs whose key is a secret, a base job that
// takes root away, and a proposed playbook with plugins of its own.
func TestAJobOfAWholeSite(t *testing.T) {
	for _, version := range []string{"9", "8"} {
		t.Run("ansible "+version, func(t *testing.T) {
			if version != "9" && testing.Short() {
				t.Skip("the default version only")
			}
			installed(t, version)
			w, ns := withNodes(t, version == "9", "one", "two") // the job leaves them without root
			ns.Groups = []job.Group{{Name: "peers", Nodes: []string{"two"}}}
			w.repo("org/base", files(t, "testdata/site/base"))
			w.repo("org/app", files(t, "testdata/site/app"))
			s := w.start(func(s *pipeline.Start) {
				j := s.Job
				j.AnsibleVersion = version
				j.PreRun, j.Run, j.PostRun = []job.Playbook{base("playbooks/pre.yaml")}, []job.Playbook{play("playbooks/run.yaml")}, []job.Playbook{base("playbooks/post.yaml")}
				for _, ps := range [][]job.Playbook{j.PreRun, j.PostRun} {
					ps[0].Roles = ps[0].Roles[:1]
					ps[0].Secrets = []job.Secret{{Var: "site_logs", Name: "site_logs", Owner: proj("org/base"), Data: map[string]any{
						"fqdn": "logs.example.com", "user": "zuul", "root": "/home/zuul/kept", "url": "https://logs.example.com", "key": map[string]any{job.EncryptedKey: []string{string(w.x.Keys[0])}}}}}
				}
				j.PostRun = append([]job.Playbook{play("playbooks/post.yaml")}, j.PostRun...)
				j.Vars = map[string]any{"who": "job", "only_one": "job", "rendered": "job of {{ zuul.build }}", "nothing": nil,
					"build_key":        "{{ zuul.executor.work_root }}/{{ zuul.build }}_id_rsa",
					"zuul_copy_output": map[string]any{"/home/zuul/unit.log": "logs", "/nowhere": "logs", "/not-wanted": nil}}
				j.GroupVars = map[string]map[string]any{"all": {"who": "group"}}
				j.HostVars = map[string]map[string]any{"one": {"only_one": "host"}}
				s.ChildJobs = []string{"child", "other"}
				s.Artifacts = []pipeline.Artifact{{Name: "image", URL: "docker://x", Metadata: map[string]any{"type": "container_image"}}}
				w.onNodes(ns, s)
			})
			end, log := w.build(s)
			if end.Result != pipeline.Success {
				t.Fatalf("result %s: %s\n%s", end.Result, end.Detail, log)
			}
			want(t, log, "Job test in check for https://example.com/1 of 1 items", "on the executor, with 2 nodes", "image at docker://x of container_image", "localhost -> 127.", "one -> localhost | changed",
				" | the other, by include", " | the role, imported")
			for _, never := range []string{"hidden-one", "PRIVATE KEY"} {
				if strings.Contains(log, never) {
					t.Errorf("the log shows %q", never)
				}
			}
			z, _ := end.Data["zuul"].(map[string]any)
			got, err := json.Marshal(map[string]any{"children": z["child_jobs"], "warnings": end.Warnings, "file": end.Data["from_file"], "artifacts": z["artifacts"]})
			if err != nil {
				t.Fatal(err)
			}
			want(t, string(got), `"children":["child"]`, `"from data","from a file"`, `"file":7`, `"zuul-manifest.json"`)
		})
	}
}

// What the operator adds: a callback plugin with options, in every playbook, and how Windows nodes are reached.
func TestWhatASiteAdds(t *testing.T) {
	dir := t.TempDir()
	plugin := `
import os
from ansible.plugins.callback import CallbackBase
DOCUMENTATION = """
    name: site_notes
    type: notification
    short_description: Notes tasks
    options:
      word: {description: What to write., ini: [{section: callback_site_notes, key: word}]}
"""
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME, CALLBACK_NEEDS_ENABLED = 2.0, "notification", "site_notes", True
    def v2_runner_on_ok(self, result):
        with open(os.path.join(os.environ["ZUUL_JOBDIR"], "work", "logs", "notes"), "a") as f:
            f.write("%s %s\n" % (self.get_option("word"), result._task.get_name()))
`
	if err := os.WriteFile(filepath.Join(dir, "site_notes.py"), []byte(plugin), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) {
		c.CallbackDir, c.Callbacks = dir, map[string]map[string]string{"site_notes": {"word": "noted"}}
	})
	w.repo("org/app", map[string]string{"run.yaml": local("    - {name: one, set_fact: {x: 1}}\n    - command: cat {{ zuul.executor.log_root }}/notes\n")})
	end, log := w.build(w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.yaml")} }))
	if end.Result != pipeline.Success {
		t.Fatalf("%+v\n%s", end, log)
	}
	want(t, log, "localhost | noted one")
	ns := job.Nodeset{Nodes: []job.Node{{Names: []string{"w"}, Label: "windows"}}}
	hs, err := hosts(ns, []node.Node{{Access: node.Access{Connection: "winrm", Host: "10.0.0.1", Port: 5986}}}, WinRM{Cert: "/etc/c.pem", Key: "/etc/k.pem", Read: 90})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(hs[0].Vars)
	if err != nil {
		t.Fatal(err)
	}
	want(t, string(got), `"ansible_winrm_cert_key_pem":"/etc/k.pem"`, `"ansible_winrm_cert_pem":"/etc/c.pem"`, `"ansible_winrm_read_timeout_sec":90`,
		`"ansible_winrm_server_cert_validation":"ignore"`, `"ansible_winrm_transport":"certificate"`)
	if strings.Contains(string(got), "operation_timeout") {
		t.Errorf("%s", got)
	}
}
