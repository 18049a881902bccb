// Package simulate runs the scheduler's core and the store against a seeded world in one goroutine: real
// pipeline.Step, real scheduler.Runner, real store and reporter on kv in memory; a forge, mergers,
// executors and node suppliers that are models. The seed decides what happens next, and what goes wrong:
// a process dies before or after any transaction, an outcome gets lost or comes twice, an owner is paused
// in the middle of its work while others take over, its clock jumps, results come in any order, what it remembers of
// semaphores is behind, the history is down, processes of the former release are upgraded one by one and the format of
// records changes under them, blobs are swept. After every transaction, and at the end, the invariants of docs/ARCHITECTURE.md are looked at. The same seed gives the same run.
//
// What it leaves out: loading layouts, real git, and watches but for that of one reader (other tests have those).
package simulate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/forge"
	jobs "github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/store"
)

// Config of a run.
type Config struct {
	Seed uint64
	// Actions is how many things happen before the world is left to come to rest; 0 is 40.
	Actions int
	// Calm: nothing goes wrong by chance.
	Calm bool
	// Story: people do always the same, one thing after the other has come to rest, in place of what the
	// seed says.
	Story bool
	// CrashAt, where not 0, kills the process that makes the CrashAt-th transaction of the run: before it
	// for positive numbers, after it for negative ones.
	CrashAt int
	// Trace, where set, is told what happens.
	Trace func(string)
}

// Result is what a run came to.
type Result struct {
	// Writes counts transactions; Faults, what went wrong on purpose, by kind.
	Writes int
	Faults map[string]int
	// Builds that were begun, Landed changes.
	Builds, Landed int
	// End describes the final state of the world without names that differ between runs: what landed
	// where, and what was said of each change.
	End string
	// Hash covers all that happened.
	Hash uint64
}

// Broken is an invariant that did not hold.
type Broken struct {
	Seed uint64
	What string
}

func (b *Broken) Error() string {
	return fmt.Sprintf("seed %d: %s (replay it with: make simulate SEED=%d)", b.Seed, b.What, b.Seed)
}

// world is everything there is.
type world struct {
	cfg   Config
	ctx   context.Context
	rng   *rand.Rand
	kv    *memkv.Store
	clock time.Time
	forge *forgery
	set   *forge.Set
	// outside writes what comes from elsewhere: events, operators. It never fails.
	outside *store.Store

	procs  []*proc
	leases map[string]kv.LeaseID // of processes that died or were paused, still to run out
	named  int
	depth  int // of pauses inside pauses
	calm   bool
	drain  bool // processes do all that they can

	writes int
	faults map[string]int
	builds map[string]int // begun, by buildset, job and attempt
	begun  int
	passed map[string]map[string]bool // by buildset and job: commits of the state that it passed on
	graphs map[string]*jobs.Graph     // by buildset
	rows   map[string]string          // history, by id
	late   []late
	reader follower
	layout int
	// historyDown: nothing can be recorded. upgrading: processes that begin are of this release, and before that of the
	// former one, where there is one in this run (older).
	historyDown, older, upgrading bool
	hash                          uint64
	broken                        *Broken
}

const tenant = "t"

// pipes are the pipelines of the tenant.
var pipes = []string{"check", "gate", "post"}

// crash is thrown through the code of a process that dies.
type crash struct{ proc *proc }

// Run plays one seed to its end. The error is a *Broken where an invariant did not hold.
func Run(ctx context.Context, c Config) (Result, error) {
	if c.Actions == 0 {
		c.Actions = 40
	}
	w := &world{
		cfg: c, ctx: ctx, rng: rand.New(rand.NewPCG(c.Seed, 0x90e7)), kv: memkv.New(memkv.Config{Retain: 64}),
		clock: time.Unix(1_800_000_000, 0), leases: map[string]kv.LeaseID{}, calm: c.Calm, faults: map[string]int{},
		builds: map[string]int{}, passed: map[string]map[string]bool{}, rows: map[string]string{}, graphs: map[string]*jobs.Graph{},
	}
	defer w.kv.Close()
	w.forge = newForgery(w)
	var err error
	if w.set, err = forge.NewSet(w.forge); err != nil {
		return Result{}, err
	}
	if w.older = !c.Story && w.odds(3); w.older {
		if _, err := store.Open(ctx, store.Config{KV: w.kv, Random: w, Format: store.Format - 1}); err != nil {
			return Result{}, err
		}
	}
	if w.outside, err = store.Open(ctx, store.Config{KV: w.kv, Random: w}); err != nil {
		return Result{}, err
	}
	for _, role := range []string{"scheduler", "scheduler", "scheduler", "worker", "worker"} {
		w.start(role)
	}
	w.reconfigure()
	if c.Story {
		w.story()
	} else {
		for range c.Actions {
			if w.broken != nil {
				break
			}
			w.act()
		}
	}
	if w.broken == nil {
		w.rest()
	}
	res := Result{Writes: w.writes, Faults: w.faults, Builds: w.begun, Landed: len(w.forge.landed), End: w.forge.summary(), Hash: w.hash}
	if w.broken != nil {
		return res, w.broken
	}
	return res, nil
}

// Read gives the store its random names.
func (w *world) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return len(b), nil
}

func (w *world) fail(format string, args ...any) {
	if w.broken == nil {
		w.broken = &Broken{w.cfg.Seed, fmt.Sprintf(format, args...)}
	}
}

func (w *world) trace(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprint(h, w.hash, line)
	w.hash = h.Sum64()
	if w.cfg.Trace != nil {
		w.cfg.Trace(strings.Repeat("    ", w.depth) + line)
	}
}

// odds is true once in n times.
func (w *world) odds(n int) bool { return w.rng.IntN(n) == 0 }

