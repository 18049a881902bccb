package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Signal is a word to whoever works on a request.
type Signal struct{ Name, Value string }

// Task is a request that this worker holds.
type Task struct {
	Request *Request
	Lost    bool
	// Seen is when this process learned of the request.
	Seen time.Time

	s       *Store
	fence   Fence
	made    int64 // revision of the request's making
	signals chan Signal
	mu      sync.Mutex
	done    bool
	unsure  bool // an attempt to end had an unknown outcome
}

// Take claims a request for a worker, in a transaction that counts the beginning. nil where somebody else
// has it, or where it is not as r says any more: then r.Value.Began may be too small, and a worker that
// must not begin twice would. A claim of the worker's own that it knows nothing of (its making had an
// unknown outcome) is given up, so that it can be taken again: whether work began under it is not known, so
// it counts as a beginning.
func (s *Store) Take(ctx context.Context, ses Leased, owner string, r Record[Request]) (*Task, error) {
	t, err := s.take(ctx, ses, owner, r)
	if t != nil || err != nil {
		return t, err
	}
	ck := ClaimPrefix(r.Value.Kind) + r.Name
	e, found, err := kv.Get(ctx, s.kv, ck)
	if err != nil || !found || e.Lease != ses.Lease() || string(e.Value) != owner {
		return nil, err
	}
	return nil, s.Disown(ctx, Fence{ck, e.Create})
}

// take is Take of a request that is not known to be claimed.
func (s *Store) take(ctx context.Context, ses Leased, owner string, r Record[Request]) (*Task, error) {
	req := r.Value
	req.Began++
	req.By = owner
	rk, ck := RequestPrefix(req.Kind)+r.Name, ClaimPrefix(req.Kind)+r.Name
	ok, rev, err := s.kv.Commit(ctx, kv.Txn{
		If:   []kv.Cmp{kv.Missing(ck), kv.Unchanged(rk, r.Mod)},
		Then: []kv.Op{kv.PutLease(ck, []byte(owner), ses.Lease()), kv.Put(rk, encode(req))},
	})
	if err != nil || !ok {
		return nil, err
	}
	return &Task{Request: &req, s: s, fence: Fence{ck, rev}, made: r.Create, signals: make(chan Signal, 16)}, nil
}

// Decode reads the request's body.
func (t *Task) Decode(ctx context.Context, body any) error {
	b := t.Request.Body
	if t.Request.Blob != "" {
		var err error
		if b, err = t.s.Blob(ctx, t.Request.Blob); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(b, body); err != nil {
		return fmt.Errorf("decode %s request %s: %w", t.Request.Kind, t.Request.ID, err)
	}
	if t.Request.Shared != "" {
		if err := t.s.JSON(ctx, t.Request.Shared, body); err != nil {
			return fmt.Errorf("decode what %s request %s shares: %w", t.Request.Kind, t.Request.ID, err)
		}
	}
	return nil
}

// Signals delivers what the scheduler has to say about the request while it is worked on.
func (t *Task) Signals() <-chan Signal { return t.signals }

// Fence is the claim under which the worker holds the request.
func (t *Task) Fence() Fence { return t.fence }

func (t *Task) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

// Tell sends news to the pipeline while the request stays. Where it is not known whether they arrived, they
// are sent again until ctx ends or the claim is lost: the pipeline may get them twice.
func (t *Task) Tell(ctx context.Context, in ...pipeline.Input) error {
	ops, err := t.s.InputOps(ctx, t.Request.Tenant, t.Request.Pipeline, in...)
	if err != nil {
		return err
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if _, err = t.s.Write(ctx, t.fence, ops...); err == nil || refused(err) || ctx.Err() != nil {
			return err
		}
		t.s.sleep(ctx, pause)
	}
}

// Done ends the request with its outcome: request, claim and signals go, the inputs are appended, all in
// one transaction under the claim. An outcome is not given up lightly: Done works although ctx has ended, for half
// a minute while the store does not answer, and for as long as the store is full; half a minute of that, once ctx
// has ended.
func (t *Task) Done(ctx context.Context, in ...pipeline.Input) error {
	return t.DoneWith(ctx, nil, in...)
}

// DoneWith is Done with further writes in the same transaction.
func (t *Task) DoneWith(ctx context.Context, ops []kv.Op, in ...pipeline.Input) error {
	patient, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { t.s.sleep(patient, insist); stop() })()
	for {
		err := t.finish(patient, ops, in)
		if !errors.Is(err, kv.ErrNoSpace) || patient.Err() != nil {
			return err
		}
		t.s.sleep(patient, time.Second)
	}
}

func (t *Task) finish(ctx context.Context, ops []kv.Op, in []pipeline.Input) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), insist)
	defer cancel()
	if len(in) > 0 {
		more, err := t.s.InputOps(ctx, t.Request.Tenant, t.Request.Pipeline, in...)
		if err != nil {
			return err
		}
		ops = slices.Concat(ops, more)
	}
	r := t.Request
	ops = append(slices.Clip(ops), kv.Delete(requestKey(r.Kind, r.ID)), kv.Delete(t.fence.Key), kv.DeletePrefix(SignalPrefix(r.Kind)+seg(r.ID)+"/"))
	if err := t.end(ctx, ops); err != nil {
		return fmt.Errorf("finish %s request %s: %w", r.Kind, r.ID, err)
	}
	t.mu.Lock()
	t.done = true
	t.mu.Unlock()
	return nil
}

// insist is for how long a task tries to end.
const insist = 30 * time.Second

// end writes the end of the task. Where an attempt had an unknown outcome and the next one finds the claim
// gone, the request tells: it went with the claim, or somebody else has it.
func (t *Task) end(ctx context.Context, ops []kv.Op) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		_, err := t.s.Write(ctx, t.fence, ops...)
		if errors.Is(err, ErrFenced) && t.unsure {
			_, there, gerr := kv.Get(ctx, t.s.kv, requestKey(t.Request.Kind, t.Request.ID))
			if gerr == nil && !there {
				return nil
			}
			if gerr == nil {
				return err
			}
			err = gerr
		}
		if err == nil || refused(err) {
			return err
		}
		t.unsure = true
		if errors.Is(err, kv.ErrNoSpace) || ctx.Err() != nil {
			return err
		}
		t.s.sleep(ctx, pause)
	}
}

// Reply ends a request of a Call with its answer, or with an error in words for people.
func (t *Task) Reply(ctx context.Context, answer any, failure string) error {
	rep := reply{Error: failure}
	if failure == "" {
		name, err := t.s.PutJSON(ctx, answer)
		if err != nil {
			return err
		}
		rep.Blob = name
	}
	return t.DoneWith(ctx, []kv.Op{kv.Put(replyKey(t.Request.ID), encode(rep))})
}
