package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/kv"
)

// watcher is a Watch in the background whose batches are checked as they come.
type watcher struct {
	s       *suite
	batches chan kv.Batch
	// ended gives what Watch returned, once.
	ended chan error
	stop  context.CancelFunc
	last  int64 // revision of the last batch
}

func (s *suite) watch(prefix string, rev int64) *watcher {
	ctx, cancel := context.WithCancel(s.ctx)
	w := &watcher{s: s, batches: make(chan kv.Batch, 10000), ended: make(chan error, 1), stop: cancel}
	var running sync.WaitGroup
	running.Go(func() {
		w.ended <- s.Watch(ctx, prefix, rev, func(b kv.Batch) error {
			select {
			case w.batches <- b:
			case <-ctx.Done(): // nobody looks any more
			}
			return nil
		})
	})
	s.Cleanup(running.Wait)
	s.Cleanup(cancel)
	return w
}

// want waits for n changes and for no more than the batch with the last of them.
func (w *watcher) want(n int) []kv.Change {
	w.s.Helper()
	var got []kv.Change
	for len(got) < n {
		got = append(got, w.batch().Changes...)
	}
	if len(got) > n {
		w.s.Fatalf("watched %d changes, want %d: %+v", len(got), n, got)
	}
	return got
}

// batch waits for the next batch and checks that it continues the one before.
func (w *watcher) batch() kv.Batch {
	w.s.Helper()
	select {
	case b := <-w.batches:
		if len(b.Changes) == 0 {
			w.s.Fatalf("empty batch %+v", b)
		}
		if first := b.Changes[0].Mod; first <= w.last {
			w.s.Fatalf("batch begins with revision %d, the one before ended with %d", first, w.last)
		}
		for i, c := range b.Changes {
			if i > 0 && c.Mod < b.Changes[i-1].Mod {
				w.s.Fatalf("revision %d after %d in one batch", c.Mod, b.Changes[i-1].Mod)
			}
		}
		w.last = b.Changes[len(b.Changes)-1].Mod
		if b.Rev != w.last {
			w.s.Fatalf("batch of revision %d ends with a change of %d", b.Rev, w.last)
		}
		return b
	case err := <-w.ended:
		w.s.Fatalf("watch ended: %v", err)
	case <-time.After(patience):
		w.s.Fatalf("no change within %v", patience)
	}
	panic("unreachable")
}

func testWatchOrder(s *suite) {
	start := s.put("other", "x")
	w := s.watch("w/", start+1)
	one := s.put("w/a", "1")
	s.put("other", "y")
	two := s.put("w/a", "2")
	three := s.commit(kv.Put("w/z", []byte("3")), kv.Delete("w/a"), kv.Put("w/b", []byte("3")))
	want := []kv.Change{
		{KV: kv.KV{Key: "w/a", Value: []byte("1"), Create: one, Mod: one}},
		{KV: kv.KV{Key: "w/a", Value: []byte("2"), Create: one, Mod: two}},
		{KV: kv.KV{Key: "w/z", Value: []byte("3"), Create: three, Mod: three}},
		{KV: kv.KV{Key: "w/a", Mod: three}, Deleted: true},
		{KV: kv.KV{Key: "w/b", Value: []byte("3"), Create: three, Mod: three}},
	}
	if diff := cmp.Diff(want, w.want(5)); diff != "" {
		s.Errorf("changes (-want +got):\n%s", diff)
	}
	s.commit(kv.DeletePrefix("w/"))
	if got := w.want(2); got[0].Key != "w/b" || got[1].Key != "w/z" {
		s.Errorf("prefix deleted as %+v, want the keys in byte order", got)
	}
}

// testWatchWhole: a large transaction comes as a whole, live and from history, and also if only
// a part of it is below the prefix.
func testWatchWhole(s *suite) {
	start := s.put("start", "")
	live := s.watch("w/", start+1)
	const rounds, size = 20, 100
	for range rounds {
		ops := []kv.Op{kv.Put("other", nil)}
		for i := range size {
			ops = append(ops, kv.Put(fmt.Sprintf("w/%d", i), make([]byte, 1000)))
		}
		s.commit(ops...)
	}
	for _, w := range []*watcher{live, s.watch("w/", start+1)} {
		// want fails if a revision goes on in a second batch: the next batch must begin later.
		if got := w.want(rounds * size); got[size-1].Mod == got[size].Mod {
			s.Errorf("changes %d and %d have the same revision", size-1, size)
		}
	}
}

func testWatchPast(s *suite) {
	var revs []int64
	for i := range 10 {
		revs = append(revs, s.put("w", fmt.Sprint(i)))
	}
	for _, from := range []int{0, 4, 9} {
		got := s.watch("w", revs[from]).want(10 - from)
		if got[0].Mod != revs[from] || string(got[0].Value) != fmt.Sprint(from) {
			s.Errorf("watch from revision %d begins with %+v", revs[from], got[0])
		}
	}
	// Stopped and resumed behind the last batch: each change once.
	first := s.watch("w", revs[0])
	n := len(first.batch().Changes)
	first.stop()
	if rest := s.watch("w", first.last+1); n < 10 {
		rest.want(10 - n)
	}
}

