package simulate

import (
	"slices"
	"strconv"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/store"
)

// grace is how long what looks useless is kept.
const grace = 30 * time.Minute

// sweep lets a scheduler look for what nobody needs any more.
func (p *proc) sweep() {
	if p.sweeper == nil {
		p.sweeper = &store.Sweeper{Store: p.store, Grace: grace, Now: func() time.Time { return p.w.clock }}
	}
	got, err := p.sweeper.Sweep(p.w.ctx)
	p.w.trace("%s sweeps: %d of %d blobs go: %v", p.name, got.Removed, got.Blobs, err)
	p.w.faults["swept"] += got.Removed
	p.note(err)
}

// idle lets an hour pass in which nobody does anything but sweep, and no process is in the middle of anything. Whoever
// is gone is known to be gone by then.
func (w *world) idle() {
	if w.depth > 0 || len(w.late) > 0 {
		return
	}
	for len(w.leases) > 0 {
		w.expire()
	}
	w.trace("an hour passes")
	w.faults["idle"]++
	p := w.alive("scheduler")
	for range 3 {
		w.clock = w.clock.Add(grace * 2 / 3)
		if p != nil && slices.Contains(w.procs, p) {
			w.guard(p, p.sweep)
		}
	}
}

// outage takes the history away, or brings it back.
func (w *world) outage() {
	w.historyDown = !w.historyDown
	w.trace("the history is down: %t", w.historyDown)
	if w.historyDown {
		w.faults["history down"]++
	}
}

// upgrade replaces a process of the former release with one of this one, as an operator does or as it happens.
func (w *world) upgrade() {
	var old []*proc
	for _, p := range w.procs {
		if !p.busy && p.format != 0 {
			old = append(old, p)
		}
	}
	if len(old) == 0 {
		return
	}
	w.upgrading = true // what dies now comes back as this release
	w.faults["upgraded"]++
	p := pick(w, old)
	w.trace("%s is upgraded", p.name)
	w.bury(p)
}

// raise lets a process look whether all can read the newest format.
func (w *world) raise() {
	p := w.alive("")
	if p == nil || p.format != 0 {
		return
	}
	w.guard(p, func() {
		raised, err := p.store.Raise(w.ctx)
		p.note(err)
		if raised {
			w.trace("%s raises the format", p.name)
			w.faults["format raised"]++
		}
	})
}

// modern looks whether the store has the newest format after all processes were upgraded.
func (w *world) modern() {
	e, _, err := kv.Get(w.ctx, w.kv, "/meta/format")
	if err != nil || string(e.Value) != strconv.Itoa(store.Format) {
		w.fail("the format is %s after all processes were upgraded: %v", e.Value, err)
	}
}
