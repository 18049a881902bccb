package executor

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// quiet is a world for measuring.
func quiet(b *testing.B, cold bool) *world {
	return newWorld(b, func(c *Config) { c.Ansible.Cold = cold; c.Log = slog.New(slog.DiscardHandler); c.Limits.Disk = 4 << 30 })
}

// measureBuilds runs builds and reports wall and processor time of one, and of each phase from the time
// stamps of its log.
func measureBuilds(b *testing.B, w *world, alter func(*pipeline.Start)) {
	b.Helper()
	cpu := cpuMeter(b)
	run := func() string {
		s := w.start(alter)
		end, log := w.build(s)
		if end.Result != pipeline.Success {
			b.Fatal(end, log)
		}
		return log
	}
	run()
	spent := map[string]time.Duration{}
	before := cpu()
	b.ResetTimer()
	for range b.N {
		for phase, d := range phaseTimes(run()) {
			spent[phase] += d
		}
	}
	b.ReportMetric((cpu()-before).Seconds()/float64(b.N), "cpu-s/op")
	for phase, d := range spent {
		b.ReportMetric(float64(d.Milliseconds())/float64(b.N), phase+"-ms")
	}
}

// phaseTimes reads out of a log how long the parts of the start took.
func phaseTimes(log string) map[string]time.Duration {
	marks := []struct{ phase, text string }{{"", "Job console starting"}, {"workspace", "Preparing playbooks"},
		{"inventory", "RUN START"}, {"playbook", "PLAY ["}}
	out := map[string]time.Duration{}
	var last time.Time
	for line := range strings.Lines(log) {
		if len(marks) == 0 || len(line) < 29 || !strings.Contains(line, marks[0].text) {
			continue
		}
		at, err := time.Parse("2006-01-02 15:04:05.000000", line[:26])
		if err != nil {
			continue
		}
		if marks[0].phase != "" {
			out[marks[0].phase] = at.Sub(last)
		}
		last, marks = at, marks[1:]
	}
	return out
}

// BenchmarkPlaybook is a job of one playbook with one trivial task, in a warm and in a new Ansible.
func BenchmarkPlaybook(b *testing.B) {
	for name, cold := range map[string]bool{"warm": false, "cold": true} {
		b.Run(name, func(b *testing.B) {
			w := quiet(b, cold)
			w.repo("org/app", map[string]string{"run.yaml": local("    - command: 'true'\n")})
			measureBuilds(b, w, func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.yaml")} })
		})
	}
}

// BenchmarkNative is a job of one program, here and on a node.
func BenchmarkNative(b *testing.B) {
	files := map[string]string{"run.sh": "#!/bin/sh\ntrue\n"}
	b.Run("executor", func(b *testing.B) {
		w := quiet(b, false)
		w.repo("org/app", files)
		measureBuilds(b, w, func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")} })
	})
	b.Run("node", func(b *testing.B) {
		w, ns := withNode(b, "controller")
		w.repo("org/app", files)
		measureBuilds(b, w, func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh")}; w.onNodes(ns, s) })
	})
	// What the job costs beside its playbook: a second program in the same job.
	b.Run("one more", func(b *testing.B) {
		w := quiet(b, false)
		w.repo("org/app", files)
		measureBuilds(b, w, func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play("run.sh"), play("run.sh")} })
	})
}

// BenchmarkInherited is a job as they are: base and three more definitions each with a pre-run playbook,
// a run and a post-run playbook. It is held against ansible-playbook run once for each of them.
func BenchmarkInherited(b *testing.B) {
	const pre = 4
	text := local("    - command: 'true'\n")
	for name, cold := range map[string]bool{"warm": false, "cold": true} {
		b.Run(name, func(b *testing.B) {
			w := quiet(b, cold)
			w.repo("org/app", map[string]string{"p.yaml": text})
			measureBuilds(b, w, func(s *pipeline.Start) {
				p := []job.Playbook{play("p.yaml")}
				s.Job.Run, s.Job.PostRun = p, p
				for range pre {
					s.Job.PreRun = append(s.Job.PreRun, p...)
				}
			})
		})
	}
	b.Run("plain ansible-playbook", func(b *testing.B) {
		env, err := ansible.Find(installed(b, "9"), "9")
		if err != nil {
			b.Fatal(err)
		}
		dir := b.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		cpu := cpuMeter(b)
		before := cpu()
		b.ResetTimer()
		for range b.N {
			for range pre + 2 {
				cmd := exec.CommandContext(b.Context(), env.Playbook(), "p.yaml")
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatal(err, string(out))
				}
			}
		}
		b.ReportMetric((cpu()-before).Seconds()/float64(b.N), "cpu-s/op")
	})
}

