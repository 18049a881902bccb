package store

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/btree"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/kv"
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
	// Accept leaves requests to others; nil takes all. It is called once for each request, when somebody could
	// take it; the answer is asked for then and once a second after that, as long as it is no. An answer of nil is
	// always yes. Neither may call the store for long: this worker does nothing meanwhile.
	Accept func(*Request) func() bool
	// Once: a request that a vanished worker had begun is not begun again; it is handed out with
	// Task.Lost, so that the worker can tell that it was lost.
	Once bool
	// Claimed, where set, is told of each task before its handler begins, in the order of the claims. It
	// must not block.
	Claimed func(*Task)
	Log     *slog.Logger
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
		requests: map[string]*waiting{}, claims: map[string]string{}, others: map[string]rival{}, tasks: map[string]*running{},
		signals: map[string]map[string]string{}, pauses: map[string]pause{}, refused: map[string]*waiting{},
		queue: btree.NewG(16, (*waiting).before),
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
	requests map[string]*waiting
	queue    *btree.BTreeG[*waiting] // those that nobody has, in the order in which they are taken
	claims   map[string]string       // by request: who has it
	others   map[string]rival        // by name
	tasks    map[string]*running
	signals  map[string]map[string]string // by request, what was said before it was claimed
	pauses   map[string]pause
	refused  map[string]*waiting // what was not accepted, and waits in no queue until it is asked about again
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
		return
	}
	req := new(Request)
	if err := json.Unmarshal(e.Value, req); err != nil {
		sv.c.Log.Warn("a request cannot be read", "key", e.Key, "error", err)
		return
	}
	sv.forget(name)
	sv.requests[name] = &waiting{name: name, req: req, create: e.Create, mod: e.Mod, hash: hashOf(name), seen: time.Now()}
	sv.place(name)
}

func (sv *server) onClaim(name string, e kv.KV, gone bool) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if gone {
		if by := sv.claims[name]; by != "" && by != sv.c.Owner && sv.requests[name] != nil {
			sv.rest(name, settle) // most claims go with their requests, of which the other watch tells
		}
		delete(sv.claims, name)
	} else {
		by := string(e.Value)
		if sv.claims[name] = by; by != sv.c.Owner {
			r := sv.others[by]
			if r.at = time.Now(); sv.requests[name] != nil {
				r.last = sv.requests[name]
			}
			sv.others[by] = r
		}
	}
	sv.place(name)
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
			sv.reconsider()
		}
		for sv.c.Session.Alive() {
			ws := sv.next()
			if len(ws) == 0 || !sv.claim(ctx, ws) {
				break
			}
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}

// forget drops what is known of a request. The lock is held.
func (sv *server) forget(name string) {
	if w, ok := sv.requests[name]; ok {
		sv.queue.Delete(w)
		delete(sv.requests, name)
	}
	delete(sv.refused, name)
	delete(sv.pauses, name)
}

// claim takes the requests and begins with them, in their order. ok is false where the store did not answer as it
// should; losing a race is no error.
func (sv *server) claim(ctx context.Context, ws []waiting) (ok bool) {
	tasks, errs := make([]*Task, len(ws)), make([]error, len(ws))
	var wg sync.WaitGroup
	for i := 1; i < len(ws); i++ {
		wg.Go(func() { tasks[i], errs[i] = sv.take(ctx, &ws[i]) })
	}
	tasks[0], errs[0] = sv.take(ctx, &ws[0])
	wg.Wait()
	ok = true
	for i, t := range tasks {
		switch w := ws[i]; {
		case errs[i] != nil:
			ok = false
			sv.pauseFor(w.name)
			if ctx.Err() == nil {
				sv.c.Log.Warn("a request cannot be claimed", "kind", sv.c.Kind, "request", w.req.ID, "error", errs[i])
			}
		case t == nil: // somebody else was first: the watches will tell
			sv.yieldOn(w.name)
		default:
			t.Seen = w.seen
			sv.begin(ctx, w.name, t)
		}
	}
	return ok
}

// take claims one request.
func (sv *server) take(ctx context.Context, w *waiting) (*Task, error) {
	r := Record[Request]{Name: w.name, Value: *w.req, Create: w.create, Mod: w.mod}
	if w.raw != nil {
		r.Value = Request{}
		if err := json.Unmarshal(w.raw, &r.Value); err != nil {
			return nil, err
		}
	}
	sv.mu.Lock()
	mine := sv.claims[w.name] == sv.c.Owner
	sv.mu.Unlock()
	if mine {
		return sv.s.Take(ctx, sv.c.Session, sv.c.Owner, r)
	}
	return sv.s.take(ctx, sv.c.Session, sv.c.Owner, r)
}

// begin starts the handler of a task.
func (sv *server) begin(ctx context.Context, name string, t *Task) {
	t.Lost = sv.c.Once && t.Request.Began > 1
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.lost /= 2
	sv.claims[name] = sv.c.Owner // the watch will say so too
	tctx, cancel := context.WithCancelCause(ctx)
	run := &running{t, cancel}
	sv.tasks[name] = run
	sv.place(name)
	if sv.c.Claimed != nil {
		sv.c.Claimed(t)
	}
	for sig, v := range sv.signals[name] {
		run.say(Signal{sig, v})
	}
	sv.handlers.Go(func() { sv.run(tctx, name, run) })
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
	if w := sv.requests[name]; w != nil && w.create == r.task.made && r.task.ended() {
		sv.forget(name) // and not another one of that name, which came meanwhile
	}
	sv.place(name)
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

// settle is how long the two watches may differ.
const settle = 20 * time.Millisecond

// pauseFor keeps this worker from a request for a time that doubles with each try, up to ten seconds.
func (sv *server) pauseFor(name string) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	tries := sv.pauses[name].tries + 1
	sv.rest(name, min(50*time.Millisecond<<min(tries, 11), 10*time.Second))
	if p, ok := sv.pauses[name]; ok {
		sv.pauses[name] = pause{tries, p.until}
	}
}

// yieldOn leaves a request to somebody else for a moment.
func (sv *server) yieldOn(name string) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.lost = min(2*sv.lost+1, mostLost)
	sv.rest(name, 50*time.Millisecond)
}

// rest keeps this worker from a request for d; of one that is gone nothing is remembered. The lock is held.
func (sv *server) rest(name string, d time.Duration) {
	if sv.requests[name] == nil {
		return
	}
	sv.pauses[name] = pause{sv.pauses[name].tries, time.Now().Add(d)}
	time.AfterFunc(d, sv.wake)
}
