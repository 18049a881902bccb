package gatetest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// Builds is the scripted executor. A build succeeds, unless the script holds it or says how it ends. Builds
// start in the order in which they were claimed. Real builds take longer than whatever the system does
// beside them; so builds end when somebody waits for the system to settle and nothing else goes on, all
// that are free to then, in the order in which they started. Until then those that were released count as
// running.
type Builds struct {
	sys *System
	log *slog.Logger
	ctx context.Context

	mu     sync.Mutex
	hold   map[Stage]bool
	rules  []*rule
	data   map[[2]string]map[string]any // by job and own ref
	all    []*Build                     // claimed and not ended
	ended  []*Build
	begun  int
	moves  int
	ends   bool // somebody waits for the system to settle
	work   chan struct{}
	idle   chan struct{}                           // something else came to an end
	repos  map[string]map[string]map[string]string // repository states by blob
	trees  map[string][]string                     // paths by commit
	titles map[string][]string                     // commit messages by commit
}

// Stage is where a build can be kept from going on.
type Stage string

// The stages of a build: requested, accepted but without a workspace, running.
const (
	Requested Stage = "requests"
	Accepted  Stage = "starts"
	Running   Stage = "builds"
)

// NoResult is the result of a build that ended without one.
const NoResult = "NONE"

// Build is one build that executors were asked for.
type Build struct {
	*pipeline.Start
	Tenant, Pipeline string
	// Priority of the request: smaller is sooner.
	Priority int
	// Result as the executor saw it; empty while the build runs.
	Result string
	// Paused: it waits for its children.
	Paused bool

	task   *store.Task
	stage  Stage
	waits  bool // at its stage, until released
	begun  int  // place in the order of starts
	mark   string
	broken pipeline.Result // what its preparation came to, where its playbooks cannot run
	detail string
	resume bool
	cancel bool
	done   chan struct{}
}

// rule says how builds of a job end that have a commit in their workspace.
type rule struct {
	job     string
	holds   func(*Build) bool
	lost    bool
	left    int // uses left; less than 0: no end
	forever bool
}

func newBuilds(sys *System, log *slog.Logger) *Builds {
	return &Builds{sys: sys, log: log, hold: map[Stage]bool{}, data: map[[2]string]map[string]any{}, work: make(chan struct{}, 1), idle: make(chan struct{}, 1),
		repos: map[string]map[string]map[string]string{}, titles: map[string][]string{}, trees: map[string][]string{}}
}

func (x *Builds) serve(ctx context.Context, ses *kv.Session) error {
	g, ctx := errgroup.WithContext(ctx)
	x.mu.Lock()
	x.ctx = ctx
	x.mu.Unlock()
	g.Go(func() error {
		return store.Serve(ctx, x.sys.Store, store.ServeConfig{Kind: store.KindBuild, Session: ses, Owner: "executor", Log: x.log, Claimed: x.claimed}, x.handle)
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-x.work:
			case <-x.idle:
			}
			if err := x.play(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	})
	return g.Wait()
}

// settling lets builds end, or not any more.
func (x *Builds) settling(yes bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ends = yes
	x.wake()
}

// wake has play look again; the lock is held.
func (x *Builds) wake() {
	x.moves++
	select {
	case x.work <- struct{}{}:
	default:
	}
	x.sys.kick()
}

// claimed keeps the order of the claims.
func (x *Builds) claimed(t *store.Task) {
	b := &Build{task: t, stage: Requested, Tenant: t.Request.Tenant, Pipeline: t.Request.Pipeline, Priority: t.Request.Priority, done: make(chan struct{})}
	x.mu.Lock()
	defer x.mu.Unlock()
	b.waits = x.hold[Requested]
	x.all = append(x.all, b)
}

// handle hands what the pipeline says about a build to play, and ends with the build.
func (x *Builds) handle(ctx context.Context, t *store.Task) error {
	start := new(pipeline.Start)
	if err := t.Decode(ctx, start); err != nil {
		return err
	}
	x.mu.Lock()
	i := slices.IndexFunc(x.all, func(b *Build) bool { return b.task == t })
	b := x.all[i]
	b.Start = start
	x.wake()
	x.mu.Unlock()
	for {
		select {
		case <-b.done:
			return nil
		case sig := <-t.Signals():
			x.mu.Lock()
			b.resume = b.resume || sig.Name == store.SignalResume
			x.wake()
			x.mu.Unlock()
		case <-ctx.Done():
			x.mu.Lock()
			b.cancel = true
			x.wake()
			x.mu.Unlock()
			select {
			case <-b.done:
				return nil
			case <-x.ctx.Done():
				return errStopped
			}
		}
	}
}

// play does what can be done until nothing is left: cancels first, then starts, then, where nothing else
// goes on, ends.
func (x *Builds) play(ctx context.Context) error {
	for {
		x.mu.Lock()
		b, do := x.next()
		if b != nil {
			x.moves++
		}
		x.mu.Unlock()
		if b == nil {
			break
		}
		if err := do(ctx, b); err != nil {
			return fmt.Errorf("build %s of job %s: %w", b.Build, b.Job.Name, err)
		}
	}
	free := x.free()
	if len(free) == 0 {
		return nil
	}
	if why, err := x.sys.pending(ctx, true); err != nil || why != "" {
		return nil // Settle tells the error
	}
	for _, b := range free {
		if err := x.end(ctx, b); err != nil {
			return fmt.Errorf("build %s of job %s: %w", b.Build, b.Job.Name, err)
		}
	}
	return nil
}

