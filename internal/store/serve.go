package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/btree"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Names of signals to whoever works on a request.
const (
	SignalCancel   = "cancel"
	SignalResume   = "resume"
	SignalRelative = "relative"
)

// ServeConfig says which requests a worker takes.
type ServeConfig struct {
	Kind string
	// Session is the lease under which requests are claimed; Owner names the worker.
	Session *kv.Session
	Owner   string
	// Slots says how many more requests the worker would take now, beside those it works on: 0 for
	// none. It is asked again whenever a request comes or ends, and every second. nil: no bound.
	Slots func(busy int) int
	// Accept leaves requests to others; nil takes all.
	Accept func(*Request) bool
	// Once: a request that a vanished worker had begun is not begun again; it is handed out with
	// Task.Lost, so that the worker can tell that it was lost.
	Once bool
	// Claimed, where set, is told of each task before its handler begins, in the order of the claims. It
	// must not block.
	Claimed func(*Task)
	Log     *slog.Logger
}

// Signal is a word to whoever works on a request.
type Signal struct{ Name, Value string }

// Task is a request that this worker holds.
type Task struct {
	Request *Request
	Lost    bool

	s       *Store
	fence   Fence
	made    int64 // revision of the request's making
	signals chan Signal
	mu      sync.Mutex
	done    bool
}

// Serve takes requests of one kind, smallest priority and then oldest first, and runs handle for each in
// a goroutine of its own until ctx or the session ends; it returns when all handlers have. The context
// of a handler ends, with the cause, when the session is lost, the request withdrawn or cancelled
// (ErrCancelled). A handler that returns an error without Done gives the request back; it is tried
// again, here or elsewhere, after a growing pause.
func Serve(ctx context.Context, s *Store, c ServeConfig, handle func(ctx context.Context, t *Task) error) error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	sv := &server{
		s: s, c: c, handle: handle,
		requests: map[string]waiting{}, claims: map[string]string{}, tasks: map[string]*running{},
		signals: map[string]map[string]string{}, pauses: map[string]pause{},
		queue: btree.NewG(16, waiting.before),
		kick:  make(chan struct{}, 1),
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sv.follow(gctx) })
	g.Go(func() error {
		select {
		case <-gctx.Done():
			return nil
		case <-c.Session.Done():
			return kv.ErrSessionLost
		}
	})
	g.Go(func() error { return sv.loop(gctx) })
	err := g.Wait()
	sv.handlers.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

type waiting struct {
	name        string
	req         *Request
	create, mod int64
	raw         []byte // what it is by now, where that is not req
}

type running struct {
	task   *Task
	cancel context.CancelCauseFunc
}

type pause struct {
	tries int
	until time.Time
}

type server struct {
	s        *Store
	c        ServeConfig
	handle   func(context.Context, *Task) error
	handlers sync.WaitGroup
	kick     chan struct{}

	mu       sync.Mutex
	ready    int // how many of the three prefixes have been read once
	lost     int // races for requests in a row, in a way: see next
	requests map[string]waiting
	queue    *btree.BTreeG[waiting] // the same, in the order in which they are taken
	claims   map[string]string      // by request: who has it
	tasks    map[string]*running
	signals  map[string]map[string]string // by request, what was said before it was claimed
	pauses   map[string]pause
}

func (sv *server) wake() {
	select {
	case sv.kick <- struct{}{}:
	default:
	}
}

func (sv *server) follow(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ready := func() {
		sv.mu.Lock()
		sv.ready++
		sv.mu.Unlock()
		sv.wake()
	}
	g.Go(func() error { return sv.followRaw(ctx, RequestPrefix(sv.c.Kind), ready, sv.onRequest) })
	g.Go(func() error { return sv.followRaw(ctx, ClaimPrefix(sv.c.Kind), ready, sv.onClaim) })
	g.Go(func() error { return sv.followRaw(ctx, SignalPrefix(sv.c.Kind), ready, sv.onSignal) })
	return g.Wait()
}

func (sv *server) followRaw(ctx context.Context, prefix string, ready func(), fn func(name string, e kv.KV, gone bool)) error {
	have := map[string]bool{}
	first := true
	return kv.Follow(ctx, sv.s.kv, prefix, func(r *kv.Result) error {
		seen := map[string]bool{}
		for _, e := range r.KVs {
			n := strings.TrimPrefix(e.Key, prefix)
			seen[n], have[n] = true, true
			fn(n, e, false)
		}
		for n := range have {
			if !seen[n] {
				delete(have, n)
				fn(n, kv.KV{}, true)
			}
		}
		if first {
			ready()
		}
		first = false
		return nil
	}, func(b kv.Batch) error {
		for _, c := range b.Changes {
			n := strings.TrimPrefix(c.Key, prefix)
			if c.Deleted {
				delete(have, n)
			} else {
				have[n] = true
			}
			fn(n, c.KV, c.Deleted)
		}
		return nil
	})
}

