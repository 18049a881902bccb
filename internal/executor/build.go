package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// build is one build while it runs.
type build struct {
	x                *Executor
	s                *pipeline.Start
	tenant, pipeline string
	ctx              Context
	log              *slog.Logger

	dir     jobDir
	primary *change.Change
	version string
	env     *ansible.Environment
	console *console
	mask    *joblog.Mask
	agent   *sshAgent
	// client is the connection of programs to the first node, once one has run.
	client *ssh.Client
	// played: a playbook ran, so that sources are where the job wants them.
	played bool
	nodes  []node.Node
	inUse  bool

	projects []project
	included []any
	// includedVars are what the files of include-vars hold.
	includedVars object
	states       states // merged state of all repositories
	spec         states // with the speculative merges on top
	bases        states
	inv          *ansible.Inventory
	frozen       map[string]map[string]any

	pre, run, post []*playbook
	releases       []func()
	began          time.Time

	mu          sync.Mutex
	unreachable []string
	prefailed   bool
	told        bool
	warnings    []string
}

// project is one repository of the workspace.
type project struct {
	project  change.Project
	srcDir   string
	required bool
	at       checkout
}

func itoa(n int) string { return strconv.Itoa(n) }

// halt ends a build before its playbooks ran.
type halt struct {
	result pipeline.Result // empty: try again
	detail string
}

func (h halt) Error() string { return h.detail }

// runBuild runs a build to its end, whatever that is, and leaves nothing of it. It knows no store: what
// it needs came with s, and what it has to say goes through c.
func (x *Executor) runBuild(ctx context.Context, s *pipeline.Start, c Context) *pipeline.BuildEnded {
	b := &build{x: x, s: s, tenant: c.Tenant, pipeline: c.Pipeline, ctx: c, began: time.Now(), mask: &joblog.Mask{},
		log: x.Log.With("tenant", c.Tenant, "pipeline", c.Pipeline, "build", string(s.Build), "job", s.Job.Name),
		dir: jobDir{filepath.Join(x.Dir, "builds", filepath.Base(string(s.Build)))}}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := &pipeline.BuildEnded{Build: s.Build, Started: b.began}
	w, err := x.Logs.Create(string(s.Build), b.mask)
	if err != nil {
		// A full disk of this machine is none of the job's doing.
		end.Detail, end.At = "The log cannot be written: "+err.Error(), time.Now()
		b.again(end)
		return end
	}
	b.survive(end, func() { b.life(ctx, cancel, w, end) })
	if err := w.Err(); err != nil {
		end.Warnings = append(end.Warnings, "Lines of the log are lost: "+err.Error())
	}
	end.At = time.Now()
	b.finish(context.WithoutCancel(ctx), w, end)
	return end
}

// survive keeps a mistake in this program from ending the other builds of the executor: this one is tried
// again.
func (b *build) survive(end *pipeline.BuildEnded, f func()) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("a build went wrong in the executor itself", "panic", p, "stack", string(debug.Stack()))
			end.Detail = fmt.Sprintf("The executor went wrong: %v", p)
			b.again(end)
		}
	}()
	f()
}

// again ends an attempt that says nothing about the job: there is another one, unless it was the last.
func (b *build) again(end *pipeline.BuildEnded) {
	end.Result = ""
	if b.lastAttempt() {
		end.Result = pipeline.RetryLimit
	}
}

// life is everything between an empty folder and a result.
func (b *build) life(ctx context.Context, cancel context.CancelCauseFunc, w *joblog.Writer, end *pipeline.BuildEnded) {
	_ = b.tell(ctx, &pipeline.BuildStarted{Build: b.s.Build, At: b.began, Executor: b.x.ID})
	err := b.prepare(ctx, w)
	if err != nil {
		b.early(ctx, err, end)
		return
	}
	watched, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.account(watched, cancel)
	}()
	v := b.phases(ctx)
	stop()
	<-done
	var full noRoom
	switch {
	case errors.Is(context.Cause(ctx), errDiskFull):
		v = verdict{result: pipeline.DiskFull, detail: fmt.Sprintf("The build wrote more than %d MB on the executor", b.x.Limits.Disk>>20)}
	case errors.As(context.Cause(ctx), &full):
		v = verdict{retry: true, detail: full.Error()}
	case v.result != pipeline.Success && !v.aborted && errors.As(b.room(usage(b.dir.root)), &full):
		b.console.line("%v", full)
		v = verdict{retry: true, detail: full.Error()}
	}
	b.conclude(v, end)
	b.results(context.WithoutCancel(ctx), end)
	b.keepObserved(context.WithoutCancel(ctx))
}

func (b *build) tell(ctx context.Context, in pipeline.Input) error {
	if b.ctx.Tell == nil {
		return nil
	}
	err := b.ctx.Tell(ctx, in)
	if err != nil {
		b.log.Warn("news of a build could not be told", "error", err)
	}
	return err
}

// early sorts out why a build could not begin.
func (b *build) early(ctx context.Context, err error, end *pipeline.BuildEnded) {
	var h halt
	switch {
	case ctx.Err() != nil:
		end.Result, end.Detail = pipeline.Aborted, "The build was stopped before its first playbook"
	case errors.As(err, &h):
		end.Result, end.Detail = h.result, h.detail
	case errors.Is(err, errMerge):
		end.Result, end.Detail = pipeline.MergeConflict, err.Error()
	case errors.Is(err, git.ErrGone), errors.Is(err, git.ErrRefused):
		end.Result, end.Detail = pipeline.ErrorResult, err.Error() // as it will be at the next attempt
	default:
		// Something around the job failed (a forge, a disk): another attempt may do.
		end.Detail = err.Error()
	}
	if end.Result == "" {
		b.again(end)
	}
	if b.console != nil {
		b.console.line("%s", end.Detail)
	}
}