// free lists the builds that may end, in the order in which they started; none while the order of others is
// not known.
func (x *Builds) free() []*Build {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []*Build
	if !x.ends {
		return nil
	}
	for _, b := range x.all {
		if b.Start == nil {
			return nil
		}
		if b.free() {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *Build) int { return cmp.Compare(a.begun, b.begun) })
	return out
}

func (b *Build) free() bool {
	return b.stage == Running && !b.waits && !b.cancel && (!b.Paused || b.resume)
}

func (x *Builds) next() (*Build, func(context.Context, *Build) error) {
	for _, b := range x.all {
		if b.Start != nil && b.cancel {
			return b, x.abort
		}
	}
	for _, b := range x.all {
		switch {
		case b.Start == nil:
			// Those that were claimed later wait for it: its handler is about to begin.
			return nil, nil
		case b.stage == Requested && !b.waits:
			x.begun++
			b.stage, b.begun, b.waits = Accepted, x.begun, x.hold[Accepted]
			return b, func(context.Context, *Build) error { x.sys.kick(); return nil }
		case b.stage == Accepted && !b.waits:
			return b, x.begin
		}
	}
	return nil, nil
}

// begin starts a build.
func (x *Builds) begin(ctx context.Context, b *Build) error {
	result, detail, err := x.preflight(ctx, b)
	if err != nil {
		return err
	}
	err = b.task.Tell(ctx, &pipeline.BuildStarted{Build: b.Start.Build, At: time.Now(), Executor: "executor"})
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		b.cancel = true // it is not ours any more
		return nil
	}
	b.stage, b.waits = Running, x.hold[Running] && result == ""
	b.broken, b.detail = result, detail
	return nil
}

// abort ends a build that is not wanted any more; one that never started is as if it had not been.
func (x *Builds) abort(ctx context.Context, b *Build) error {
	return x.finish(ctx, b, "ABORTED", &pipeline.BuildEnded{Build: b.Start.Build, Result: pipeline.Aborted, At: time.Now()})
}

// end ends or pauses a build.
func (x *Builds) end(ctx context.Context, b *Build) error {
	out := &pipeline.BuildEnded{Build: b.Start.Build, At: time.Now(), Data: x.returns(b)}
	word := x.outcome(b)
	if b.broken != "" {
		word, out.Detail, out.Data = string(b.broken), b.detail, nil
	}
	switch word {
	case NoResult:
		out.Result = ""
	case "LOST": // its executor is gone: the next one says so
		word, out.Result, out.Data = "ABORTED", pipeline.Aborted, nil
	default:
		out.Result = pipeline.Result(word)
	}
	zuul, _ := out.Data["zuul"].(map[string]any)
	out.Warnings = executor.Warnings(zuul)
	if pause, _ := zuul["pause"].(bool); pause && word == "SUCCESS" && !b.Paused {
		err := b.task.Tell(ctx, &pipeline.BuildPaused{Build: b.Start.Build, Data: out.Data})
		x.mu.Lock()
		defer x.mu.Unlock()
		b.Paused = true
		b.cancel = b.cancel || err != nil
		x.wake()
		return nil
	}
	return x.finish(ctx, b, word, out)
}

// outcome is the result as the executor sees it.
func (x *Builds) outcome(b *Build) string {
	x.mu.Lock()
	mark, rules := b.mark, slices.Clone(x.rules)
	x.mu.Unlock()
	switch mark {
	case "lost":
		return "LOST"
	case "aborted":
		return "ABORTED"
	case "unreachable", "no-result":
		return NoResult
	case "failed":
		return "FAILURE"
	}
	if b.Paused {
		return "SUCCESS"
	}
	word := "SUCCESS"
	for _, r := range rules {
		if r.job != b.Job.Name || (!r.forever && r.left == 0) || !r.holds(b) {
			continue
		}
		if r.lost {
			r.left--
			return NoResult
		}
		word = "FAILURE"
	}
	return word
}

func (x *Builds) returns(b *Build) map[string]any {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := b.Own()
	if c == nil {
		return nil
	}
	return x.data[[2]string{b.Job.Name, c.Ref}]
}

// finish puts the build into the history and tells the pipeline.
func (x *Builds) finish(ctx context.Context, b *Build, word string, out *pipeline.BuildEnded) error {
	x.mu.Lock()
	x.all = slices.DeleteFunc(x.all, func(o *Build) bool { return o == b })
	if b.stage == Running && b.broken == "" { // a build that never came to its playbooks is in no list
		b.Result = word
		x.ended = append(x.ended, b)
	}
	x.mu.Unlock()
	err := b.task.Done(ctx, out)
	close(b.done)
	x.sys.kick()
	if err != nil && ctx.Err() == nil {
		x.log.Warn("the end of a build was not wanted", "build", out.Build, "error", err)
	}
	return nil
}
