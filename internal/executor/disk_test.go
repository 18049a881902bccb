package executor

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/gatetest/smalldisk"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// A build that meets the end of the executor's disk, below what a build may write, says nothing about its job: it
// is tried again, and its log and its report say why. What it wrote is gone afterwards.
func TestTheDiskOfTheExecutorIsFull(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: whole builds take their time")
	}
	disk := smalldisk.New(t, 96<<20)
	w := newWorld(t, func(c *Config) { c.Dir = filepath.Join(disk.Dir, "x") })
	w.repo("org/app", map[string]string{
		"tools/greedy.sh": "#!/bin/sh\ndd if=/dev/zero of=big bs=1M count=200 2>&1\n",
		"tools/slow.sh":   "#!/bin/sh\nsleep 3; dd if=/dev/zero of=big bs=1M count=85 && sleep 600\n",
	})
	for _, program := range []string{"greedy", "slow"} {
		for attempt, want := range map[int]pipeline.Result{1: "", 3: pipeline.RetryLimit} {
			before := disk.Free()
			s := w.start(func(s *pipeline.Start) {
				s.Attempt = attempt
				s.Job.Run = []job.Playbook{play("tools/" + program + ".sh")}
			})
			end, log := w.build(s)
			if end.Result != want || !strings.Contains(end.Detail, "The disk of executor x1.example.com is full") {
				t.Errorf("%s, attempt %d: result %q, %s", program, attempt, end.Result, end.Detail)
			}
			if !strings.Contains(log, "The disk of executor x1.example.com is full") {
				t.Errorf("%s: the log does not say so:\n%s", program, log)
			}
			if after := disk.Free(); after < before-(4<<20) {
				t.Errorf("%s left %d KiB behind", program, (before-after)>>10)
			}
		}
	}
	disk.Leave(0)
	end, _ := w.build(w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("tools/slow.sh")} }))
	if end.Result != "" || !strings.Contains(end.Detail, "no space left on device") {
		t.Errorf("a build that cannot begin: result %q, %s", end.Result, end.Detail)
	}
}

func TestTheGreediestBuildGoesFirst(t *testing.T) {
	var w written
	w.most("a", 10)
	if !w.most("b", 20) || w.most("a", 15) || w.most("c", 20) {
		t.Error("who wrote most was not found")
	}
	w.forget("b")
	if !w.most("c", 20) {
		t.Error("a build that ended is in the way")
	}
}
