package read

import (
	"slices"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/deps"
)

// TestWhatRunsPlaybooks has the ways from a job to its playbooks and hosts that are not written in the job: by scripts,
// by make, and by tasks that add hosts and groups.
func TestWhatRunsPlaybooks(t *testing.T) {
	const jobs = `
-- hosts --
[web]
w1
[db]
d1
-- zuul.yaml --
- job:
    name: one
    run: run.yaml
    vars: {play: web}
    nodeset: {nodes: [{name: runner, label: small}]}
- project: {deploy: {jobs: [one]}}
-- plays/web.yaml --
- hosts: web
  tasks:
    - copy: {content: x, dest: /etc/web}
-- plays/db.yaml --
- hosts: db
  tasks:
    - copy: {content: x, dest: /etc/db}
-- run.yaml --
`
	run := func(command string) string {
		return "- hosts: runner\n  tasks:\n    - shell: " + command + "\n      args: {chdir: \"{{ zuul.project.src_dir }}\"}\n"
	}
	const webOnly, nothing = "/etc/web on w1", ""
	for name, test := range map[string]struct {
		files, want string
		// problem is what must be said.
		problem string
	}{
		"a script with the name of the play": {run("tools/deploy {{ play }}") +
			"-- tools/deploy --\n#!/bin/bash\nset -e\nplay=$1\nexec ansible-playbook -i hosts \"plays/$play.yaml\" ${2:+--limit \"$2\"}\n", webOnly, ""},
		"a script that chooses by case": {run("bash tools/deploy web") +
			"-- tools/deploy --\n#!/bin/sh\ncase \"$1\" in\n  web|www)\n    ansible-playbook -i hosts plays/web.yaml ;;\n  db) ansible-playbook -i hosts plays/db.yaml ;;\nesac\n", webOnly, ""},
		"a script that runs all that it is given": {run("tools/deploy web db") +
			"-- tools/deploy --\n#!/bin/sh\nfor p in \"$@\"; do\n  ansible-playbook -i hosts plays/$p.yaml\ndone\n", "/etc/db on d1, /etc/web on w1", ""},
		"a script that decides while it runs": {run("tools/deploy") +
			"-- tools/deploy --\n#!/bin/sh\nif [ -e /tmp/db ]; then\n  ansible-playbook -i hosts plays/db.yaml\nelse\n  ansible-playbook -i hosts plays/web.yaml\nfi\n", nothing, "which playbook tools/deploy runs is decided while it runs"},
		"a script that only checks": {run("tools/deploy web") +
			"-- tools/deploy --\n#!/bin/sh\n# ansible-playbook -i hosts plays/db.yaml\nansible-playbook --syntax-check -i hosts plays/$1.yaml\n", nothing, ""},
		"a target of make": {run("cd ansible && make -s deploy-web") +
			"-- Makefile --\nINVENTORY ?= hosts\ndeploy-%: lint\n\t@ansible-playbook -i $(INVENTORY) plays/$*.yaml\nlint:\n\tansible-lint\n", webOnly, ""},
		"another target of make": {run("make lint") +
			"-- Makefile --\nlint:\n\tansible-lint\nsite:\n\tansible-playbook -i hosts plays/web.yaml\n", nothing, ""},
		"hosts that are added, by the run that adds them": {
			"- hosts: localhost\n  tasks:\n    - add_host: {name: new1, ansible_host: 10.0.0.9, groups: fresh}\n- hosts: fresh\n  tasks:\n    - copy: {content: x, dest: /etc/new}\n", "/etc/new on new1", ""},
		"a role that is called as a folder beside it is": {run("ansible-playbook -i hosts roles.yaml") +
			"-- roles.yaml --\n- hosts: web\n  roles: [web]\n-- web/list.txt --\nx\n-- ansible/roles/web/tasks/main.yaml --\n- copy: {content: x, dest: /etc/web}\n", webOnly, ""},
		"a group that is made by facts": {run("ansible-playbook -i hosts group.yaml") +
			"-- group.yaml --\n- hosts: web\n  tasks:\n    - group_by: {key: \"os_{{ ansible_distribution }}\"}\n- hosts: os_Debian\n  tasks:\n    - copy: {content: x, dest: /etc/os}\n- hosts: other\n  tasks:\n    - copy: {content: x, dest: /etc/other}\n", "/etc/os on w1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Repo(t.Context(), Options{Path: lay(t, jobs[1:]+test.files), Python: python(t)})
			if err != nil {
				t.Fatal(err)
			}
			a, err := deps.Analyse(r)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range a.Accesses("one") {
				if x.Kind == deps.File && x.Verb == deps.Write {
					got = append(got, x.Name+" on "+x.Host)
				}
			}
			slices.Sort(got)
			if s := strings.Join(slices.Compact(got), ", "); s != test.want {
				t.Errorf("%q, want %q; problems: %v", s, test.want, r.Problems)
			}
			if test.problem != "" && !slices.ContainsFunc(r.Problems, func(p deps.Problem) bool { return strings.Contains(p.Text, test.problem) }) {
				t.Errorf("%q is not among %v", test.problem, r.Problems)
			}
		})
	}
}

// TestAddedHostsArePrivateToARun: what one playbook adds is none of the hosts of another.
func TestAddedHostsArePrivateToARun(t *testing.T) {
	r, err := Repo(t.Context(), Options{Path: lay(t, strings.ReplaceAll(twoJobs, "hosts: web", "hosts: all")+
		"-- hosts --\n[web]\nw1\n-- one.yaml --\n- hosts: localhost\n  tasks:\n    - add_host: {name: new1, ansible_host: 10.0.0.9}\n- hosts: new1\n  tasks:\n    - copy: {content: x, dest: /etc/x}\n"), Python: python(t)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := deps.Analyse(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Edges) != 0 || len(a.Accesses("one")) == 0 || a.Hosts["new1"] == nil {
		t.Errorf("edges %v, hosts %v", a.Edges, a.Hosts)
	}
}
