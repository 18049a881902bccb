package simulate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/store"
)

// proc is one process: a scheduler, or a worker that does what all other roles do.
type proc struct {
	w     *world
	role  string
	name  string
	kv    *disk
	store *store.Store
	lease kv.LeaseID
	// busy: in the middle of something (paused, seen from others). lost: its lease is about to run out or
	// did; it ends when it notices.
	busy, lost bool
	// format is the newest that it knows; 0: the newest that there is.
	format  int
	sweeper *store.Sweeper
	// skew is by how much its clock is wrong.
	skew    time.Duration
	runners map[string]*scheduler.Runner
	tasks   map[string]*job
	view    []kv.KV // requests that nobody had when it last looked
}

// now is what the clock of the process says.
func (p *proc) now() time.Time { return p.w.clock.Add(p.skew) }

// Lease is what the process lives under.
func (p *proc) Lease() kv.LeaseID { return p.lease }

// schedule lets a scheduler do something for one pipeline: claim it, step some of its inputs, or give it
// back.
func (p *proc) schedule() {
	w := p.w
	if w.drain { // the world comes to rest: everything that can be done is
		for _, pipe := range pipes {
			p.advance(pipe)
		}
		return
	}
	var waiting []string
	for _, pipe := range pipes {
		res, err := w.kv.Range(w.ctx, kv.Query{Prefix: store.InboxPrefix(tenant, pipe), KeysOnly: true, Limit: 1})
		if err == nil && len(res.KVs) > 0 {
			waiting = append(waiting, pipe)
		}
	}
	if len(waiting) > 0 {
		p.advance(pick(w, waiting))
	}
}

func (p *proc) advance(pipe string) {
	w := p.w
	r := p.runners[pipe]
	if r == nil {
		f, ok, err := p.store.Own(w.ctx, p, "pipeline "+tenant+" "+pipe, p.name)
		if err != nil || !ok {
			p.note(err)
			return
		}
		r = &scheduler.Runner{Store: p.store, Log: quietLog, Tenant: tenant, Name: pipe, Fence: f, Now: p.now, Others: everyPipe}
		if w.odds(2) {
			r.Remember()
		}
		p.runners[pipe] = r
		w.trace("%s owns %s", p.name, pipe)
		if p.open(pipe, r) != nil {
			return
		}
	}
	if !w.calm && w.odds(25) {
		delete(p.runners, pipe)
		w.trace("%s gives %s back", p.name, pipe)
		p.note(p.store.Disown(w.ctx, r.Fence))
		return
	}
	res, err := w.kv.Range(w.ctx, kv.Query{Prefix: store.InboxPrefix(tenant, pipe)})
	if err != nil || len(res.KVs) == 0 {
		return
	}
	slices.SortStableFunc(res.KVs, func(x, y kv.KV) int { return cmp.Or(cmp.Compare(x.Create, y.Create), cmp.Compare(x.Key, y.Key)) })
	todo := res.KVs
	if !w.drain {
		todo = todo[:1+w.rng.IntN(len(todo))]
	}
	if w.drain || w.odds(3) {
		for _, key := range []string{tenant, ""} {
			if e, found, err := kv.Get(w.ctx, w.kv, store.SemaphoreKey(key)); err == nil && found {
				r.Heard(e)
			}
		}
	}
	w.trace("%s steps %s with %d inputs", p.name, pipe, len(todo))
	if err := r.Process(w.ctx, todo); err != nil {
		w.trace("%s: %s: %v", p.name, pipe, err)
		if errors.Is(err, store.ErrFenced) {
			delete(p.runners, pipe)
			return
		}
		_ = p.open(pipe, r)
		return
	}
}

// open reads a pipeline again, as long as that does not work.
func (p *proc) open(pipe string, r *scheduler.Runner) error {
	var err error
	for range 20 {
		if err = r.Open(p.w.ctx); err == nil {
			return nil
		}
		if errors.Is(err, store.ErrFenced) {
			break
		}
	}
	delete(p.runners, pipe)
	p.note(p.store.Disown(p.w.ctx, r.Fence))
	return err
}

