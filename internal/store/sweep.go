package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
)

// Sweeper removes what nobody needs any more: blobs and layouts that no record names, answers that nobody waits for,
// signals to requests that ended. What looks so must have looked so for the time of grace: a blob and a layout
// are written before the record that names them.
type Sweeper struct {
	Store *Store
	// Grace is half an hour where it is zero.
	Grace time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	since map[string]suspicion
}

// suspicion is what looked useless, as it was then, and since when.
type suspicion struct {
	cmp kv.Cmp
	at  time.Time
}

// Swept counts what a sweep found.
type Swept struct {
	// Blobs and Bytes are all that there are; Removed, what went of anything.
	Blobs, Removed int
	Bytes          int64
}

const sweepPage = 500

// LayoutPrefix is where it is recorded how layouts are made again: by tenant and identity.
const LayoutPrefix = "/layout/"

// Sweep looks once. It must be called again and again by the same Sweeper: the first call only remembers.
func (w *Sweeper) Sweep(ctx context.Context) (Swept, error) {
	var out Swept
	if w.since == nil {
		w.since = map[string]suspicion{}
	}
	m, err := w.Store.mark(ctx)
	if err != nil {
		return out, fmt.Errorf("sweep the store: %w", err)
	}
	out.Blobs, out.Bytes = len(m.blobs), m.bytes
	useless := m.useless()
	now := time.Now()
	if w.Now != nil {
		now = w.Now()
	}
	grace := w.Grace
	if grace == 0 {
		grace = 30 * time.Minute
	}
	for key := range w.since {
		if _, still := useless[key]; !still {
			delete(w.since, key)
		}
	}
	for key, cmp := range useless {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		s, known := w.since[key]
		if !known || s.cmp != cmp {
			w.since[key] = suspicion{cmp, now}
			if err := w.Store.condemn(ctx, key); err != nil {
				return out, err
			}
			continue
		}
		if now.Sub(s.at) < grace {
			continue
		}
		gone, err := w.Store.remove(ctx, cmp)
		if err != nil {
			return out, err
		}
		delete(w.since, key)
		if gone {
			out.Removed++
		}
	}
	return out, nil
}

// doomed is the key that says of a blob that it is about to be removed. Who puts the blob once more takes it
// away, and with it the right to remove it.
func doomed(key string) string { return key + "!" }

func (s *Store) condemn(ctx context.Context, key string) error {
	if !strings.HasPrefix(key, blobKey("")) {
		return nil
	}
	_, err := s.Write(ctx, Fence{}, kv.Put(doomed(key), nil))
	return err
}

// remove deletes what is useless, if it still is what it was.
func (s *Store) remove(ctx context.Context, was kv.Cmp) (bool, error) {
	key := was.Key
	txn := kv.Txn{If: []kv.Cmp{was}, Then: []kv.Op{kv.Delete(key)}}
	if strings.HasPrefix(key, blobKey("")) {
		e, found, err := kv.Get(ctx, s.kv, doomed(key))
		if err != nil || !found {
			return false, err // somebody put it again
		}
		txn.If = append(txn.If, kv.Created(e.Key, e.Create))
		txn.Then = append(txn.Then, kv.Delete(e.Key), kv.DeletePrefix(key+"/"))
	}
	ok, _, err := s.kv.Commit(ctx, txn)
	return ok, err
}

// spared takes a blob that exists out of a sweep that is about to remove it. false: it was removed.
func (s *Store) spared(ctx context.Context, found []kv.KV, key string) (bool, error) {
	for _, e := range found {
		if e.Key != doomed(key) {
			continue
		}
		ok, _, err := s.kv.Commit(ctx, kv.Txn{If: []kv.Cmp{kv.Created(e.Key, e.Create)}, Then: []kv.Op{kv.Delete(e.Key)}})
		return ok, err
	}
	return true, nil
}

// marked is what a look at everything found.
type marked struct {
	blobs   map[string]kv.KV   // by name, without values
	layouts map[string][]kv.KV // records of layouts, by identity
	named   map[string]bool    // names of 64 hexadecimal digits that stand in some record, or in what is so named
	loose   map[string]int64   // answers, and signals without a request
	bytes   int64
}

// useless are the keys that nobody needs, each as it is. A layout that is recorded again has another revision; a
// blob that is put again is taken out of the sweep (see spared).
func (m *marked) useless() map[string]kv.Cmp {
	out := map[string]kv.Cmp{}
	for name, e := range m.blobs {
		if !m.named[name] {
			out[e.Key] = kv.Created(e.Key, e.Create)
		}
	}
	for id, es := range m.layouts {
		for _, e := range es {
			if !m.named[id] {
				out[e.Key] = kv.Unchanged(e.Key, e.Mod)
			}
		}
	}
	for key, create := range m.loose {
		out[key] = kv.Created(key, create)
	}
	return out
}

// mark reads everything at one revision. Whatever looks like the name of a blob counts as one: what is
// named by accident stays.
func (s *Store) mark(ctx context.Context) (*marked, error) {
	m := &marked{blobs: map[string]kv.KV{}, layouts: map[string][]kv.KV{}, named: map[string]bool{}, loose: map[string]int64{}}
	requests := map[string]bool{}
	var todo []string
	note := func(b []byte) {
		eachName(b, func(name string) {
			if !m.named[name] {
				m.named[name] = true
				todo = append(todo, name)
			}
		})
	}
	var rev int64
	err := s.each(ctx, "/", &rev, func(e kv.KV) {
		if rest, ok := strings.CutPrefix(e.Key, blobKey("")); ok {
			m.bytes += int64(len(e.Value))
			if !strings.ContainsAny(rest, "/!") {
				e.Value = nil
				m.blobs[rest] = e
			}
			return
		}
		if strings.HasPrefix(e.Key, LayoutPrefix) {
			id := e.Key[strings.LastIndexByte(e.Key, '/')+1:]
			m.layouts[id] = append(m.layouts[id], e)
			return
		}
		note([]byte(e.Key))
		note(e.Value)
		switch {
		case strings.HasPrefix(e.Key, "/request/"):
			requests[strings.TrimPrefix(e.Key, "/request/")] = true
		case strings.HasPrefix(e.Key, "/reply/"), strings.HasPrefix(e.Key, "/signal/"):
			m.loose[e.Key] = e.Create
		}
	})
	if err != nil {
		return nil, err
	}
	for key := range m.loose {
		if of, ok := strings.CutPrefix(key, "/signal/"); ok && requests[of[:strings.LastIndexByte(of, '/')]] {
			delete(m.loose, key)
		}
	}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range m.layouts[name] {
			note(e.Value)
		}
		if _, ok := m.blobs[name]; !ok {
			continue
		}
		data, err := s.Blob(ctx, name)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnreadable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		note(data)
	}
	return m, nil
}

// each calls f for everything below a prefix, at one revision, which is told.
func (s *Store) each(ctx context.Context, prefix string, rev *int64, f func(kv.KV)) error {
	q := kv.Query{Prefix: prefix, Limit: sweepPage, Rev: *rev}
	for {
		r, err := s.kv.Range(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range r.KVs {
			f(e)
		}
		*rev, q.Rev = r.Rev, r.Rev
		if !r.More {
			return nil
		}
		q.After = r.KVs[len(r.KVs)-1].Key
	}
}

// eachName finds everything that looks like the name of a blob.
func eachName(b []byte, f func(string)) {
	run := 0
	for i := 0; i <= len(b); i++ {
		if i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i] >= 'a' && b[i] <= 'f') {
			run++
			continue
		}
		if run == 64 {
			f(string(b[i-64 : i]))
		}
		run = 0
	}
}
