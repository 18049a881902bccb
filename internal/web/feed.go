package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

const (
	// settle is how long changes of a pipeline are gathered before it is read again: many steps a
	// second make few messages.
	settle = 50 * time.Millisecond
	// remembered is how many events a feed keeps for clients that come back.
	remembered = 512
)

// feeds follows all pipelines and keeps a feed for each tenant.
type feeds struct {
	store     *store.Store
	estimates *estimates
	now       func() time.Time
	log       *slog.Logger
	epoch     string

	mirrors map[pipeName]*store.Mirror // of whoever follows

	mu    sync.Mutex
	ready bool
	feeds map[string]*feed
	// states are the pipelines as they were read last, by tenant and name.
	states map[string]map[string]*pipeline.State
}

func newFeeds(st *store.Store, est *estimates, now func() time.Time, log *slog.Logger) *feeds {
	return &feeds{store: st, estimates: est, now: now, log: log, epoch: uuid.NewString()[:8],
		feeds: map[string]*feed{}, states: map[string]map[string]*pipeline.State{}}
}

func (f *feeds) isReady() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready
}

// of gives the feed of a tenant; nil where no pipeline of it was ever seen.
func (f *feeds) of(tenant string) *feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.feeds[tenant]
}

// tenants lists those with pipelines.
func (f *feeds) tenants() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]string, 0, len(f.feeds))
	for t := range f.feeds {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

// all are the pipelines of a tenant as they were read last. They must not be changed.
func (f *feeds) all(tenant string) []*pipeline.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*pipeline.State
	for _, s := range f.states[tenant] {
		out = append(out, s)
	}
	return out
}

type pipeName struct{ tenant, name string }

// nameOf reads the pipeline out of the key of one of its records.
func nameOf(key string) (n pipeName, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(key, pipelines), "/", 3)
	if len(parts) != 3 {
		return n, false
	}
	tenant, err1 := url.PathUnescape(parts[0])
	name, err2 := url.PathUnescape(parts[1])
	return pipeName{tenant, name}, err1 == nil && err2 == nil
}

const pipelines = "/pipeline/"