// note tells of an error that a process lives with. One whose lease is gone does not.
func (p *proc) note(err error) {
	if err == nil {
		return
	}
	p.w.trace("%s: %v", p.name, err)
	if errors.Is(err, kv.ErrLeaseNotFound) {
		panic(crash{p})
	}
}

func everyPipe(context.Context, bool) ([]scheduler.Place, error) {
	out := make([]scheduler.Place, len(pipes))
	for i, p := range pipes {
		out[i] = scheduler.Place{Tenant: tenant, Pipeline: p}
	}
	return out, nil
}

// work lets a worker look for requests, take one, or go on with one that it has.
func (p *proc) work() {
	w := p.w
	if w.drain {
		p.look()
		for len(p.view) > 0 && p.take() {
		}
		for _, id := range slices.Sorted(maps.Keys(p.tasks)) {
			p.proceed(id)
		}
		return
	}
	if len(p.tasks) > 0 && !w.odds(3) {
		p.proceed(pick(w, slices.Sorted(maps.Keys(p.tasks))))
		return
	}
	if p.view == nil || w.odds(2) {
		p.look()
	}
	if len(p.view) > 0 {
		p.take()
	} else if len(p.tasks) > 0 {
		p.proceed(pick(w, slices.Sorted(maps.Keys(p.tasks))))
	}
}

// take claims one of the requests that it saw.
func (p *proc) take() bool {
	w := p.w
	i := w.rng.IntN(len(p.view))
	e := p.view[i]
	p.view = slices.Delete(p.view, i, i+1)
	r := store.Record[store.Request]{Name: e.Key[strings.LastIndexByte(e.Key, '/')+1:], Create: e.Create, Mod: e.Mod}
	if err := json.Unmarshal(e.Value, &r.Value); err != nil {
		w.fail("%s: %v", e.Key, err)
		return false
	}
	// Requests of different kinds may have the same id: for nodes, and to give them back.
	name := strings.TrimPrefix(e.Key, "/request/")
	if p.tasks[name] != nil {
		return true
	}
	t, err := p.store.Take(w.ctx, p, p.name, r)
	p.note(err)
	if t == nil {
		return true
	}
	w.trace("%s takes %s %s", p.name, t.Request.Kind, t.Request.ID)
	p.tasks[name] = &job{task: t}
	if w.odds(2) {
		p.proceed(name)
	}
	return true
}

// look reads what requests nobody has. A claim of its own that it knows nothing of is for it to take.
func (p *proc) look() {
	w := p.w
	res, err := w.kv.Range(w.ctx, kv.Query{Prefix: "/request/"})
	if err != nil {
		return
	}
	claims, err := w.kv.Range(w.ctx, kv.Query{Prefix: "/claim/"})
	if err != nil {
		return
	}
	others := map[string]bool{}
	for _, e := range claims.KVs {
		others[strings.TrimPrefix(e.Key, "/claim/")] = string(e.Value) != p.name
	}
	p.view = slices.DeleteFunc(res.KVs, func(e kv.KV) bool {
		name := strings.TrimPrefix(e.Key, "/request/")
		return others[name] || p.tasks[name] != nil
	})
}

// proceed takes a task, named by kind and id, one step further; a task that ended, or that is not ours any more, goes.
func (p *proc) proceed(id string) {
	j := p.tasks[id]
	done, err := p.step(j)
	if err != nil {
		p.w.trace("%s: %s: %v", p.name, id, err)
	}
	switch {
	case err == nil && !done:
		return
	case err != nil && !errors.Is(err, store.ErrFenced) && !p.w.odds(3):
		return // it tries again what it tried
	case err != nil && !errors.Is(err, store.ErrFenced):
		// It gives the request back.
		_, werr := p.store.Write(p.w.ctx, j.task.Fence(), kv.Delete(j.task.Fence().Key))
		if werr != nil && !errors.Is(werr, store.ErrFenced) {
			return
		}
	}
	delete(p.tasks, id)
}
