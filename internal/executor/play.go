package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/sandbox"
	"github.com/gozer-ci/gozer/internal/secret"
)

// flags are what post-run playbooks learn of the build so far.
type flags struct{ post, success, retry bool }

// play runs one playbook of a phase, within timeout (0: none, negative: it is over).
func (b *build) play(ctx context.Context, p *playbook, phase string, index int, timeout time.Duration, f flags) ansible.Result {
	b.console.begin()
	b.console.log.Mark("playbook", p.Path, "")
	title := strings.ToUpper(phase)
	if phase != "run" {
		title += "-RUN"
	}
	b.console.line("%s START: %s", title, p)
	begun := time.Now()
	r, err := b.attempt(ctx, p, phase, index, timeout, f)
	switch {
	case ctx.Err() != nil:
		r = ansible.Result{Outcome: ansible.Aborted}
	case err != nil:
		b.log.Warn("a playbook could not be run", "playbook", p.Path, "error", err)
		b.console.line("%v", err)
		r = ansible.Result{Outcome: ansible.Normal, Code: 1, Output: err.Error()}
	}
	b.learn(r)
	if r.Code == 4 || r.Code == 1 || r.Code == 5 || r.Code == 250 {
		for line := range strings.Lines(r.Output) {
			b.console.line("%s", strings.TrimRight(line, "\n"))
		}
	}
	outcome := r.Outcome
	if errors.Is(context.Cause(ctx), errDiskFull) {
		outcome = "RESULT_DISK_FULL"
	}
	b.console.line("%s END %s: %s", title, outcome, p)
	b.log.Debug("playbook ran", "playbook", p.Path, "phase", phase, "outcome", r.Outcome, "code", r.Code, "took", time.Since(begun))
	return r
}

// learn remembers which hosts cannot be reached any more.
func (b *build) learn(r ansible.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range r.Unreachable {
		if !slices.Contains(b.unreachable, h) {
			b.unreachable = append(b.unreachable, h)
		}
	}
}

func (b *build) attempt(ctx context.Context, p *playbook, phase string, index int, timeout time.Duration, f flags) (ansible.Result, error) {
	if timeout < 0 {
		return ansible.Result{Outcome: ansible.TimedOut}, nil
	}
	begun := time.Now()
	release, err := b.acquire(ctx, p.Semaphores, timeout)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ansible.Result{Outcome: ansible.TimedOut}, nil
	}
	if err != nil {
		return ansible.Result{}, err
	}
	defer release()
	if timeout > 0 {
		if timeout -= time.Since(begun); timeout <= 0 {
			return ansible.Result{Outcome: ansible.TimedOut}, nil
		}
	}
	secrets, err := b.openSecrets(ctx, p)
	if err != nil {
		return ansible.Result{}, err
	}
	b.console.failing, b.console.found = nil, nil
	if phase == "run" {
		b.console.failing, b.console.found = b.patterns(), func() { b.failing(ctx, true) }
	}
	if p.native {
		return b.native(ctx, p, phase, index, timeout, f, secrets)
	}
	b.played = true
	return b.ansiblePlay(ctx, p, phase, index, timeout, f, secrets)
}

// openSecrets decrypts what this playbook may have, and sees to it that the log never shows it.
func (b *build) openSecrets(ctx context.Context, p *playbook) (object, error) {
	out := object{}
	for _, s := range p.Secrets {
		v, err := b.x.Secrets.Open(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("open secret %s of %s: %w", s.Name, s.Owner, err)
		}
		plain, err := ansible.Plain(v)
		if err != nil {
			return nil, err
		}
		b.hide(s.Data, plain)
		out[s.Var] = ansible.AllUnsafe(plain)
	}
	return out, nil
}

// hide keeps a secret from the log. Where somebody encrypted a part of it, the rest of it (a host, a user, a
// folder) is none.
func (b *build) hide(declared, plain any) {
	if !secret.Has(declared) {
		b.mask.AddAll(plain)
		return
	}
	switch d := declared.(type) {
	case object:
		if _, ok := secret.Encrypted(d); ok {
			b.mask.AddAll(plain)
			return
		}
		p, _ := plain.(object)
		for k, v := range d {
			if secret.Has(v) {
				b.hide(v, p[k])
			}
		}
	case []any:
		p, _ := plain.([]any)
		for i, v := range d {
			if i < len(p) && secret.Has(v) {
				b.hide(v, p[i])
			}
		}
	}
}

// failing tells the pipeline, once, that the build will fail. counts: the result is a failure even if
// the playbook ends well.
func (b *build) failing(ctx context.Context, counts bool) {
	b.mu.Lock()
	told := b.prefailed
	if counts {
		b.prefailed = true
	}
	first := !told && !b.told
	b.told = true
	b.mu.Unlock()
	if first {
		_ = b.tell(ctx, &pipeline.BuildFailing{Build: b.s.Build})
	}
}