func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

// act lets one thing happen.
func (w *world) act() {
	w.clock = w.clock.Add(time.Duration(1+w.rng.IntN(5000)) * time.Millisecond)
	switch n := w.rng.IntN(100); {
	case n < 18:
		w.people()
	case n < 20:
		w.reconfigure()
	case n < 23:
		w.expire()
	case n < 26:
		w.arrive()
	case n < 28 && !w.calm:
		w.kill()
	case n < 30 && !w.calm:
		w.jump()
	case n < 31 && !w.calm:
		w.idle()
	case n < 32 && !w.calm:
		w.outage()
	case n < 35 && w.older && !w.calm:
		w.upgrade()
	case n < 37 && w.older:
		w.raise()
	default:
		for range 1 + w.rng.IntN(5) {
			if p := w.alive(""); p != nil && w.broken == nil {
				w.run(p)
			}
		}
		if w.odds(6) {
			w.agree()
			w.compare()
		} else if w.odds(3) {
			w.follow()
		}
	}
}

// run lets a process do one thing.
func (w *world) run(p *proc) {
	w.guard(p, func() {
		if p.role == "scheduler" {
			p.schedule()
		} else {
			p.work()
		}
	})
}

// guard lets a process do something, in which it may die.
func (w *world) guard(p *proc, do func()) {
	p.busy = true
	defer func() {
		p.busy = false
		switch x := recover().(type) {
		case nil:
		case crash:
			w.bury(x.proc)
		default:
			w.fail("panic: %v", x)
		}
	}()
	do()
}

// rest heals the world and lets everything that is under way come to its end.
func (w *world) rest() {
	w.calm, w.drain = true, true
	w.historyDown = false
	w.trace("the world heals")
	if !w.settle() {
		return
	}
	if w.older {
		for range w.procs {
			w.upgrade()
		}
		if !w.settle() { // which leases of the old ones do not outlive
			return
		}
		w.raise()
		w.modern()
	}
	w.final()
}

// settle lets everything come to its end that can.
func (w *world) settle() bool {
	for range 400 {
		for len(w.late) > 0 {
			w.arrive()
		}
		for len(w.leases) > 0 {
			w.expire()
		}
		for _, p := range slices.Clone(w.procs) {
			if p.lost {
				w.bury(p)
				continue
			}
			w.clock = w.clock.Add(time.Second)
			w.run(p)
			if w.broken != nil {
				return false
			}
		}
		if w.quiet() {
			return true
		}
	}
	w.fail("the world does not come to rest: %s", w.busy())
	return false
}

var errUnknown = errors.New("the connection broke")

// start begins a process.
func (w *world) start(role string) {
	w.named++
	p := &proc{w: w, role: role, name: fmt.Sprintf("%s-%d", role, w.named), runners: map[string]*scheduler.Runner{}, tasks: map[string]*job{}}
	p.kv = &disk{Store: w.kv, p: p}
	if w.older && !w.upgrading {
		p.format = store.Format - 1
	}
	calm, at := w.calm, w.cfg.CrashAt
	w.calm, w.cfg.CrashAt = true, 0 // a process that never began is of no interest
	defer func() { w.calm, w.cfg.CrashAt = calm, at }()
	var err error
	if p.lease, err = w.kv.Grant(w.ctx, 24*time.Hour); err != nil {
		w.fail("grant: %v", err)
		return
	}
	if p.store, err = store.Open(w.ctx, store.Config{KV: p.kv, Random: w, Format: p.format, Sleep: func(context.Context, time.Duration) {}}); err != nil {
		w.fail("open: %v", err)
		return
	}
	if err := p.store.Join(w.ctx, p, store.Member{ID: p.name, Role: role}); err != nil {
		w.fail("join: %v", err)
	}
	w.procs = append(w.procs, p)
	w.trace("%s starts", p.name)
}

// bury removes a process that died; its lease runs out later, and another one takes its place.
func (w *world) bury(p *proc) {
	i := slices.Index(w.procs, p)
	if i < 0 {
		return
	}
	w.trace("%s is gone", p.name)
	w.procs = slices.Delete(w.procs, i, i+1)
	if !p.lost {
		w.leases[p.name] = p.lease
	}
	w.start(p.role)
}

// kill ends a process between two things that it does.
func (w *world) kill() {
	if p := w.alive(""); p != nil {
		w.faults["killed"]++
		w.trace("kill %s", p.name)
		w.bury(p)
	}
}

// jump sets the clock of a process to another time, by a second or by years, back or forth. It never gets right
// again by itself.
func (w *world) jump() {
	if p := w.alive(""); p != nil {
		w.faults["clock jumped"]++
		p.skew = time.Duration(w.rng.NormFloat64() * float64(pick(w, []time.Duration{time.Second, time.Hour, 1000 * 24 * time.Hour})))
		w.trace("the clock of %s is wrong by %v", p.name, p.skew)
	}
}

// expire lets the lease of a process that is gone run out.
func (w *world) expire() {
	names := make([]string, 0, len(w.leases))
	for n := range w.leases {
		names = append(names, n)
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	n := pick(w, names)
	w.trace("the lease of %s runs out", n)
	if err := w.kv.Revoke(w.ctx, w.leases[n]); err != nil {
		w.fail("revoke: %v", err)
	}
	delete(w.leases, n)
}

// alive chooses a process that can do something now; nil where there is none.
func (w *world) alive(role string) *proc {
	var can []*proc
	for _, p := range w.procs {
		if !p.busy && (role == "" || p.role == role) {
			can = append(can, p)
		}
	}
	if len(can) == 0 {
		return nil
	}
	return pick(w, can)
}
