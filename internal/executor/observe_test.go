package executor

import (
	"encoding/json"
	"io"
	"slices"
	"testing"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// TestWhatTasksTouchIsObserved: by Gozer's own run of Ansible, and by one that the job does elsewhere with the
// callback that it finds in its workspace. A module of the repository is known by its gozer.yaml.
func TestWhatTasksTouchIsObserved(t *testing.T) {
	w, ns := withNode(t, "bastion")
	w.repo("org/app", map[string]string{
		"run.yaml": `
- hosts: all
  tasks:
    - copy: {content: hello, dest: "{{ ansible_user_dir }}/greeting"}
    - copy: {content: hello, dest: "{{ ansible_user_dir }}/hidden"}
      no_log: true
    - command: touch {{ ansible_user_dir }}/weak
    - fleet: {path: /srv/fleet/state}
- hosts: localhost
  tasks:
    - copy: {content: mine, dest: "{{ zuul.executor.work_root }}/own"}
    - command: cmp {{ zuul.executor.work_root }}/.gozer/gozer_observe.py /dev/null
      failed_when: false
      register: there
    - assert: {that: there.rc == 1}
    - copy:
        dest: "{{ zuul.executor.log_root }}/observed/elsewhere.jsonl"
        content: '{"host":"web01","module":"ansible.builtin.systemd","args":{"name":"nginx","state":"restarted"},"task":"Restart it","changed":true,"begin":1,"end":2}'
`,
		"library/fleet.py": "from ansible.module_utils.basic import AnsibleModule\nm = AnsibleModule({'path': {}})\nm.exit_json(changed=True)\n",
		"gozer.yaml":       "deps:\n  - module: fleet\n    access: [{verb: write, kind: file, name: [path]}]\n",
	})
	s := w.start(func(s *pipeline.Start) {
		s.Job.Run = []job.Playbook{play("run.yaml")}
		s.Observe = true
		w.onNodes(ns, s)
	})
	end, log := w.build(s)
	if end.Result != pipeline.Success {
		t.Fatalf("result %s, %s\n%s", end.Result, end.Detail, log)
	}
	f, err := w.x.Logs.Attached(t.Context(), string(s.Build), deps.ObservedFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var seen []deps.Observed
	text, err := io.ReadAll(f)
	if err == nil {
		err = json.Unmarshal(text, &seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	has := func(kind, host, end string, verb deps.Verb) bool {
		return slices.ContainsFunc(seen, func(o deps.Observed) bool {
			return o.Kind == kind && o.Host == host && o.Verb == verb && len(o.Name) >= len(end) && o.Name[len(o.Name)-len(end):] == end
		})
	}
	if !has(deps.File, "bastion", "/greeting", deps.Write) || !has(deps.File, "bastion", "/srv/fleet/state", deps.Write) || !has(deps.Service, "web01", "nginx", deps.Restart) {
		t.Errorf("not all was observed:\n%s", text)
	}
	if has(deps.File, "bastion", "/hidden", deps.Write) || has(deps.File, "localhost", "/own", deps.Write) {
		t.Errorf("more was observed than may be:\n%s", text)
	}
}