// onRequest takes in a request that came, changed or went. One that changes was taken by somebody: it is
// decoded only when it is looked at again.
func (sv *server) onRequest(name string, e kv.KV, gone bool) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	defer sv.wake()
	if gone {
		sv.forget(name)
		if t := sv.tasks[name]; t != nil && !t.task.ended() {
			t.cancel(ErrCancelled)
		}
		return
	}
	if w, ok := sv.requests[name]; ok && w.create == e.Create {
		w.mod, w.raw = e.Mod, e.Value
		sv.requests[name] = w
		sv.queue.ReplaceOrInsert(w)
		return
	}
	req := new(Request)
	if err := json.Unmarshal(e.Value, req); err != nil {
		sv.c.Log.Warn("a request cannot be read", "key", e.Key, "error", err)
		return
	}
	sv.forget(name)
	w := waiting{name: name, req: req, create: e.Create, mod: e.Mod}
	sv.requests[name] = w
	sv.queue.ReplaceOrInsert(w)
}

func (sv *server) onClaim(name string, e kv.KV, gone bool) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if gone {
		delete(sv.claims, name)
	} else {
		sv.claims[name] = string(e.Value)
	}
	sv.wake()
}

func (sv *server) onSignal(name string, e kv.KV, gone bool) {
	req, sig, ok := strings.Cut(name, "/")
	if !ok {
		return
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if gone {
		delete(sv.signals[req], sig)
		if len(sv.signals[req]) == 0 {
			delete(sv.signals, req)
		}
		return
	}
	if sv.signals[req] == nil {
		sv.signals[req] = map[string]string{}
	}
	sv.signals[req][sig] = string(e.Value)
	if t := sv.tasks[req]; t != nil {
		t.say(Signal{sig, string(e.Value)})
	}
}

// say hands a signal to the handler; a cancel also ends its context.
func (r *running) say(s Signal) {
	if s.Name == SignalCancel {
		r.cancel(ErrCancelled)
	}
	select {
	case r.task.signals <- s:
	default: // a handler that listens to nothing
	}
}

func (sv *server) loop(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sv.kick:
		case <-tick.C:
		}
		for sv.c.Session.Alive() {
			name, w := sv.next()
			if w.req == nil {
				break
			}
			if err := sv.claim(ctx, name, w); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				sv.c.Log.Warn("a request cannot be claimed", "kind", sv.c.Kind, "request", w.req.ID, "error", err)
				break
			}
		}
	}
}

// next chooses the request to take, if there is one and room for it: the first, or, after races that were
// lost, one of the first, so that workers who want the same do not all try for the same again. What shares a subject
// with an earlier request waits for that, whoever has it.
func (sv *server) next() (string, waiting) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.ready < 3 {
		return "", waiting{}
	}
	if sv.c.Slots != nil && sv.c.Slots(len(sv.tasks)) <= 0 {
		return "", waiting{}
	}
	now := time.Now()
	var can []waiting
	most := 1 + sv.lost
	spoken := map[string]bool{} // subjects of earlier requests
	sv.queue.Ascend(func(w waiting) bool {
		behind := false
		for _, subject := range w.req.Subjects {
			behind = behind || spoken[subject]
			spoken[subject] = true
		}
		if behind {
			return true
		}
		if by := sv.claims[w.name]; (by != "" && by != sv.c.Owner) || sv.tasks[w.name] != nil || now.Before(sv.pauses[w.name].until) {
			return true
		}
		if sv.c.Accept == nil || sv.c.Accept(w.req) {
			can = append(can, w)
		}
		return len(can) < most
	})
	if len(can) == 0 {
		return "", waiting{}
	}
	w := can[rand.IntN(len(can))]
	return w.name, w
}

// before is the order in which requests are taken.
func (w waiting) before(v waiting) bool {
	return cmp.Or(cmp.Compare(w.req.Priority, v.req.Priority), cmp.Compare(w.create, v.create),
		cmp.Compare(w.req.Order, v.req.Order), cmp.Compare(w.name, v.name)) < 0
}

// forget drops what is known of a request. The lock is held.
func (sv *server) forget(name string) {
	if w, ok := sv.requests[name]; ok {
		sv.queue.Delete(w)
		delete(sv.requests, name)
	}
	delete(sv.pauses, name)
}

