package executor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// local is a playbook on the executor with these tasks.
func local(tasks string) string {
	return "- hosts: localhost\n  tasks:\n" + tasks
}

func TestPhases(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", map[string]string{
		"ok.yaml":      local("    - command: echo fine\n"),
		"fail.yaml":    local("    - name: Break it\n      shell: echo about to break; exit 7\n"),
		"say.yaml":     local("    - debug: {msg: 'success={{ zuul_success }} retry={{ zuul_will_retry }} phase={{ zuul_execution_phase }}'}\n"),
		"slow.yaml":    local("    - command: sleep 3600\n"),
		"noretry.yaml": local("    - zuul_return: {data: {zuul: {retry: false}}}\n    - fail: {msg: no}\n"),
		"pause.yaml":   local("    - zuul_return: {data: {zuul: {pause: true}, answer: 42}, secret_data: {password: sesame-street}}\n"),
		"soft.yaml":    local("    - command: \"echo 'FATAL: lost'\"\n    - command: echo later\n"),
		"broken.yaml":  "- hosts: [\n",
		"norole.yaml":  "- hosts: localhost\n  roles: [nowhere]\n",
		"gone.yaml":    "- hosts: localhost\n  tasks:\n    - add_host: {name: away, ansible_host: 127.0.0.1, ansible_port: 1, ansible_connection: ssh}\n- hosts: away\n  gather_facts: false\n  tasks:\n    - command: echo hi\n",
		"artifact.yaml": local("    - zuul_return: {data: {zuul: {artifacts: [{name: a, url: x}], warnings: [one]}, deep: {a: 1}}}\n" +
			"    - zuul_return: {data: {zuul: {artifacts: [{name: b, url: y}], warnings: [two]}, deep: {b: 2}}}\n"),
		"badartifact.yaml": local("    - zuul_return: {data: {zuul: {artifacts: [{name: a}]}}}\n"),
		"notjson.yaml":     local("    - copy: {content: 'no json', dest: '{{ zuul.executor.result_data_file }}'}\n"),
	})
	post := func(ps ...job.Playbook) []job.Playbook { return ps }
	cleanup := play("say.yaml")
	cleanup.Cleanup = true
	level1 := play("say.yaml")
	level1.Level = 1
	failing1 := play("fail.yaml")
	failing1.Level = 0
	for _, c := range []struct {
		name           string
		pre, run, post []job.Playbook
		attempt        int
		timeout        time.Duration
		failure        []string
		result         pipeline.Result
		detail         []string
		log, not       []string
		check          func(t *testing.T, end *pipeline.BuildEnded)
	}{
		{name: "success", pre: post(play("ok.yaml")), run: post(play("ok.yaml")), post: post(play("say.yaml")), result: pipeline.Success,
			log: []string{"PRE-RUN START: [untrusted : example.com/org/app/ok.yaml@main]", "POST-RUN END RESULT_NORMAL", "success=True retry=False phase=post", "localhost | fine"}},
		{name: "failure", run: post(play("fail.yaml"), play("ok.yaml")), post: post(play("say.yaml")), result: pipeline.Failure,
			detail: []string{`Task "Break it" failed on localhost: non-zero return code`, "localhost | about to break"},
			log:    []string{"success=False retry=False", `"rc": 7`}, not: []string{"localhost | fine"}},
		{name: "pre-run fails: try again, and only outer post playbooks", pre: post(failing1), run: post(play("ok.yaml")), post: post(level1, play("say.yaml")),
			attempt: 1, result: "", log: []string{"retry=True"}, not: []string{"RUN START: [untrusted : example.com/org/app/ok.yaml"}},
		{name: "pre-run fails for the last time", pre: post(failing1), run: post(play("ok.yaml")), attempt: 3, result: pipeline.RetryLimit},
		{name: "pre-run fails and must not be repeated", pre: post(play("noretry.yaml")), run: post(play("ok.yaml")), result: pipeline.Failure},
		{name: "post-run fails", run: post(play("ok.yaml")), post: post(play("fail.yaml"), play("say.yaml")), result: pipeline.PostFailure, log: []string{"success=False"}},
		{name: "failure is overwritten by post failure", run: post(play("fail.yaml")), post: post(play("fail.yaml")), result: pipeline.PostFailure},
		{name: "timeout", run: post(play("slow.yaml")), post: post(cleanup), timeout: 1500 * time.Millisecond, result: pipeline.TimedOut,
			detail: []string{"longer than its timeout of 1.5s"}, log: []string{"RUN END RESULT_TIMED_OUT", "success=False"}},
		{name: "output that means failure", run: post(play("soft.yaml")), failure: []string{"FATAL: .*"}, result: pipeline.Failure, log: []string{"localhost | later"},
			detail: []string{"failure-output"}},
		{name: "no YAML", run: post(play("broken.yaml")), result: pipeline.Failure, detail: []string{"broken.yaml", "YAML"}},
		{name: "no such role", run: post(play("norole.yaml")), result: pipeline.Failure, detail: []string{"the role 'nowhere' was not found"}},
		{name: "no such playbook", run: post(play("missing.yaml")), result: pipeline.ErrorResult, detail: []string{"missing.yaml", "there is no such file"}},
		{name: "unreachable", run: post(play("gone.yaml")), result: "", detail: []string{"unreachable"}, log: []string{"RUN END RESULT_UNREACHABLE", "away | UNREACHABLE"}},
		{name: "lists of zuul_return grow", run: post(play("artifact.yaml")), result: pipeline.Success, check: func(t *testing.T, end *pipeline.BuildEnded) {
			if got := fmt.Sprint(end.Data); got != "map[deep:map[a:1 b:2] zuul:map[artifacts:[map[name:b url:y] map[name:a url:x]] warnings:[two one]]]" {
				t.Error(got)
			}
			if fmt.Sprint(end.Warnings) != "[two one]" {
				t.Error(end.Warnings)
			}
		}},
		{name: "an artifact without URL", run: post(play("badartifact.yaml")), result: pipeline.Failure, detail: []string{"zuul.artifacts[0] lacks url"}},
		{name: "results that are no JSON", run: post(play("notjson.yaml")), result: pipeline.Success, check: func(t *testing.T, end *pipeline.BuildEnded) {
			want(t, fmt.Sprint(end.Warnings), "what the job returned cannot be read")
		}},
		{name: "pause", run: post(play("pause.yaml")), post: post(play("say.yaml")), result: pipeline.Success, log: []string{"Resuming"},
			not: []string{"sesame"}, check: func(t *testing.T, end *pipeline.BuildEnded) {
				if fmt.Sprint(end.Data["answer"]) != "42" || end.SecretData != "sealed" || w.secret["password"] != "sesame-street" {
					t.Errorf("%+v %v", end, w.secret)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			s := w.start(func(s *pipeline.Start) {
				s.Job.PreRun, s.Job.Run, s.Job.PostRun, s.Job.Timeout, s.Job.FailureOutput = c.pre, c.run, c.post, c.timeout, c.failure
				if c.attempt > 0 {
					s.Attempt = c.attempt
				}
			})
			end, log := w.build(s)
			if end.Result != c.result {
				t.Errorf("result %q, want %q; %s\n%s", end.Result, c.result, end.Detail, log)
			}
			want(t, end.Detail, c.detail...)
			want(t, log, c.log...)
			for _, n := range c.not {
				if strings.Contains(log, n) {
					t.Errorf("has %q:\n%s", n, log)
				}
			}
			if c.check != nil {
				c.check(t, end)
			}
		})
	}
}

