package read

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/deps"
)

// fleet writes a repository with so many playbooks over so many hosts: a base playbook for all hosts, and one
// a service for a few hosts each, with shared roles, templates, handlers, loops, facts, group_vars and
// host_vars, as fleets have.
func fleet(t testing.TB, dir string, playbooks, hosts int) {
	t.Helper()
	put := func(name, text string) {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var inventory, groups, jobs, project strings.Builder
	inventory.WriteString("all:\n  hosts:\n    bridge01.example.org:\n")
	for i := range hosts {
		fmt.Fprintf(&inventory, "    host%02d.example.org: {public_v4: 203.0.113.%d}\n", i, i)
		put(fmt.Sprintf("inventory/host_vars/host%02d.example.org.yaml", i), fmt.Sprintf("rack: r%d\nextra_ports: [%d, %d]\n", i%7, 9000+i, 9100+i))
	}
	groups.WriteString("all:\n  children:\n    bastion: {hosts: {bridge01.example.org: }}\n")
	jobs.WriteString("- job: {name: run-playbook, abstract: true, run: playbooks/zuul/run.yaml, nodeset: {nodes: []}}\n")
	project.WriteString("- project:\n    deploy:\n      jobs:\n")
	for i := range playbooks {
		name := fmt.Sprintf("svc%02d", i)
		pattern := name
		if i == 0 {
			name, pattern = "base", "all"
		}
		fmt.Fprintf(&jobs, "- job:\n    name: infra-prod-%s\n    parent: run-playbook\n    vars: {playbook_name: %s.yaml}\n    files: [^inventory/, ^playbooks/%s\\.yaml$, ^playbooks/roles/(%s|common)/]\n", name, name, name, name)
		fmt.Fprintf(&project, "        - infra-prod-%s%s\n", name, map[bool]string{true: ":\n            dependencies: [{name: infra-prod-base, soft: true}]"}[i > 0])
		put("playbooks/"+name+".yaml", fmt.Sprintf("- hosts: \"%s:!disabled\"\n  name: Configure %s\n  roles: [common, %s]\n", pattern, name, name))
		role := "playbooks/roles/" + name
		put(role+"/defaults/main.yaml", fmt.Sprintf("%s_port: %d\n%s_dir: /srv/%s\n", name, 8000+i, name, name))
		put(role+"/tasks/main.yaml", strings.ReplaceAll(serviceTasks, "SVC", name))
		put(role+"/handlers/main.yaml", strings.ReplaceAll("- name: restart SVC\n  service: {name: SVC, state: restarted}\n", "SVC", name))
		put(role+"/templates/conf.j2", strings.ReplaceAll("[server]\nhost = {{ inventory_hostname }}\nport = {{ SVC_port }}\ncert = /etc/certs/{{ inventory_hostname }}.pem\n{% for h in groups['all'] %}peer = {{ h }} {{ hostvars[h].public_v4 | default('') }}\n{% endfor %}", "SVC", name))
		put(role+"/templates/unit.j2", strings.ReplaceAll("[Service]\nExecStart=/usr/bin/SVC --config {{ SVC_dir }}/conf.ini\n", "SVC", name))
		if i > 0 {
			fmt.Fprintf(&groups, "    %s: {hosts: {", name)
			for k := range 4 {
				fmt.Fprintf(&groups, "host%02d.example.org: , ", (i*3+k*11)%hosts)
			}
			groups.WriteString("}}\n")
			put("inventory/group_vars/"+name+".yaml", fmt.Sprintf("%s_workers: %d\n%s_urls: ['http://{{ groups[\"%s\"][0] }}:{{ %s_port }}/']\n", name, i, name, name, name))
		}
	}
	groups.WriteString("    disabled: {hosts: {}}\n")
	put("inventory/hosts.yaml", inventory.String())
	put("inventory/groups.yaml", groups.String())
	put("inventory/group_vars/all.yaml", "domain: example.org\nadmins: [ann, bob, cid]\nntp: [\"0.{{ domain }}\", \"1.{{ domain }}\"]\n")
	put("zuul.d/jobs.yaml", jobs.String())
	put("zuul.d/project.yaml", project.String())
	put("playbooks/zuul/run.yaml", "- hosts: localhost\n  tasks: [{debug: {msg: x}}]\n")
	put("playbooks/roles/common/tasks/main.yaml", commonTasks)
	put("playbooks/roles/common/templates/motd.j2", "{{ inventory_hostname }} in {{ rack | default('-') }}, by {{ admins | join(', ') }}\n")
	put("playbooks/roles/common/handlers/main.yaml", "- name: restart cron\n  service: {name: cron, state: restarted}\n")
}

const commonTasks = `- name: Packages
  apt: {name: [vim, rsync, acl, curl], state: present}
- name: Administrators
  user: {name: "{{ item }}", shell: /bin/bash}
  loop: "{{ admins }}"
- name: Message of the day
  template: {src: motd.j2, dest: /etc/motd}
- name: Time
  copy: {content: "{{ ntp | join('\n') }}", dest: /etc/ntp.servers}
  notify: restart cron
- name: Only there
  copy: {content: "{{ ansible_facts['kernel'] }}", dest: /etc/kernel.txt}
  when: ansible_facts['os_family'] == 'Debian'
- name: Ports
  lineinfile: {path: /etc/ports.conf, line: "{{ item }}"}
  loop: "{{ extra_ports | default([]) }}"
`

const serviceTasks = `- name: Folder
  file: {path: "{{ SVC_dir }}", state: directory}
- name: Packages
  apt: {name: SVC}
- name: Configuration
  template: {src: conf.j2, dest: "{{ SVC_dir }}/conf.ini"}
  notify: restart SVC
- name: Unit
  template: {src: unit.j2, dest: /etc/systemd/system/SVC.service}
  notify: restart SVC
- name: Runs
  service: {name: SVC, state: started}
- name: Data
  copy: {content: "{{ item }} {{ inventory_hostname }}", dest: "{{ SVC_dir }}/data-{{ item }}"}
  loop: [a, b, c, d]
- name: What it says
  command: "/usr/bin/SVC --version"
  register: said
  changed_when: false
- name: Keep it
  copy: {content: "{{ said.stdout }}", dest: "{{ SVC_dir }}/version"}
- name: Its backup on the bastion
  copy: {content: "{{ inventory_hostname }}", dest: "/var/backups/SVC-{{ inventory_hostname }}"}
  delegate_to: bridge01.example.org
- name: Asks itself
  uri: {url: "http://{{ inventory_hostname }}:{{ SVC_port }}/"}
  when: said.rc == 0
- include_tasks: more.yaml
  loop: [x, y]
  loop_control: {loop_var: part}
  ignore_errors: true
`

// BenchmarkRead reads 40 playbooks over 50 hosts, without a cache, and works out the edges.
func BenchmarkRead(b *testing.B) {
	p := python(b)
	dir := b.TempDir()
	fleet(b, dir, 40, 50)
	for b.Loop() {
		r, err := Repo(b.Context(), Options{Path: dir, Python: p})
		if err != nil {
			b.Fatal(err)
		}
		tasks := 0
		for _, j := range r.Jobs {
			tasks += len(j.Tasks)
		}
		began := time.Now()
		a, err := deps.Analyse(r)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "analyse-ms")
		b.ReportMetric(float64(tasks), "tasks")
		b.ReportMetric(float64(len(a.Edges)), "edges")
	}
}