// BenchmarkWorkspace lays out a repository of 3,000 files for a job: the first of its buildset, and those
// after it.
func BenchmarkWorkspace(b *testing.B) {
	w := quiet(b, false)
	files := map[string]string{}
	for i := range 3000 {
		files[fmt.Sprintf("d%d/f%d", i%50, i)] = strings.Repeat(fmt.Sprintf("line of file %d\n", i), 100)
	}
	w.repo("org/app", files)
	p := proj("org/app")
	at := checkout{Ref: "refs/heads/main", Name: "main", Commit: w.states[p.Canonical()]["refs/heads/main"]}
	all := refs(w.states[p.Canonical()])
	dir := b.TempDir()
	n := 0
	lay := func(b *testing.B) {
		n++
		if err := w.x.views.workspace(b.Context(), "bs", p, all, all, at, filepath.Join(dir, fmt.Sprint(n))); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			w.x.views.mu.Lock()
			w.x.views.made = map[string]*made{}
			w.x.views.mu.Unlock()
			old, _ := filepath.Glob(filepath.Join(w.x.Dir, "views", "*"))
			for _, d := range old {
				if err := removeTree(d); err != nil {
					b.Fatal(err)
				}
			}
			b.StartTimer()
			lay(b)
		}
	})
	b.Run("next", func(b *testing.B) {
		lay(b)
		b.ResetTimer()
		for range b.N {
			lay(b)
		}
	})
}

// BenchmarkLogThroughput is one task that prints 100 MB, on the executor: every line has to arrive.
func BenchmarkLogThroughput(b *testing.B) {
	const lines, width = 1_000_000, 100
	script := fmt.Sprintf("yes %s | head -n %d", strings.Repeat("x", width-1), lines)
	for name, files := range map[string]map[string]string{
		"ansible": {"run": local("    - shell: " + script + "\n")},
		"native":  {"run": "#!/bin/sh\n" + script + "\n"},
	} {
		b.Run(name, func(b *testing.B) {
			w := quiet(b, false)
			w.repo("org/app", files)
			if name == "ansible" {
				w.repo("org/app", map[string]string{"run.yaml": files["run"]})
			}
			path := map[string]string{"ansible": "run.yaml", "native": "run"}[name]
			cpu := cpuMeter(b)
			before := cpu()
			b.SetBytes(lines * width)
			for range b.N {
				s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(path)} })
				rise := peak(b)
				end := w.x.runBuild(b.Context(), s, Context{Tenant: "t"})
				b.ReportMetric(rise(), "MB-peak")
				if end.Result != pipeline.Success {
					b.Fatal(end)
				}
				r, err := w.x.Logs.Open(b.Context(), string(s.Build))
				if err != nil {
					b.Fatal(err)
				}
				got := 0
				for from := 0; ; {
					part, err := r.ReadLines(b.Context(), from, 50_000)
					if err != nil && err != io.EOF {
						b.Fatal(err)
					}
					if len(part) == 0 {
						break
					}
					from += len(part)
					for _, l := range part {
						if strings.Contains(l, "localhost | xxx") {
							got++
						}
					}
				}
				r.Close()
				if got != lines {
					b.Fatalf("%d of %d lines arrived", got, lines)
				}
			}
			b.ReportMetric((cpu()-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}
