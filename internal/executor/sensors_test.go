package executor

import (
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

func TestSensors(t *testing.T) {
	for want, s := range map[string]Sensors{
		"":                     {Disk: -1, Inodes: -1, Memory: -1},
		"of the disk":          {Disk: 100.1, Inodes: -1, Memory: -1},
		"of the inodes":        {Disk: -1, Inodes: 100.1, Memory: -1},
		"of the memory":        {Disk: -1, Inodes: -1, Memory: 100.1},
		"is above":             {Load: 1e-9, Disk: -1, Inodes: -1, Memory: -1},
		"less than 100.1 %":    {Disk: 100.1},
		"memory are available": {Disk: -1, Inodes: -1, Memory: 100.1, Load: 1e9},
	} {
		got := s.refuses(t.TempDir())
		if want == "is above" && got == "" {
			t.Log("nothing else runs on this machine")
			continue
		}
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
	w := newWorld(t, func(c *Config) { c.Sensors = Sensors{Memory: 100.1}; c.Builds = 7 })
	if n := w.x.slots(0); n != 0 {
		t.Errorf("takes %d builds although the memory is short", n)
	}
	w.x.Sensors = Sensors{Disk: -1, Inodes: -1, Memory: -1}
	if n := w.x.slots(2); n != 5 {
		t.Errorf("takes %d builds beside 2, want 5", n)
	}
}

func TestVersionsThatCannotBeHad(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", map[string]string{"run.yaml": local("    - command: 'true'\n"), "run.sh": "#!/bin/sh\n"})
	end, log := w.build(w.start(func(s *pipeline.Start) { s.Job.Run, s.Job.AnsibleVersion = []job.Playbook{play("run.yaml")}, "7" }))
	if end.Result != "ERROR" {
		t.Errorf("%+v", end)
	}
	want(t, end.Detail, `ansible-version "7" is not supported; use 8 or 9`)
	want(t, log, `ansible-version "7" is not supported; use 8 or 9`)
	w.x.Ansible.Dir = t.TempDir()
	end, _ = w.build(w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.yaml")} }))
	if end.Result != "ERROR" {
		t.Errorf("%+v", end)
	}
	want(t, end.Detail, "it is not installed; run `gozer ansible install 9 --dir "+w.x.Ansible.Dir+"`")
	if end, _ = w.build(w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")} })); end.Result != "SUCCESS" {
		t.Errorf("a job without Ansible needs none: %+v", end)
	}
}