func testWatchFuture(s *suite) {
	now := s.put("w", "0")
	w := s.watch("w", now+3)
	var last int64
	for last < now+3 {
		last = s.put("w", "x")
	}
	if got := w.want(1); got[0].Mod != last {
		s.Errorf("watch from %d begins with %d, want %d", now+3, got[0].Mod, last)
	}
}

// testWatchNow: no old change comes, and from some time on every new one.
func testWatchNow(s *suite) {
	old := s.put("w", "old")
	w := s.watch("w", 0)
	s.until("first change", func() bool {
		s.put("w", "new")
		return len(w.batches) > 0
	})
	if got := w.batch().Changes; got[0].Mod <= old {
		s.Errorf("watch from now delivers %+v, revision then was %d", got[0], old)
	}
}

func testWatchEnds(s *suite) {
	rev := s.put("w", "1")
	stop := errors.New("stop")
	calls := 0
	err := s.Watch(s.ctx, "w", rev, func(kv.Batch) error { calls++; return stop })
	if err != stop || calls != 1 {
		s.Errorf("Watch = %v after %d calls, want the very error of fn after one", err, calls)
	}
	w := s.watch("w", rev)
	w.want(1)
	w.stop()
	s.wantErr(<-w.ended, context.Canceled, "Watch after its context ended")
}

// testWatchManyEnd: watches that end while changes for others arrive hold up nobody.
func testWatchManyEnd(s *suite) {
	const rounds, watches = 20, 40
	rev := s.put("w/", "")
	for range rounds {
		all := make([]*watcher, watches)
		for i := range all {
			all[i] = s.watch("w", rev)
		}
		for _, w := range all {
			w.want(1)
		}
		stay := s.watch("w", rev+1)
		var writing sync.WaitGroup
		writing.Go(func() {
			for i := range watches {
				rev = s.put("w/", fmt.Sprint(rev, i))
			}
		})
		for _, w := range all {
			w.stop()
		}
		writing.Wait()
		for _, w := range all {
			select {
			case err := <-w.ended:
				s.wantErr(err, context.Canceled, "Watch after its context ended")
			case <-time.After(patience):
				s.Fatalf("a watch does not end within %v", patience)
			}
		}
		stay.want(watches)
		stay.stop()
	}
}

// testWatchMirror: what a watcher rebuilds from changes is what a range reads.
func testWatchMirror(s *suite) {
	const writers, rounds = 4, 40
	start := s.put("start", "")
	w := s.watch("m/", start+1)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range rounds {
				ops := []kv.Op{kv.Put(fmt.Sprintf("m/%d", j%5), fmt.Append(nil, i, j)), kv.Delete(fmt.Sprintf("m/%d", (j+i)%5+5))}
				if j%3 == 0 {
					ops[1] = kv.Put(fmt.Sprintf("m/%d", (j+i)%5+5), fmt.Append(nil, i, j))
				}
				if _, _, err := s.Commit(s.ctx, kv.Txn{Then: ops}); err != nil {
					s.Errorf("writer %d, round %d: %v", i, j, err)
				}
			}
		})
	}
	wg.Wait()
	last := s.put("m/last", "")
	mirror := map[string]kv.KV{}
	for w.last < last {
		for _, c := range w.batch().Changes {
			if c.Deleted {
				if _, ok := mirror[c.Key]; !ok {
					s.Errorf("deletion of %q, which does not exist", c.Key)
				}
				delete(mirror, c.Key)
			} else {
				mirror[c.Key] = c.KV
			}
		}
	}
	want := map[string]kv.KV{}
	for _, p := range s.read(kv.Query{Prefix: "m/"}).KVs {
		want[p.Key] = p
	}
	if diff := cmp.Diff(want, mirror); diff != "" {
		s.Errorf("mirror (-range +watch):\n%s", diff)
	}
}

func testCompact(s *suite) {
	c, ok := s.Store.(interface {
		Compact(ctx context.Context, rev int64) error
	})
	if !ok {
		s.Skip("store has no Compact")
	}
	one := s.put("a", "1")
	two := s.commit(kv.Put("a", []byte("2")), kv.Put("b", []byte("2")))
	three := s.commit(kv.Delete("b"))
	four := s.put("a", "4")
	s.wantErr(c.Compact(s.ctx, four+1), kv.ErrFutureRevision, "Compact in the future")
	for _, rev := range []int64{three, three, two} { // again, and less: no error
		if err := c.Compact(s.ctx, rev); err != nil {
			s.Fatalf("Compact(%d): %v", rev, err)
		}
	}

	for _, rev := range []int64{one, two} {
		_, err := s.Range(s.ctx, kv.Query{Rev: rev})
		s.wantErr(err, kv.ErrCompacted, "Range before the compaction")
		err = s.Watch(s.ctx, "", rev, func(kv.Batch) error { return errors.New("a change came") })
		s.wantErr(err, kv.ErrCompacted, "Watch from before the compaction")
	}
	// The revision of the compaction itself is still there.
	s.wantWords(s.read(kv.Query{Rev: three}), "a=2")
	s.wantKeys("", "a=4")
	got := s.watch("", three).want(2)
	if got[0].Key != "b" || !got[0].Deleted || got[1].Mod != four {
		s.Errorf("watch from the revision of the compaction: %+v", got)
	}
}