func (b *build) ansiblePlay(ctx context.Context, p *playbook, phase string, index int, timeout time.Duration, f flags, secrets object) (ansible.Result, error) {
	env, err := b.ansible()
	if err != nil {
		return ansible.Result{}, err
	}
	render := ansible.Render{}
	for k := range secrets {
		render.Without = append(render.Without, k)
	}
	if p.Source.Trusted {
		render.Frozen = b.frozen
	}
	if err := b.writeRun(p.dir, render); err != nil {
		return ansible.Result{}, err
	}
	box := b.box(env, p, phase, index)
	run := b.playbookRun(env, box, p, p.dir, p.path)
	// Later files win: what the site says counts most, then what the job calls extra, then secrets.
	files := []string{b.dir.zuulVars()}
	if len(secrets) > 0 {
		path, err := hidden(box, p.dir, secrets)
		if err != nil {
			return ansible.Result{}, err
		}
		files = append(files, path)
	}
	run.ExtraFiles = append(files, b.dir.extraVars(), b.dir.siteVars())
	if !p.Source.Trusted {
		run.ExtraFiles = append(run.ExtraFiles, b.dir.connectionVars())
	}
	run.Timeout = timeout
	run.Extra = b.extra(p, phase, index, f)
	var rec *record
	defer func() {
		if rec != nil && rec.file != nil {
			rec.file.Close()
		}
	}()
	run.Event = func(e *ansible.Event) {
		switch e.Kind {
		case "record":
			if err := b.record(&rec, e, func() object {
				return object{"playbook": p.name(), "phase": phase, "index": itoa(index), "trusted": p.Source.Trusted, "branch": p.Source.Branch}
			}); err != nil {
				b.log.Warn("job-output.json could not be written", "error", err)
			}
		case "failing":
			if phase == "run" {
				b.failing(ctx, false)
			}
		default:
			b.console.event(e)
		}
	}
	return ansible.Run(ctx, run)
}

// record takes a piece of a playbook's results; r is what came before it. After an error there is no record of
// this playbook.
func (b *build) record(r **record, e *ansible.Event, about func() object) (err error) {
	if *r == nil {
		if *r, err = b.console.newRecord(filepath.Join(b.x.Dir, "builds"), about()); err != nil {
			*r = &record{lost: true}
			return err
		}
	}
	if (*r).lost {
		return nil
	}
	if err = (*r).add(e.Text, e.More); err == nil && !e.More {
		err = b.console.keep(*r)
	}
	(*r).lost = err != nil
	return err
}

// hidden makes a file of secrets that is there in the sandbox alone, in memory.
func hidden(box *sandbox.Box, dir string, secrets object) (path string, err error) {
	text, err := ansible.YAML(secrets)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "secrets.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return "", err
	}
	box.Files = append(box.Files, sandbox.File{Path: path, Data: text})
	return path, nil
}

// extra are the variables of one run, semantics 4.5.
func (b *build) extra(p *playbook, phase string, index int, f flags) [][2]string {
	kv := [][2]string{
		{"zuul_execution_phase", phase},
		{"zuul_execution_phase_index", itoa(index)},
		{"zuul_execution_trusted", pyBool(p.Source.Trusted)},
		{"zuul_execution_canonical_name_and_path", p.name()},
		{"zuul_execution_branch", p.Source.Branch},
	}
	if f.post {
		kv = append(kv, [2]string{"zuul_success", pyBool(f.success)}, [2]string{"zuul_will_retry", pyBool(f.retry)})
	}
	return kv
}

func pyBool(v bool) string {
	if v {
		return "True"
	}
	return "False"
}

// writeRun writes the inventory of one run.
func (b *build) writeRun(dir string, render ansible.Render) error {
	inv := *b.inv
	b.mu.Lock()
	inv.Unreachable = append([]string{}, b.unreachable...)
	b.mu.Unlock()
	text, err := inv.Write(render)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "inventory.yaml"), text, 0o600)
}

// controlDir holds SSH's sockets. It is private to each sandbox, as is everything below /tmp, and short,
// as the path of a socket has to be.
const controlDir = "/tmp/.cp"

// agentSocket is where sandboxes find the build's SSH agent.
const agentSocket = "/run/ssh-agent"