func TestAStoppedBuildRunsItsCleanup(t *testing.T) {
	w := newWorld(t, nil)
	sleep, mark := sleeper(1)
	w.repo("org/app", map[string]string{"slow.yaml": local("    - command: " + sleep + "\n"), "clean.yaml": local("    - command: echo cleaned\n"), "post.yaml": local("    - command: echo posted\n")})
	c := play("clean.yaml")
	c.Cleanup = true
	s := w.start(func(s *pipeline.Start) {
		s.Job.Run = []job.Playbook{play("slow.yaml")}
		s.Job.PostRun = []job.Playbook{play("post.yaml"), c}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var end *pipeline.BuildEnded
	var build sync.WaitGroup
	build.Go(func() { end = w.x.runBuild(ctx, s, Context{Tenant: "t", Pipeline: "check"}) })
	eventually(t, "the task is at work", func() bool { return len(processes(mark)) > 0 })
	cancel()
	build.Wait()
	log := w.logOf(s)
	if end.Result != pipeline.Aborted {
		t.Errorf("end %+v", end)
	}
	want(t, log, "RUN END RESULT_ABORTED", "localhost | cleaned")
	if strings.Contains(log, "posted") {
		t.Error(log)
	}
}

// What programs return adds up, as what zuul_return is called with does.
func TestReturnedDataAddsUp(t *testing.T) {
	old := object{"a": 1, "d": object{"x": 1}, "zuul": object{"artifacts": []any{"one"}, "warnings": []any{"first"}, "pause": true,
		"file_comments": object{"f": []any{"f1"}, "g": []any{"g1"}}}}
	later := object{"a": 2, "d": object{"y": 2}, "zuul": object{"artifacts": []any{"two"}, "warnings": []any{"second"}, "file_comments": object{"f": []any{"f2"}, "h": []any{"h1"}}}}
	got := fmt.Sprint(addReturned(old, later))
	if want := "map[a:2 d:map[x:1 y:2] zuul:map[artifacts:[two one] file_comments:map[f:[f1 f2] g:[g1] h:[h1]] pause:true warnings:[second first]]]"; got != want {
		t.Errorf("%s\n%s", got, want)
	}
	if got := fmt.Sprint(old["zuul"].(object)["artifacts"], addReturned(nil, later)["a"], addReturned(old, nil)["a"]); got != "[one] 2 1" {
		t.Error(got)
	}
}

// A mistake of the executor's own ends one build, not all.
func TestAMistakeInTheExecutor(t *testing.T) {
	w := newWorld(t, nil)
	w.repo("org/app", map[string]string{"run.sh": "#!/bin/sh\n"})
	w.x.Blob = func(context.Context, string, any) error { panic("oops") }
	for attempt, result := range map[int]pipeline.Result{1: "", 3: pipeline.RetryLimit} {
		end := w.x.runBuild(t.Context(), w.start(func(s *pipeline.Start) { s.Attempt, s.Job.Run = attempt, []job.Playbook{play("run.sh")} }), Context{})
		if end.Result != result || !strings.Contains(end.Detail, "oops") {
			t.Errorf("attempt %d: %+v", attempt, end)
		}
	}
}