// Take claims a request for a worker, in a transaction that counts the beginning. nil where somebody else
// has it, or where it is not as r says any more: then r.Value.Began may be too small, and a worker that
// must not begin twice would. A claim of the worker's own that it knows nothing of (its making had an
// unknown outcome) is given up, so that it can be taken again: whether work began under it is not known, so
// it counts as a beginning.
func (s *Store) Take(ctx context.Context, ses Leased, owner string, r Record[Request]) (*Task, error) {
	req := r.Value
	req.Began++
	req.By = owner
	rk, ck := RequestPrefix(req.Kind)+r.Name, ClaimPrefix(req.Kind)+r.Name
	ok, rev, err := s.kv.Commit(ctx, kv.Txn{
		If:   []kv.Cmp{kv.Missing(ck), kv.Unchanged(rk, r.Mod)},
		Then: []kv.Op{kv.PutLease(ck, []byte(owner), ses.Lease()), kv.Put(rk, encode(req))},
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		e, found, err := kv.Get(ctx, s.kv, ck)
		if err != nil || !found || e.Lease != ses.Lease() || string(e.Value) != owner {
			return nil, err
		}
		return nil, s.Disown(ctx, Fence{ck, e.Create})
	}
	return &Task{Request: &req, s: s, fence: Fence{ck, rev}, made: r.Create, signals: make(chan Signal, 16)}, nil
}

// claim takes the request and begins with it; losing the race is no error.
func (sv *server) claim(ctx context.Context, name string, w waiting) error {
	r := Record[Request]{Name: name, Value: *w.req, Create: w.create, Mod: w.mod}
	if w.raw != nil {
		r.Value = Request{}
		if err := json.Unmarshal(w.raw, &r.Value); err != nil {
			sv.pauseFor(name)
			return err
		}
	}
	t, err := sv.s.Take(ctx, sv.c.Session, sv.c.Owner, r)
	if err != nil {
		sv.pauseFor(name)
		return err
	}
	if t == nil { // somebody else was first: the watches will tell
		sv.yieldOn(name)
		return nil
	}
	t.Lost = sv.c.Once && t.Request.Began > 1
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.lost = 0
	sv.claims[name] = sv.c.Owner // the watch will say so too
	tctx, cancel := context.WithCancelCause(ctx)
	run := &running{t, cancel}
	sv.tasks[name] = run
	if sv.c.Claimed != nil {
		sv.c.Claimed(t)
	}
	for sig, v := range sv.signals[name] {
		run.say(Signal{sig, v})
	}
	sv.handlers.Go(func() { sv.run(tctx, name, run) })
	return nil
}

func (sv *server) run(ctx context.Context, name string, r *running) {
	err := sv.handle(ctx, r.task)
	cause := context.Cause(ctx)
	r.cancel(nil) // from here on ctx says nothing; cause does
	if !r.task.ended() {
		sv.giveBack(ctx, name, r.task, err, cause)
	}
	sv.mu.Lock()
	delete(sv.tasks, name)
	if r.task.ended() {
		sv.forget(name)
	}
	sv.mu.Unlock()
	sv.wake()
}

// giveBack releases the claim of a task that was not done.
func (sv *server) giveBack(ctx context.Context, name string, t *Task, err, cause error) {
	if err == nil {
		err = errors.New("the handler left it undone")
	}
	if cause == nil {
		sv.c.Log.Warn("a request is tried again later", "kind", sv.c.Kind, "request", t.Request.ID, "began", t.Request.Began, "error", err)
	}
	actx, cancel := aside(ctx)
	defer cancel()
	if _, werr := sv.s.Write(actx, t.fence, kv.Delete(t.fence.Key)); werr != nil && !errors.Is(werr, ErrFenced) {
		sv.c.Log.Warn("a claim cannot be released", "kind", sv.c.Kind, "request", t.Request.ID, "error", werr)
	}
	sv.pauseFor(name)
}

// pauseFor keeps this worker from a request for a time that doubles with each try, up to ten seconds.
func (sv *server) pauseFor(name string) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	p := sv.pauses[name]
	d := min(100*time.Millisecond<<min(p.tries, 10), 10*time.Second)
	sv.pauses[name] = pause{p.tries + 1, time.Now().Add(d)}
	time.AfterFunc(d, sv.wake)
}

// mostLost bounds among how many requests a worker chooses that loses races.
const mostLost = 31

// yieldOn leaves a request to somebody else for a moment.
func (sv *server) yieldOn(name string) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.lost = min(2*sv.lost+1, mostLost)
	const d = 50 * time.Millisecond
	sv.pauses[name] = pause{sv.pauses[name].tries, time.Now().Add(d)}
	time.AfterFunc(d, sv.wake)
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
	unknown := false
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		_, err := t.s.Write(ctx, t.fence, ops...)
		if errors.Is(err, ErrFenced) && unknown {
			_, there, gerr := kv.Get(ctx, t.s.kv, requestKey(t.Request.Kind, t.Request.ID))
			if gerr == nil && !there {
				return nil
			}
			if gerr == nil {
				return err
			}
			err = gerr
		}
		if err == nil || refused(err) || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, kv.ErrNoSpace) && !unknown {
			return err
		}
		unknown = true
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
