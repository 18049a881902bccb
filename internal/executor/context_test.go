package executor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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

// What a task prints is in the log while it goes on: each goes on when what it printed was seen there.
func TestOutputArrivesWhileItIsWritten(t *testing.T) {
	w, ns := withNode(t, "controller")
	const wait = "for i in $(seq 6000); do [ -e %s/go-on ] && break; sleep 0.1; done"
	w.repo("org/app", map[string]string{"run.yaml": `
- hosts: all
  tasks:
    - name: Count slowly
      shell: |
        echo line 1; ` + fmt.Sprintf(wait, "~") + `; echo line 2
    - name: Elsewhere
      shell: "echo there 1; ` + fmt.Sprintf(wait, "{{ zuul.executor.work_root }}") + `; echo there 2"
      delegate_to: "{{ 'local' ~ 'host' }}"
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
	var end *pipeline.BuildEnded
	var log string
	var build sync.WaitGroup
	build.Go(func() { end, log = w.build(s) })
	client, err := w.x.connect(t.Context(), w.nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w.says(s, "controller | stdout: line 1")
	if _, err := onHost(client, nil, "touch ~/go-on", nil); err != nil {
		t.Fatal(err)
	}
	w.says(s, "controller -> localhost | stdout: there 1")
	if err := os.WriteFile(filepath.Join(w.x.Dir, "builds", string(s.Build), "work", "go-on"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	build.Wait()
	if end.Result != pipeline.Success {
		t.Fatalf("end %+v\n%s", end, log)
	}
	for _, once := range []string{"controller | stdout: line 1", "controller | stdout: line 2", "controller -> localhost | stdout: there 1", "controller -> localhost | stdout: there 2",
		"controller | stdout: item a", "controller | stdout: item b", "controller | stderr: err", "controller | stdout: more"} {
		if n := strings.Count(log, once); n != 1 {
			t.Errorf("%q is there %d times:\n%s", once, n, log)
		}
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

// Comments are made on the merged tree that the job saw, and told on the lines of the change.
func TestFileCommentsFollowTheirLines(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", map[string]string{"f": "a\nb\nc\n"})
	proposed := w.repo("org/app", map[string]string{"f": "a\nb\nc\nd\n"})
	w.repo("org/app", map[string]string{"f": "other\na\nb\nc\nd\n", "run.sh": `#!/bin/sh
echo '{"9bad": 1, "good": 2, "zuul": {"file_comments": {
  "f": [{"line": 3, "message": "b"}, {"line": 1, "message": "not yours"},
        {"line": 5, "message": "d", "range": {"start_line": 4, "end_line": 5, "start_character": 0, "end_character": 1}}],
  "none": [{"line": 1, "message": "no such file"}], "/COMMIT_MSG": [{"line": 1, "message": "message"}]}}}' > $GOZER_RESULT
`})
	s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")}; s.Changes[0].Commit = proposed })
	end, log := w.build(s)
	text, err := json.Marshal(end.Data["zuul"])
	if err != nil {
		t.Fatal(err)
	}
	want(t, string(text), `{"line":2,"message":"b"}`, `{"line":1,"message":"not yours"}`,
		`"line":4,"message":"d","range":{"end_character":1,"end_line":4,"start_character":0,"start_line":3}`, `{"line":1,"message":"message"}`)
	want(t, strings.Join(end.Warnings, "\n"), "A comment on line 1 of f is on a line that the change does not have", "comments on none could not be mapped")
	want(t, log, `The job returned "9bad", which is no name for a variable`)
	if len(end.Warnings) != 2 {
		t.Errorf("%v", end.Warnings)
	}
}