// BenchmarkReplay goes through 500 commits of the same repository.
func BenchmarkReplay(b *testing.B) {
	p := python(b)
	dir := b.TempDir()
	fleet(b, dir, 40, 50)
	commits(b, dir, 500)
	r, err := Repo(b.Context(), Options{Path: dir, Python: p})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		a, err := deps.Analyse(r)
		if err != nil {
			b.Fatal(err)
		}
		list, err := History(b.Context(), dir, "", 500)
		if err != nil {
			b.Fatal(err)
		}
		runs := 0
		for _, c := range list {
			runs += len(a.Replay(&a.Pipelines[0], c))
		}
		b.ReportMetric(float64(len(list)), "commits")
		b.ReportMetric(float64(runs), "runs")
	}
}

// commits makes a history, each of which touches one file.
func commits(t testing.TB, dir string, n int) {
	t.Helper()
	git := func(in string, args ...string) {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Ann", "-c", "user.email=ann@example.org"}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	git("", "init", "-q", "-b", "main")
	git("", "add", "-A")
	git("", "commit", "-q", "-m", "start")
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ann <ann@example.org> %d +0000\ndata 8\nchange %d\n", 1700000000+i, i%10)
		if i == 0 {
			in.WriteString("from refs/heads/main^0\n")
		}
		file := []string{"playbooks/roles/svc%02d/tasks/main.yaml", "inventory/group_vars/svc%02d.yaml", "playbooks/svc%02d.yaml", "docs/note%02d.txt"}[i%4]
		text := fmt.Sprintf("# %d\n", i)
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", fmt.Sprintf(file, 1+i%39), len(text), text)
	}
	git(in.String(), "fast-import", "--quiet")
}
