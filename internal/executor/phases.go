package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// verdict is what the playbooks of a build come to.
type verdict struct {
	// result; empty: nothing is known.
	result pipeline.Result
	// retry: another attempt shall be made, whatever result says.
	retry   bool
	aborted bool
	detail  string
}

// cleanupTime bounds each playbook that still runs after an abort.
const cleanupTime = 5 * time.Minute

// phases runs the playbooks: semantics 4.6.
func (b *build) phases(ctx context.Context) verdict {
	b.inUse = true
	begun := time.Now()
	if v := b.setup(ctx); v != nil {
		return *v
	}
	v, level := b.preRun(ctx, begun)
	if !v.retry && !v.aborted {
		v = b.mainRun(ctx, begun)
	}
	if v.retry && level >= 0 && b.mayNotRetry() {
		v.retry, v.result = false, pipeline.Failure
	}
	if v.result == pipeline.Success && !v.retry && b.returned().pause() {
		v = b.pause(ctx, v)
	}
	return b.postRun(ctx, v, level)
}

// remaining is what is left of the job's timeout; 0 is no bound, and negative is nothing.
func (b *build) remaining(begun time.Time) time.Duration {
	if b.s.Job.Timeout <= 0 {
		return 0
	}
	if left := b.s.Job.Timeout - time.Since(begun); left > 0 {
		return left
	}
	return -1
}

// preRun runs the pre-run playbooks; level is that of the one that failed, or -1.
func (b *build) preRun(ctx context.Context, begun time.Time) (v verdict, level int) {
	for i, p := range b.pre {
		r := b.play(ctx, p, "pre", i, b.remaining(begun), flags{})
		switch {
		case r.Outcome == ansible.Aborted:
			return verdict{aborted: true}, -1
		case r.Outcome != ansible.Normal || r.Code != 0:
			return verdict{retry: true, detail: b.explain(p, r)}, p.Level
		}
	}
	return verdict{}, -1
}

// mainRun runs the run playbooks.
func (b *build) mainRun(ctx context.Context, begun time.Time) verdict {
	v := verdict{result: pipeline.Success}
	for i, p := range b.run {
		r := b.play(ctx, p, "run", i, b.remaining(begun), flags{})
		switch {
		case r.Outcome == ansible.Aborted:
			return verdict{aborted: true}
		case r.Outcome == ansible.TimedOut:
			return verdict{result: pipeline.TimedOut, detail: fmt.Sprintf("The job ran longer than its timeout of %s, in %s", b.s.Job.Timeout, p.Path)}
		case r.Outcome == ansible.Unreachable:
			return verdict{retry: true, detail: b.explain(p, r)}
		case r.Code != 0:
			return verdict{result: pipeline.Failure, detail: b.explain(p, r)}
		}
		b.mu.Lock()
		if b.prefailed && v.result == pipeline.Success {
			v = verdict{result: pipeline.Failure, detail: "Output of the job matched one of its failure-output patterns"}
		}
		b.mu.Unlock()
	}
	return v
}

// mayNotRetry: the job returned zuul.retry false, so that a failed pre-run is a failure of the job.
func (b *build) mayNotRetry() bool {
	retry, ok := b.returned().zuul()["retry"].(bool)
	return ok && !retry
}

// pause tells the pipeline that the children can start, and waits until they are done.
func (b *build) pause(ctx context.Context, v verdict) verdict {
	data := b.returned()
	in := &pipeline.BuildPaused{Build: b.s.Build, Data: data.Data}
	in.SecretData = b.seal(ctx, data)
	b.console.line("Paused: waiting for the jobs that depend on this one")
	if err := b.tell(ctx, in); err != nil {
		return verdict{retry: true, detail: "The pause of the build could not be told: " + err.Error()}
	}
	select {
	case <-b.ctx.Resume:
		b.console.line("Resuming")
		return v
	case <-ctx.Done():
		return verdict{aborted: true}
	}
}

// postRun runs the post-run playbooks that a verdict leaves, and says what they change about it.
func (b *build) postRun(ctx context.Context, v verdict, level int) verdict {
	cause := context.Cause(ctx)
	if errors.Is(cause, kv.ErrSessionLost) {
		return v // the nodes may be somebody else's by now
	}
	success := v.result == pipeline.Success && !v.retry && !v.aborted
	for i, p := range b.post {
		if v.aborted && !p.Cleanup {
			continue
		}
		if level >= 0 && p.Level > level {
			continue
		}
		pctx, timeout := ctx, b.s.Job.PostTimeout
		if ctx.Err() != nil {
			// What was begun is cleaned up even when the build is stopped.
			pctx = context.WithoutCancel(ctx)
			if timeout == 0 || timeout > cleanupTime {
				timeout = cleanupTime
			}
		}
		r := b.play(pctx, p, "post", i, timeout, flags{post: true, success: success, retry: v.retry && !b.lastAttempt()})
		switch {
		case r.Outcome == ansible.Normal && r.Code == 0, p.LegacyCleanup:
			continue
		case r.Outcome == ansible.Aborted:
			v.aborted = true
			continue
		}
		success = false
		if r.Outcome == ansible.Unreachable && !p.Cleanup {
			v.retry, v.detail = true, b.explain(p, r)
			continue
		}
		if p.Cleanup || v.aborted || v.retry || v.result == pipeline.TimedOut || v.result == pipeline.PostFailure {
			continue
		}
		if v.result == pipeline.Success || v.result == pipeline.Failure {
			v.result, v.detail = pipeline.PostFailure, b.explain(p, r)
		}
	}
	return v
}

// conclude makes the verdict the build's result.
func (b *build) conclude(v verdict, end *pipeline.BuildEnded) {
	end.Detail = v.detail
	switch {
	case v.result == pipeline.DiskFull:
		end.Result = pipeline.DiskFull
	case v.aborted:
		end.Result = pipeline.Aborted
		if end.Detail == "" {
			end.Detail = "The build was stopped"
		}
	case v.retry && b.lastAttempt():
		end.Result = pipeline.RetryLimit
	case v.retry:
		end.Result = ""
	default:
		end.Result = v.result
	}
}