func (b *build) lastAttempt() bool { return b.s.Attempt >= b.s.Job.Attempts }

// prepare does what comes before the first playbook: semantics 4.1, steps 2 to 7.
func (b *build) prepare(ctx context.Context, w *joblog.Writer) error {
	select {
	case b.x.starting <- struct{}{}:
		defer func() { <-b.x.starting }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := removeTree(b.dir.root); err != nil {
		return err
	}
	if err := b.dir.make(); err != nil {
		return fmt.Errorf("make the folder of the build: %w", err)
	}
	var err error
	if b.console, err = newConsole(w, b.mask, b.dir); err != nil {
		return err
	}
	if err := b.layObserver(); err != nil {
		return fmt.Errorf("prepare the observation of the build: %w", err)
	}
	b.console.line("Job console starting")
	if err := b.identify(); err != nil {
		return err
	}
	if err := b.sources(ctx); err != nil {
		return err
	}
	if b.includedVars, err = b.includeVars(ctx); err != nil {
		return err
	}
	b.console.line("Preparing playbooks")
	if err := b.preparePlaybooks(ctx); err != nil {
		return err
	}
	if !b.allNative() {
		if _, err := b.ansible(); err != nil {
			return err
		}
	}
	// Only now, so that nodes are as good as new where a source could not be had.
	if err := b.useNodes(ctx); err != nil {
		return err
	}
	if err := b.layView(ctx); err != nil {
		return err
	}
	if err := b.startAgent(ctx); err != nil {
		return err
	}
	return b.variables(ctx)
}

// identify finds the primary change and the Ansible that the job wants.
func (b *build) identify() error {
	if len(b.s.Refs) == 0 {
		return halt{pipeline.ErrorResult, "The build is for no change"}
	}
	if b.primary = b.change(b.s.Refs[0]); b.primary == nil {
		return halt{pipeline.ErrorResult, fmt.Sprintf("The build is for %s, which is not among its changes", b.s.Refs[0])}
	}
	b.version = b.s.Job.AnsibleVersion
	if b.version == "" {
		b.version = b.x.Ansible.Default
	}
	if b.version == "" {
		b.version = ansible.DefaultVersion
	}
	if _, err := ansible.ReleaseOf(b.version); err != nil {
		return halt{pipeline.ErrorResult, err.Error()}
	}
	return nil
}

// ansible finds the environment when it is needed first: native jobs never do.
func (b *build) ansible() (*ansible.Environment, error) {
	if b.env != nil {
		return b.env, nil
	}
	e, err := ansible.Find(b.x.Ansible.Dir, b.version)
	if err != nil {
		return nil, halt{pipeline.ErrorResult, err.Error()}
	}
	b.env = e
	return e, nil
}

func (b *build) change(k change.Key) *change.Change {
	for _, c := range b.s.Changes {
		if c.Key() == k {
			return c
		}
	}
	return nil
}

func (b *build) useNodes(ctx context.Context) error {
	if len(b.s.Nodes) == 0 {
		return nil
	}
	nodes, err := b.x.Nodes.Use(ctx, b.s.Nodes, b.s.Build)
	for errors.Is(err, kv.ErrNoSpace) && ctx.Err() == nil {
		// The nodes are none the worse for a store that is full.
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		nodes, err = b.x.Nodes.Use(ctx, b.s.Nodes, b.s.Build)
	}
	if errors.Is(err, ErrNodeLost) {
		return halt{pipeline.NodeFailure, "The nodes of the build are lost: " + err.Error()}
	}
	if err != nil {
		return fmt.Errorf("take the nodes of the build: %w", err)
	}
	b.nodes = nodes
	return writeKnownHosts(b.dir.knownHosts(), nodes)
}

// finish gives everything back and keeps the log.
func (b *build) finish(ctx context.Context, w *joblog.Writer, end *pipeline.BuildEnded) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	warn := func(what string, err error) {
		if err != nil {
			b.log.Warn(what, "error", err)
		}
	}
	b.hangUp()
	b.releaseNodes(ctx, end)
	if b.agent != nil {
		b.agent.close()
	}
	for _, release := range b.releases {
		release()
	}
	if b.console != nil {
		b.console.close()
		if f, err := os.Open(b.console.json.Name()); err == nil {
			warn("job-output.json could not be kept", b.attachJSON(ctx, f))
			f.Close()
		}
	}
	if len(b.states) > 0 {
		warn("the recipe of a build could not be kept", b.keepRecipe(ctx))
	}
	if b.x.keeps() {
		b.log.Info("the folder of a build is kept", "folder", b.dir.root)
	} else {
		warn("the folder of a build could not be removed", removeTree(b.dir.root))
	}
	warn("the log of a build could not be kept", w.Finish(ctx))
}

func (b *build) releaseNodes(ctx context.Context, end *pipeline.BuildEnded) {
	if b.nodes == nil {
		return // they are still what they were: allocated, and given back by the pipeline
	}
	how := Release{Used: b.inUse}
	if b.x.Hold != nil {
		how.Hold = b.x.Hold(ctx, b.s, b.tenant, b.pipeline, end)
	}
	end.Held = how.Hold != nil
	if err := b.x.Nodes.Release(ctx, b.s.Nodes, b.s.Build, how); err != nil {
		b.log.Warn("nodes could not be given back", "error", err)
	}
}

// nodeset tells whether the job has nodes; without, it runs on the executor only.
func (b *build) nodeset() job.Nodeset { return b.s.Nodeset }