// box is the sandbox of one playbook.
func (b *build) box(env *ansible.Environment, p *playbook, phase string, index int) *sandbox.Box {
	box := &sandbox.Box{
		Name: fmt.Sprintf("%s-%s-%d", b.s.Build, phase, index), Home: b.dir.work(), User: "zuul",
		ReadOnly: []sandbox.Bind{{Path: b.dir.root}, {Path: b.x.plugins}, {Path: b.x.config}},
		Writable: []sandbox.Bind{{Path: b.dir.work()}, {Path: b.dir.hidden()}},
		Tmpfs:    []string{b.dir.tmp()},
		Links:    map[string]string{ansible.JobLink: b.dir.root},
		Limits: sandbox.Limits{Memory: b.x.Limits.Memory, Processes: b.x.Limits.Processes, Files: 4096,
			FileSize: max(4*b.x.Limits.Disk, 1<<30)},
	}
	for _, path := range []string{b.x.CallbackDir, b.x.WinRM.Cert, b.x.WinRM.Key} {
		if path != "" {
			box.ReadOnly = append(box.ReadOnly, sandbox.Bind{Path: path})
		}
	}
	if b.agent != nil {
		box.ReadOnly = append(box.ReadOnly, sandbox.Bind{Path: b.agent.path, Inside: agentSocket})
	}
	if env != nil {
		box.ReadOnly = append(box.ReadOnly, sandbox.Bind{Path: env.Dir})
		for _, base := range env.Base {
			box.ReadOnly = append(box.ReadOnly, sandbox.Bind{Path: base})
		}
	}
	if p == nil {
		return box
	}
	box.ReadOnly = append(box.ReadOnly, p.binds...)
	for i, r := range p.roles {
		box.Links[ansible.RoleLink(i)] = r.path
	}
	more := b.x.Untrusted
	if p.Source.Trusted {
		more = b.x.Trusted
	}
	for _, path := range more.ReadOnly {
		box.ReadOnly = append(box.ReadOnly, sandbox.Bind{Path: path})
	}
	for _, path := range more.Writable {
		box.Writable = append(box.Writable, sandbox.Bind{Path: path})
	}
	return box
}

// playbookRun is what all runs of ansible-playbook of a build have in common. The box is read when the
// run starts, so it can still be added to.
func (b *build) playbookRun(env *ansible.Environment, box *sandbox.Box, p *playbook, dir, path string) ansible.Playbook {
	run := ansible.Playbook{
		Path: path, Config: b.x.config, Forks: len(b.nodes), Inventories: []string{filepath.Join(dir, "inventory.yaml")},
		Env: b.environ(env), Dir: b.dir.work(), Program: []string{env.Playbook()},
	}
	run.ExtraFiles = []string{b.dir.zuulVars(), b.dir.extraVars(), b.dir.siteVars()}
	run.Chatter = b.x.chatter(b)
	run.Verbose = run.Chatter != nil
	run.Start = func(ctx context.Context, c ansible.Command) (ansible.Process, error) {
		if b.x.warm != nil {
			return b.x.startWarm(ctx, env, *box, p.ownModules(), c)
		}
		return b.x.Sandbox.Start(ctx, *box, sandbox.Command{Args: c.Args, Env: c.Env, Dir: c.Dir, Stdout: c.Out, Stderr: c.Out, Extra: c.Extra})
	}
	return run
}

// environ is all of the environment that playbooks get: nothing of the executor's own but its locale
// and the way out.
func (b *build) environ(env *ansible.Environment) []string {
	path := "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
	if env != nil {
		path = filepath.Join(env.Dir, "bin") + ":" + path
	}
	out := []string{
		"PATH=" + path, "HOME=" + b.dir.work(), "USER=zuul", "LOGNAME=zuul", "LANG=C.UTF-8", "LC_ALL=C.UTF-8",
		"TMP=" + b.dir.tmp(), "TMPDIR=" + b.dir.tmp(),
		"ZUUL_JOBDIR=" + b.dir.root,
		"ZUUL_JOB_LOG_CONFIG=" + b.dir.ansible("logging.json"),
		"ZUUL_JOB_FAILURE_OUTPUT=" + string(mustJSON(b.s.Job.FailureOutput)),
		"ZUUL_OUTPUT_MAX_BYTES=" + fmt.Sprint(b.x.Limits.Output),
		"ZUUL_CONSOLE_PORT=19885",
		"ZUUL_ANSIBLE_SPLIT_STREAMS=" + pyBool(b.s.Job.AnsibleSplitStreams),
		"GOZER_BUILD=" + string(b.s.Build),
		"ANSIBLE_SSH_CONTROL_PATH_DIR=" + controlDir,
		"PYTHONPATH=" + filepath.Join(b.x.plugins, "lib"),
		"PYTHONDONTWRITEBYTECODE=1",
	}
	if b.s.Observe {
		out = append(out, "GOZER_OBSERVE="+b.dir.observed("executor.jsonl"))
	}
	if b.agent != nil {
		out = append(out, "SSH_AUTH_SOCK="+agentSocket)
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TZ"} {
		if v := os.Getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}
