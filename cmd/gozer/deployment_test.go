package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/settings"
)

// TestAViewAndARepair: two jobs deploy to a host that stays, from the view of their buildset's sources. One reads what
// the other one writes only then; so it runs once more, and reads it. With the buildset its view goes.
func TestAViewAndARepair(t *testing.T) {
	if _, err := ansible.Find(defaultAnsibleDir(), ansible.DefaultVersion); err != nil {
		t.Skip("SKIP: ", err)
	}
	play := func(tasks string) string { return "- hosts: bastion\n  gather_facts: false\n  tasks:\n" + tasks }
	s := newSiteWith(t, map[string]string{
		"zuul.yaml": `- nodeset: {name: host, nodes: [{name: bastion, label: bastion}]}
- job: {name: deploy, parent: base, abstract: true, nodeset: host}
- job: {name: writer, parent: deploy, run: writer.yaml}
- job: {name: reader, parent: deploy, run: reader.yaml}
- project: {check: {jobs: [writer, reader]}}
`,
		"version": "first\n",
		"writer.yaml": play(`    - wait_for: {path: /srv/was-read, timeout: 60}
    - copy: {src: "{{ gozer.view.path }}/version", remote_src: true, dest: /srv/status/version}
`),
		"reader.yaml": play(`    - shell: mkdir -p /srv/status && [ -f /srv/status/version ] || echo nothing > /srv/status/version
    - slurp: {src: /srv/status/version}
      register: seen
    - debug: {msg: "it is {{ seen.content | b64decode | trim }}"}
    - file: {path: /srv/was-read, state: touch}
    - command: ls /srv/views
`),
	}, func(set *settings.Settings) {
		set.Providers = []settings.Provider{{Name: "hosts", Driver: "sandbox", Hosts: []settings.Host{{Name: "bastion", Slots: 2}}}}
		tenants, err := os.ReadFile(set.Tenants)
		if err == nil {
			err = os.WriteFile(set.Tenants, []byte(string(tenants)+`    deployment:
      pipelines:
        - {name: check, observe: true, repair: true, view: {host: bastion, path: /srv/views}}
`), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}, allRoles)
	n := s.propose("Deploy the second", map[string]string{"version": "second\n"})
	report := s.report(n)
	if !strings.Contains(report, "Build succeeded") || !strings.Contains(report, `reader ran once more: it read file /srv/status/version on bastion (task "slurp") before writer wrote it (task "copy")`) {
		t.Errorf("the report is\n%s", report)
	}
	builds, err := s.client().Builds(t.Context(), "example", url.Values{"job_name": {"reader"}})
	if err != nil || len(builds) != 2 || !builds[0].Final || builds[1].Final {
		t.Fatalf("builds of the reader: %+v, %v", builds, err)
	}
	for i, want := range []string{"it is second", "it is nothing"} {
		if log := s.must("logs", builds[i].UUID); !strings.Contains(log, want) {
			t.Errorf("build %d does not say %q:\n%s", i, want, log)
		}
	}
	first := builds[0].Buildset.UUID
	// A later buildset sees its own view alone.
	n = s.propose("Deploy the third", map[string]string{"version": "third\n"})
	s.report(n)
	// The first one has come to its end by now, and can be looked at in time.
	if out := s.must("buildset", first, "--slots", "2"); !strings.Contains(out, "writer") || !strings.Contains(out, "waited for") || !strings.Contains(out, "beside a simulation of 2 at a time: it took ") {
		t.Errorf("the buildset in time:\n%s", out)
	}
	builds, err = s.client().Builds(t.Context(), "example", url.Values{"job_name": {"reader"}, "change": {fmt.Sprint(n)}})
	if err != nil || len(builds) == 0 {
		t.Fatalf("builds of the reader: %+v, %v", builds, err)
	}
	if log := s.must("logs", builds[0].UUID); !strings.Contains(log, builds[0].Buildset.UUID) || strings.Count(log, "| "+builds[0].Buildset.UUID) != 1 {
		t.Errorf("the views during the second buildset:\n%s", log)
	}
}
