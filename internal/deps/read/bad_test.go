package read

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/gozer-ci/gozer/internal/deps"
)

// lay writes the files of a txtar archive into a folder; those that begin with #! are programs.
func lay(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(text)).Files {
		full := filepath.Join(dir, f.Name)
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(f.Data), "#!") {
			mode = 0o755
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, f.Data, mode)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const twoJobs = `
-- zuul.yaml --
- job: {name: one, run: one.yaml}
- job: {name: two, run: two.yaml}
- project: {deploy: {jobs: [one, two]}}
-- two.yaml --
- hosts: web
  tasks:
    - copy: {content: x, dest: /etc/x}
`

func TestBadInput(t *testing.T) {
	p := python(t)
	for name, test := range map[string]struct {
		files string
		// problem is what is said, at is where; the rest goes on: two's file is known.
		problem, at string
		// inventory bounds the reading of one inventory; 0: with time for it.
		inventory time.Duration
	}{
		"an inventory program that fails": {
			"-- inventory/hosts --\n[web]\nw1\n-- inventory/cloud.sh --\n#!/bin/sh\necho no credentials >&2\nexit 3\n-- one.yaml --\n- hosts: web\n  tasks: []\n",
			"the inventory inventory/cloud.sh could not be read: Inventory script", "inventory/cloud.sh", 0},
		"an inventory program that hangs": {
			"-- inventory/hosts --\n[web]\nw1\n-- inventory/cloud.sh --\n#!/bin/sh\nsleep 600\n-- one.yaml --\n- hosts: web\n  tasks: []\n",
			"the inventory inventory/cloud.sh took more than 8 s", "inventory/cloud.sh", 8 * time.Second},
		"a playbook with an error of YAML": {
			"-- hosts --\n[web]\nw1\n-- one.yaml --\n- hosts: web\n  tasks:\n    - copy: {content: x\n",
			"did not find expected ',' or '}'", "one.yaml", 0},
		"a playbook with an error of Ansible": {
			"-- hosts --\n[web]\nw1\n-- one.yaml --\n- hosts: web\n  tasks:\n    - copy: {content: x, dest: /a}\n      template: {src: x, dest: /b}\n",
			"conflicting action statements", "one.yaml:3", 0},
		"a role that is not there": {
			"-- hosts --\n[web]\nw1\n-- one.yaml --\n- hosts: web\n  roles: [somewhere.else]\n",
			"role somewhere.else is not in this repository", "", 0},
		"an encrypted file": {
			"-- hosts --\n[web]\nw1\n-- group_vars/web.yaml --\n$ANSIBLE_VAULT;1.1;AES256\n3336\n-- one.yaml --\n- hosts: web\n  tasks: []\n",
			"group_vars/web.yaml is encrypted", "group_vars/web.yaml", 0},
		"an include that depends on a fact": {
			"-- hosts --\n[web]\nw1\n-- one.yaml --\n- hosts: web\n  tasks:\n    - include_tasks: \"{{ ansible_facts.os_family }}.yaml\"\n",
			"what is included here is unknown", "one.yaml:3", 0},
		"hosts that are not known": {
			"-- hosts --\n[web]\nw1\n-- one.yaml --\n- hosts: \"{{ where }}\"\n  tasks: []\n",
			"the hosts of the play {{ where }} are unknown", "", 0},
		"content that includes itself": {
			"-- hosts --\n[web]\nw1\n-- one.yaml --\n- hosts: web\n  tasks:\n    - include_tasks: again.yaml\n-- again.yaml --\n- include_tasks: again.yaml\n",
			"includes are nested too deeply", "again.yaml:1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Repo(t.Context(), Options{Path: lay(t, twoJobs+test.files), Python: p, InventoryLimit: cmp.Or(test.inventory, 5*time.Minute), Limit: 10 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(r.Problems, func(p deps.Problem) bool { return strings.Contains(p.Text, test.problem) })
			if i < 0 {
				t.Fatalf("%q is not among %+v", test.problem, r.Problems)
			}
			if at := r.Problems[i].At; !strings.HasPrefix(at.String(), test.at) && test.at != "" {
				t.Errorf("it is said to be at %s, not %s", at, test.at)
			}
			if strings.ContainsRune(r.Problems[i].Text, '\n') {
				t.Errorf("more than a line: %q", r.Problems[i].Text)
			}
			a, err := deps.Analyse(r)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(a.Accesses("two"), func(x deps.Access) bool { return x.Name == "/etc/x" && x.Host == "w1" }) {
				t.Error("two is not known any more")
			}
		})
	}
}

func TestNothingToRead(t *testing.T) {
	if _, err := Repo(t.Context(), Options{Path: lay(t, "-- readme --\nx\n"), Python: os.Args[0]}); !errors.Is(err, ErrNoConfiguration) {
		t.Errorf("a folder without Zuul configuration: %v", err)
	}
	if _, err := Repo(t.Context(), Options{Path: filepath.Join(t.TempDir(), "nowhere"), Python: os.Args[0]}); err == nil || !strings.Contains(err.Error(), "is not a folder") {
		t.Errorf("no folder: %v", err)
	}
	dir := lay(t, twoJobs+"-- one.yaml --\n- hosts: all\n")
	if _, err := Repo(t.Context(), Options{Path: dir, Python: "/nowhere/python"}); !errors.Is(err, ErrNoAnsible) {
		t.Errorf("no Python: %v", err)
	}
	t.Setenv("PATH", "/nowhere")
	if _, err := Repo(t.Context(), Options{Path: dir}); !errors.Is(err, ErrNoAnsible) {
		t.Errorf("no ansible-playbook on PATH: %v", err)
	}
}
