package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/kv"
)

// outboxEntry is an event that waits for its delivery, and what must hold before.
type outboxEntry struct {
	Event event.Event `json:"event"`
	// Ensure is the ref of a patch set that must be there; who delivers writes it.
	Ensure *ensure `json:"ensure,omitempty"`
	// Await is a move of a ref that the event tells of: without it there is no event.
	Await *await `json:"await,omitempty"`
}

type ensure struct {
	Project string `json:"project"`
	Ref     string `json:"ref"`
	Commit  string `json:"commit"`
}

type await struct {
	Project string    `json:"project"`
	Ref     string    `json:"ref"`
	New     string    `json:"new"`
	At      time.Time `json:"at"`
}

func branchOf(ref string) (string, bool) { return strings.CutPrefix(ref, "refs/heads/") }

// awaitFor is how long a move of a ref that was announced may take; after that it has not happened.
const awaitFor = time.Minute

// afterwards bounds what is still done for a caller who has gone away: a store that cannot be reached holds up
// nobody's end.
const afterwards = 10 * time.Second

// deliver gives the events of the outbox to the sink, in the order of their transactions. What
// cannot be delivered stays, and is delivered by the next call or by Serve.
func (f *Forge) deliver(ctx context.Context) {
	// The caller's answer may be lost when its client goes away, its events may not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	f.mu.Lock()
	sink := f.sink
	f.mu.Unlock()
	if sink == nil {
		return
	}
	f.draining.Lock()
	defer f.draining.Unlock()
	if err := f.drain(ctx, sink); err != nil {
		f.Log.Warn("events wait in the outbox", "connection", f.Config.Name, "error", err)
	}
}

func (f *Forge) drain(ctx context.Context, sink forge.Sink) error {
	res, err := f.Store.Range(ctx, kv.Query{Prefix: f.keyOutbox()})
	if err != nil {
		return err
	}
	slices.SortStableFunc(res.KVs, func(a, b kv.KV) int { return int(a.Mod - b.Mod) })
	for _, e := range res.KVs {
		var o outboxEntry
		if err := json.Unmarshal(e.Value, &o); err != nil {
			return fmt.Errorf("decode %s: %w", e.Key, err)
		}
		send, err := f.ready(ctx, &o)
		if err != nil {
			return err
		}
		if send == wait {
			continue
		}
		if send == yes {
			if err := sink(ctx, o.Event); err != nil {
				return fmt.Errorf("deliver %s of %s: %w", o.Event.Type, o.Event.Project, err)
			}
		}
		if _, _, err := f.Store.Commit(ctx, kv.Txn{Then: []kv.Op{kv.Delete(e.Key)}}); err != nil {
			return err
		}
	}
	return nil
}

type answer int

const (
	yes answer = iota
	never
	wait
)

// ready tells whether what an event tells of is there for everybody to see.
func (f *Forge) ready(ctx context.Context, o *outboxEntry) (answer, error) {
	if o.Ensure != nil {
		return yes, f.ensureRef(ctx, *o.Ensure)
	}
	if o.Await == nil {
		return yes, nil
	}
	r, err := f.repo(o.Await.Project)
	if err != nil {
		return wait, err
	}
	at, err := refNow(ctx, r, o.Await.Ref)
	if err != nil {
		return wait, err
	}
	if at == o.Await.New {
		return yes, nil
	}
	if f.Now().Sub(o.Await.At) < awaitFor {
		return wait, nil
	}
	return never, nil
}

// refNow is the object that a ref points to; git.Zero where there is none.
func refNow(ctx context.Context, r *git.Repo, name string) (string, error) {
	refs, err := r.Refs(ctx, name)
	if err != nil {
		return "", err
	}
	for _, ref := range refs {
		if ref.Name == name {
			return ref.Object, nil
		}
	}
	return git.Zero, nil
}

// ensureRef writes the ref of a patch set, which never changes; twice is harmless.
func (f *Forge) ensureRef(ctx context.Context, e ensure) error {
	r, err := f.repo(e.Project)
	if err != nil {
		return err
	}
	if at, err := r.ResolveRef(ctx, e.Ref); err == nil && at == e.Commit {
		return nil
	} else if err != nil && !errors.Is(err, git.ErrNotFound) {
		return err
	}
	err = r.UpdateRefs(ctx, git.RefUpdate{Ref: e.Ref, New: e.Commit, Old: git.Zero})
	if err != nil {
		// The push itself and whoever delivers its event both write the ref; one of them is first.
		if at, rerr := r.ResolveRef(ctx, e.Ref); rerr == nil && at == e.Commit {
			return nil
		}
	}
	return err
}

// Serve finishes what an earlier process began, and then hands events to sink until ctx ends:
// those of this process before their cause is answered, those of others as they come.
func (f *Forge) Serve(ctx context.Context, sink forge.Sink) error {
	f.mu.Lock()
	f.sink = sink
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.sink = f.Sink
		f.mu.Unlock()
	}()
	if err := f.Recover(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	others := make(chan struct{}, 1)
	watched := make(chan error, 1)
	wctx, stop := context.WithCancel(ctx)
	go func() {
		watched <- f.Store.Watch(wctx, f.keyOutbox(), 0, func(b kv.Batch) error {
			if slices.ContainsFunc(b.Changes, func(c kv.Change) bool { return !c.Deleted }) {
				select {
				case others <- struct{}{}:
				default:
				}
			}
			return nil
		})
	}()
	ended := false
	defer func() {
		stop()
		if !ended {
			<-watched
		}
	}()
	for {
		f.deliver(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-watched:
			ended = true
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("watch the outbox of %s: %w", f.Config.Name, err)
		case <-others:
		case <-tick.C:
		}
	}
}

// Recover brings refs and records together after a process died: refs of patch sets that are
// missing are written, merges whose branch has moved are finished.
func (f *Forge) Recover(ctx context.Context) error {
	open, err := f.opened(ctx)
	if err != nil {
		return err
	}
	for _, s := range open {
		r, _, err := f.record(ctx, s.Number)
		if err != nil {
			return err
		}
		if err := f.ensureRef(ctx, ensure{r.Project, r.ref(), r.Current.Commit}); err != nil {
			return fmt.Errorf("recover change %d: %w", s.Number, err)
		}
		if r.Submit == nil {
			continue
		}
		if _, err := f.finish(ctx, r, r.Submit); err != nil {
			return fmt.Errorf("recover change %d: %w", s.Number, err)
		}
	}
	return nil
}