// run reads every pipeline, then those that change, until ctx ends. What the store could not tell for a while
// is read again from the beginning.
func (f *feeds) run(ctx context.Context) error {
	for {
		err := f.follow(ctx)
		if errors.Is(err, kv.ErrCompacted) {
			continue
		}
		if ctx.Err() != nil || errors.Is(err, kv.ErrClosed) {
			return err
		}
		f.log.Warn("the pipelines are read again", "error", err)
		f.mu.Lock()
		f.ready = false
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (f *feeds) follow(ctx context.Context) error {
	r, err := f.store.KV().Range(ctx, kv.Query{Prefix: pipelines, KeysOnly: true})
	if err != nil {
		return fmt.Errorf("list the pipelines: %w", err)
	}
	dirty := map[pipeName]bool{}
	f.mirrors = map[pipeName]*store.Mirror{}
	for _, e := range r.KVs {
		if n, ok := nameOf(e.Key); ok {
			dirty[n] = true
		}
	}
	f.gone(dirty)
	if err := f.read(ctx, dirty); err != nil {
		return err
	}
	f.mu.Lock()
	f.ready = true
	f.mu.Unlock()
	return f.watch(ctx, r.Rev+1)
}

// gone marks pipelines that were known and are not listed, so that they are read and found missing.
func (f *feeds) gone(listed map[pipeName]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for t, names := range f.states {
		for n := range names {
			listed[pipeName{t, n}] = true
		}
	}
}

// watch gathers what changed in one goroutine and reads it in this one.
func (f *feeds) watch(ctx context.Context, rev int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed, ended := make(chan kv.Change, 256), make(chan error, 1)
	go func() {
		ended <- f.store.KV().Watch(ctx, pipelines, rev, func(b kv.Batch) error {
			for _, c := range b.Changes {
				select {
				case changed <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}()
	dirty := map[pipeName]bool{}
	var timer <-chan time.Time
	pause := settle // or as long as the last look took: half of the time, nothing is looked at
	for {
		select {
		case err := <-ended:
			return err
		case c := <-changed:
			n, ok := nameOf(c.Key)
			if !ok {
				continue
			}
			dirty[n] = true
			f.mirror(n).Hear(c)
			if timer == nil {
				timer = time.After(pause)
			}
		case <-timer:
			timer = nil
			began := time.Now()
			if err := f.read(ctx, dirty); err != nil {
				cancel()
				<-ended
				return err
			}
			pause = max(settle, time.Since(began))
			clear(dirty)
		}
	}
}

// mirror is what is known of a pipeline. Only the goroutine that follows asks.
func (f *feeds) mirror(n pipeName) *store.Mirror {
	if f.mirrors[n] == nil {
		f.mirrors[n] = f.store.Mirror(n.tenant, n.name)
	}
	return f.mirrors[n]
}

func (f *feeds) read(ctx context.Context, dirty map[pipeName]bool) error {
	for n := range dirty {
		st, err := f.mirror(n).State(ctx)
		if err != nil {
			return err
		}
		if st.Settings.Name == "" { // no head: the pipeline was removed
			st = nil
			delete(f.mirrors, n)
		}
		f.put(ctx, n, st)
	}
	for n, st := range f.waiting(dirty) {
		f.put(ctx, n, st)
	}
	return nil
}

// waiting are the pipelines of the same tenants in which a job waits for a semaphore or a lock: who holds it may be
// another one now.
func (f *feeds) waiting(dirty map[pipeName]bool) map[pipeName]*pipeline.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[pipeName]*pipeline.State{}
	for d := range dirty {
		for name, st := range f.states[d.tenant] {
			if n := (pipeName{d.tenant, name}); !dirty[n] && pipeline.WaitsForOthers(st) {
				out[n] = st
			}
		}
	}
	return out
}

func (f *feeds) put(ctx context.Context, n pipeName, st *pipeline.State) {
	var p *api.Pipeline
	var items []api.Item
	if st != nil {
		est, err := f.estimates.of(ctx, n.tenant, st)
		if err != nil {
			f.log.Warn("no estimates", "tenant", n.tenant, "pipeline", n.name, "error", err)
		}
		sem, err := holders(ctx, f.store, n.tenant)
		if err != nil {
			f.log.Warn("who holds semaphores is not known", "tenant", n.tenant, "error", err)
			sem = &pipeline.Semaphores{}
		}
		p, items = convert(st, sem, est, f.now())
	}
	f.mu.Lock()
	fd := f.feeds[n.tenant]
	if fd == nil {
		fd = newFeed(f.epoch)
		f.feeds[n.tenant] = fd
	}
	if f.states[n.tenant] == nil {
		f.states[n.tenant] = map[string]*pipeline.State{}
	}
	if st == nil {
		delete(f.states[n.tenant], n.name)
	} else {
		f.states[n.tenant][n.name] = st
	}
	f.mu.Unlock()
	fd.update(n.name, p, items, f.now())
}

// feed is the live view of one tenant and its last events.
type feed struct {
	epoch string

	mu        sync.Mutex
	version   int
	pipelines map[string]api.Pipeline
	items     map[string]api.Item
	prints    map[string]string // of pipelines ("p/"+name) and items: what was sent last
	ring      []api.Event
	more      chan struct{} // closed by the next event
}

func newFeed(epoch string) *feed {
	return &feed{epoch: epoch, pipelines: map[string]api.Pipeline{}, items: map[string]api.Item{}, prints: map[string]string{}, more: make(chan struct{})}
}

// update takes a pipeline with its items (nil: it is gone) and makes an event of the difference.
func (f *feed) update(name string, p *api.Pipeline, items []api.Item, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ev := api.Event{Now: now}
	if p == nil {
		if _, had := f.pipelines[name]; had {
			delete(f.pipelines, name)
			delete(f.prints, "p/"+name)
			ev.GonePipelines = []string{name}
		}
	} else if print := fingerprint(*p); f.prints["p/"+name] != print {
		f.prints["p/"+name], f.pipelines[name] = print, *p
		ev.Pipelines = []api.Pipeline{*p}
	}
	seen := map[string]bool{}
	for _, it := range items {
		seen[it.ID] = true
		plain := it
		plain.Ends = time.Time{} // an estimate moves all the time; alone it is no news
		if print := fingerprint(plain); f.prints[it.ID] != print {
			f.prints[it.ID] = print
			ev.Items = append(ev.Items, it)
			f.items[it.ID] = it
		}
	}
	for id, it := range f.items {
		if it.Pipeline == name && !seen[id] {
			delete(f.items, id)
			delete(f.prints, id)
			ev.GoneItems = append(ev.GoneItems, id)
		}
	}
	slices.Sort(ev.GoneItems)
	if len(ev.Pipelines)+len(ev.Items)+len(ev.GonePipelines)+len(ev.GoneItems) > 0 {
		f.append(ev)
	}
}

func (f *feed) append(ev api.Event) {
	f.version++
	ev.Version = f.name(f.version)
	if len(f.ring) == remembered {
		f.ring = slices.Delete(f.ring, 0, remembered/4)
	}
	f.ring = append(f.ring, ev)
	close(f.more)
	f.more = make(chan struct{})
}

func (f *feed) name(v int) string { return f.epoch + "-" + strconv.Itoa(v) }

// snapshot is all there is now.
func (f *feed) snapshot(now time.Time) api.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all(now)
}

func (f *feed) all(now time.Time) api.Event {
	ev := api.Event{Version: f.name(f.version), Snapshot: true, Now: now}
	for _, p := range f.pipelines {
		ev.Pipelines = append(ev.Pipelines, p)
	}
	slices.SortFunc(ev.Pipelines, func(a, b api.Pipeline) int {
		if a.Position != b.Position {
			return a.Position - b.Position
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, it := range f.items {
		ev.Items = append(ev.Items, it)
	}
	slices.SortFunc(ev.Items, func(a, b api.Item) int { return a.Enqueued.Compare(b.Enqueued) })
	return ev
}

// after gives what came after the version that a client saw, or a snapshot where that is not known any
// more. Nothing new: wait for more to be closed.
func (f *feed) after(seen string, now time.Time) (evs []api.Event, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	word, number, _ := strings.Cut(seen, "-")
	n, err := strconv.Atoi(number)
	oldest := f.version - len(f.ring)
	if word != f.epoch || err != nil || n < oldest || n > f.version {
		return []api.Event{f.all(now)}, f.more
	}
	return slices.Clone(f.ring[n-oldest:]), f.more
}

func fingerprint(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("web: encode %T: %v", v, err)) // wire types are plain data
	}
	return string(b)
}
