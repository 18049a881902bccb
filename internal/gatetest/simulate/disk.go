package simulate

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// disk is the store as one process sees it: the place where things go wrong, and where every transaction
// is looked at, whoever makes it.
type disk struct {
	kv.Store
	p *proc
}

// Commit carries out t, unless something goes wrong.
func (d *disk) Commit(ctx context.Context, t kv.Txn) (bool, int64, error) {
	w := d.p.w
	w.writes++
	if w.cfg.CrashAt == w.writes {
		w.trace("%s dies before transaction %d", d.p.name, w.writes)
		panic(crash{d.p})
	}
	n := 1000
	if !w.calm {
		n = w.rng.IntN(1000)
	}
	switch {
	case n < 20:
		w.faults["died before"]++
		w.trace("%s dies before a transaction", d.p.name)
		panic(crash{d.p})
	case n < 30:
		w.faults["lost"]++
		return false, 0, errUnknown
	case n < 40:
		w.faults["late"]++
		w.late = append(w.late, late{d, t})
		return false, 0, errUnknown
	case (n < 90 || n < 600 && contested(t)) && w.depth < 2:
		w.pause(d.p)
	}
	owner := d.owner(t)
	ok, rev, err := d.Store.Commit(ctx, t)
	if err == nil && ok {
		d.look(t, owner)
	}
	if w.cfg.CrashAt == -w.writes {
		w.trace("%s dies after transaction %d", d.p.name, w.writes)
		panic(crash{d.p})
	}
	switch {
	case n >= 100 && n < 120:
		w.faults["died after"]++
		w.trace("%s dies after a transaction", d.p.name)
		panic(crash{d.p})
	case n >= 120 && n < 145:
		w.faults["unknown"]++
		return false, 0, errUnknown
	}
	return ok, rev, err
}

// contested transactions write what others write, too: the moments in which others are worth waiting for.
func contested(t kv.Txn) bool {
	return slices.ContainsFunc(t.Then, func(o kv.Op) bool { return strings.HasPrefix(o.Key, "/semaphore/") })
}

// late is a transaction that is still on its way while its maker thinks that it is lost.
type late struct {
	d *disk
	t kv.Txn
}

// arrive lets a late transaction take effect, if its compares still hold.
func (w *world) arrive() {
	if len(w.late) == 0 {
		return
	}
	i := w.rng.IntN(len(w.late))
	l := w.late[i]
	w.late = append(w.late[:i:i], w.late[i+1:]...)
	owner := l.d.owner(l.t)
	ok, _, err := w.kv.Commit(w.ctx, l.t)
	w.trace("a late transaction of %s arrives: %v %v", l.d.p.name, ok, err)
	if err == nil && ok {
		l.d.look(l.t, owner)
	}
}

// Range reads, unless the connection breaks.
func (d *disk) Range(ctx context.Context, q kv.Query) (*kv.Result, error) {
	if w := d.p.w; !w.calm && w.odds(150) {
		w.faults["unread"]++
		return nil, errUnknown
	}
	return d.Store.Range(ctx, q)
}

// pause stops a process in the middle of what it does while others go on, perhaps for longer than its
// lease lives.
func (w *world) pause(p *proc) {
	w.faults["paused"]++
	w.trace("%s is paused", p.name)
	w.depth++
	if w.odds(3) && !p.lost {
		p.lost = true
		w.leases[p.name] = p.lease
		if w.odds(3) {
			w.expire()
		}
	}
	for range 1 + w.rng.IntN(8) {
		if w.broken == nil {
			w.act()
		}
	}
	w.depth--
	w.trace("%s goes on", p.name)
}

// owner is who has the claim on the pipeline that a transaction writes; empty where it writes none.
func (d *disk) owner(t kv.Txn) string {
	for _, o := range t.Then {
		if pipe, ok := written(o.Key); ok {
			e, _, err := kv.Get(context.Background(), d.Store, ownerKey(pipe))
			if err != nil {
				return ""
			}
			return string(e.Value)
		}
	}
	return ""
}

func written(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, "/pipeline/"+tenant+"/")
	pipe, _, _ := strings.Cut(rest, "/")
	return pipe, ok
}

// look checks what must hold after a transaction that went through.
func (d *disk) look(t kv.Txn, owner string) {
	w := d.p.w
	for _, o := range t.Then {
		if pipe, ok := written(o.Key); ok && owner != d.p.name {
			w.fail("%s wrote %s, which belongs to %q: pipeline %s had another owner", d.p.name, o.Key, owner, pipe)
		}
		if strings.HasPrefix(o.Key, "/semaphore/") {
			var sem pipeline.Semaphores
			if err := json.Unmarshal(o.Value, &sem); err != nil {
				w.fail("%s: %v", o.Key, err)
			}
			for name, hs := range sem.Holders {
				if most := semaphores[name].Max; len(hs) > most {
					w.fail("semaphore %s has %d holders, at most %d may have it", name, len(hs), most)
				}
			}
		}
		if strings.HasPrefix(o.Key, "/dead/") {
			w.fail("%s was set aside: %s", o.Key, o.Value)
		}
	}
}

func ownerKey(pipe string) string { return store.OwnerPrefix + "pipeline%20" + tenant + "%20" + pipe }
