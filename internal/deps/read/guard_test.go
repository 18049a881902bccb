package read

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingIsRun reads content full of lookups that would run a program, at every place where one can stand.
func TestNothingIsRun(t *testing.T) {
	const content = `
-- zuul.yaml --
- job: {name: one, run: one.yaml}
- project: {deploy: {jobs: [one]}}
-- hosts --
[web]
w1
w2
-- group_vars/web.yaml --
by_variable: "{{ lookup('pipe', 'touch MARK-variable; echo x') }}"
by_two: "{{ by_variable ~ 'y' }}"
listed: ["{{ query('ansible.builtin.pipe', 'touch MARK-listed') | first }}"]
-- host_vars/w2.yaml --
of_another: "{{ lookup('pipe', 'touch MARK-host') }}"
-- one.yaml --
- hosts: "{{ lookup('pipe', 'touch MARK-hosts; echo web') }}"
  tasks: []
- hosts: web
  vars:
    by_play: "{{ lookup('pipe', 'touch MARK-play') }}"
  vars_files: ["{{ lookup('pipe', 'touch MARK-files; echo x.yaml') }}"]
  tasks: []
- hosts: web
  vars:
    by_play: "{{ lookup('pipe', 'touch MARK-play') }}"
  environment: {KUBECONFIG: "{{ lookup('pipe', 'touch MARK-environment') }}"}
  tasks:
    - copy: {dest: "/etc/{{ lookup('pipe', 'touch MARK-argument') }}", content: x}
    - copy: {dest: "/etc/{{ by_variable }}", content: "{{ by_two }}{{ by_play }}"}
    - copy: {dest: "/etc/{{ hostvars['w2'].of_another }}", content: "{{ listed | join }}"}
    - copy: {dest: "/etc/{{ vars['by_variable'] }}", content: "{{ lookup('vars', 'by_variable') }}"}
    - template: {src: t.j2, dest: /etc/t}
    - copy: {dest: /etc/t, content: "{{ lookup('template', 't.j2') }}"}
    - copy: {dest: "/etc/{{ item }}", content: x}
      with_pipe: touch MARK-with
    - copy: {dest: "/etc/{{ item }}", content: x}
      loop: "{{ q('pipe', 'touch MARK-loop') }}"
    - copy: {dest: /etc/x, content: x}
      when: lookup('pipe', 'touch MARK-when') == 'x'
    - include_tasks: "{{ lookup('pipe', 'touch MARK-include; echo x.yaml') }}"
    - set_fact: {made: "{{ lookup('pipe', 'touch MARK-fact') }}"}
    - copy: {dest: "/etc/{{ made }}", content: "{{ lookup('url', 'http://127.0.0.1:9/') }}"}
      notify: "{{ lookup('pipe', 'touch MARK-notify') }}"
  handlers:
    - name: "{{ lookup('pipe', 'touch MARK-handler') }}"
      copy: {dest: /etc/h, content: x}
-- templates/t.j2 --
{{ lookup('pipe', 'touch MARK-template') }}
{{ by_variable }}
`
	mark := filepath.Join(t.TempDir(), "ran")
	dir := lay(t, strings.ReplaceAll(content, "MARK", mark))
	if _, err := Repo(t.Context(), Options{Path: dir, Python: python(t)}); err != nil {
		t.Fatal(err)
	}
	ran, err := filepath.Glob(mark + "-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ran {
		t.Errorf("a program was run: %s", filepath.Base(f))
	}
	if _, err := os.Stat(filepath.Dir(mark)); err != nil {
		t.Fatal(err)
	}
}

// TestInventoryProgramsSeeNoCredentials has a program of the inventory tell what it is given.
func TestInventoryProgramsSeeNoCredentials(t *testing.T) {
	t.Setenv("GOZER_TOKEN", "s3cret")
	t.Setenv("OS_CLOUD", "prod")
	r, err := Repo(t.Context(), Options{Python: python(t), Path: lay(t, twoJobs+"-- one.yaml --\n- hosts: web\n  tasks: []\n"+
		"-- inventory/cloud.sh --\n#!/bin/sh\necho \"{\\\"web\\\": {\\\"hosts\\\": [\\\"token-${GOZER_TOKEN:-none}-$OS_CLOUD\\\"]}, \\\"_meta\\\": {\\\"hostvars\\\": {}}}\"\n")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Hosts["token-none-prod"] == nil {
		t.Errorf("hosts %v, problems %v", r.Hosts, r.Problems)
	}
}
