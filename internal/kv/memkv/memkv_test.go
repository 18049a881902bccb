package memkv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/kvtest"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
)

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t testing.TB) kv.Store {
		s := memkv.New(memkv.Config{})
		t.Cleanup(func() { s.Close() })
		return s
	})
}

func commit(t *testing.T, s *memkv.Store, ops ...kv.Op) int64 {
	t.Helper()
	ok, rev, err := s.Commit(context.Background(), kv.Txn{Then: ops})
	if !ok || err != nil {
		t.Fatalf("Commit = %v, %v", ok, err)
	}
	return rev
}

func keys(t *testing.T, s *memkv.Store, rev int64) string {
	t.Helper()
	r, err := s.Range(context.Background(), kv.Query{Rev: rev})
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, p := range r.KVs {
		out += p.Key
	}
	return out
}

func grant(t *testing.T, s *memkv.Store, ttl time.Duration) kv.LeaseID {
	t.Helper()
	l, err := s.Grant(context.Background(), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLeasesByTheClock: to the nanosecond, for those who ask and for those who only watch.
func TestLeasesByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New(memkv.Config{})
		l := grant(t, s, 5*time.Second)
		rev := commit(t, s, kv.PutLease("a", nil, l))
		began := time.Now()
		var gone time.Duration
		stop := errors.New("seen")
		ended := make(chan error)
		go func() {
			ended <- s.Watch(t.Context(), "", rev+1, func(kv.Batch) error {
				gone = time.Since(began)
				return stop
			})
		}()
		time.Sleep(3 * time.Second)
		if left, err := s.KeepAlive(t.Context(), l); left != 5*time.Second || err != nil {
			t.Errorf("KeepAlive = %v, %v", left, err)
		}
		time.Sleep(5*time.Second - 1)
		if got := keys(t, s, 0); got != "a" {
			t.Errorf("just before the end: %q", got)
		}
		if err := <-ended; err != stop || gone != 8*time.Second {
			t.Errorf("watch saw the end after %v (%v), want 8s", gone, err)
		}
	})
}

// TestLeasesOfOneMomentEndInOrder: the same revisions each time, whichever timer runs first.
func TestLeasesOfOneMomentEndInOrder(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			s := memkv.New(memkv.Config{})
			var last int64
			for i := range 5 {
				last = commit(t, s, kv.PutLease(fmt.Sprint(4-i), nil, grant(t, s, time.Second)))
			}
			time.Sleep(2 * time.Second)
			for i, want := range []string{"01234", "0123", "012", "01", "0", ""} {
				if got := keys(t, s, last+int64(i)); got != want {
					t.Errorf("%d ended: %q, want %q", i, got, want)
				}
			}
		})
	}
}

// TestCloseStopsTimers: a bubble with leases ends when the test does.
func TestCloseStopsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New(memkv.Config{})
		commit(t, s, kv.PutLease("a", nil, grant(t, s, time.Second)))
		ended := make(chan error)
		go func() {
			ended <- s.Watch(t.Context(), "", 0, func(kv.Batch) error { return errors.New("a change came") })
		}()
		synctest.Wait()
		s.Close()
		time.Sleep(time.Minute)
		if err := <-ended; !errors.Is(err, kv.ErrClosed) {
			t.Errorf("Watch = %v", err)
		}
	})
}

func TestClone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New(memkv.Config{Fault: func(kv.Txn) memkv.Fault { return memkv.Fault{} }})
		l := grant(t, s, 5*time.Second)
		one := commit(t, s, kv.PutLease("a", nil, l))
		two := commit(t, s, kv.Put("b", nil))
		time.Sleep(3 * time.Second)
		c := s.Clone()
		if _, err := s.KeepAlive(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		// Enough writes on both sides to split the nodes that they shared.
		for i := range 500 {
			commit(t, s, kv.Put(fmt.Sprintf("s%03d", i), nil))
			commit(t, c, kv.Put(fmt.Sprintf("c%03d", i), nil))
		}
		if got := keys(t, s, one) + keys(t, s, two) + keys(t, c, one) + keys(t, c, two); got != "aabaab" {
			t.Errorf("history: %q", got)
		}
		time.Sleep(2 * time.Second)
		for _, side := range []struct {
			s     *memkv.Store
			first string
			all   int
		}{{s, "a", 502}, {c, "b", 501}} { // the clone's lease was not renewed
			r, err := side.s.Range(t.Context(), kv.Query{})
			if err != nil || len(r.KVs) != side.all || r.KVs[0].Key != side.first {
				t.Errorf("%d keys from %q, %v; want %d from %q", len(r.KVs), r.KVs[0].Key, err, side.all, side.first)
			}
		}
		if a, b := grant(t, s, time.Second), grant(t, c, time.Second); a != b {
			t.Errorf("next leases %d and %d", a, b)
		}
	})
}

// TestCloneOfClosed: what the next process finds.
func TestCloneOfClosed(t *testing.T) {
	s := memkv.New(memkv.Config{})
	commit(t, s, kv.Put("a", nil))
	s.Close()
	c := s.Clone()
	commit(t, c, kv.Put("b", nil))
	if got := keys(t, c, 0); got != "ab" {
		t.Errorf("clone has %q", got)
	}
}

func TestFault(t *testing.T) {
	cut := errors.New("connection lost")
	var fault memkv.Fault
	var s *memkv.Store
	before := func() {}
	s = memkv.New(memkv.Config{Fault: func(kv.Txn) memkv.Fault {
		f, b := fault, before
		fault, before = memkv.Fault{}, func() {}
		b()
		return f
	}})
	try := func(txn kv.Txn) error { _, _, err := s.Commit(t.Context(), txn); return err }

	fault.Before = cut
	if err := try(kv.Txn{Then: []kv.Op{kv.Put("a", nil)}}); err != cut || keys(t, s, 0) != "" {
		t.Errorf("before: %v, then %q", err, keys(t, s, 0))
	}
	fault.After = cut
	if err := try(kv.Txn{Then: []kv.Op{kv.Put("a", nil)}}); err != cut || keys(t, s, 0) != "a" {
		t.Errorf("after: %v, then %q", err, keys(t, s, 0))
	}
	// Somebody else comes first.
	before = func() { commit(t, s, kv.Put("b", nil)) }
	ok, _, err := s.Commit(t.Context(), kv.Txn{If: []kv.Cmp{kv.Missing("b")}, Then: []kv.Op{kv.Put("c", nil)}})
	if ok || err != nil || keys(t, s, 0) != "ab" {
		t.Errorf("overtaken: %v, %v, then %q", ok, err, keys(t, s, 0))
	}
}

func TestRetain(t *testing.T) {
	s := memkv.New(memkv.Config{Retain: 10})
	var revs []int64
	for range 100 {
		revs = append(revs, commit(t, s, kv.Put("a", nil)))
		if oldest := revs[max(0, len(revs)-10)]; keys(t, s, oldest) != "a" {
			t.Fatalf("revision %d is not kept", oldest)
		}
	}
	if _, err := s.Range(t.Context(), kv.Query{Rev: revs[79]}); !errors.Is(err, kv.ErrCompacted) {
		t.Errorf("20 revisions later: %v", err)
	}
}

// TestDeterministic: the same calls give the same answers.
func TestDeterministic(t *testing.T) {
	run := func() (out []any) {
		synctest.Test(t, func(t *testing.T) {
			s := memkv.New(memkv.Config{})
			out = append(out, s.Rev())
			for i := range 5 {
				l := grant(t, s, time.Duration(i+1)*time.Second)
				out = append(out, l, commit(t, s, kv.PutLease(fmt.Sprint(i), nil, l)))
				time.Sleep(1500 * time.Millisecond)
				out = append(out, keys(t, s, 0), s.Rev())
			}
		})
		return out
	}
	first := run()
	if diff := cmp.Diff(first, run()); diff != "" || first[0] != int64(1) || first[1] != kv.LeaseID(1) {
		t.Errorf("first run %v, second differs:\n%s", first, diff)
	}
}

func BenchmarkCommit(b *testing.B) {
	s := memkv.New(memkv.Config{Retain: 1000})
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprintf("key/%05d", i%10000)
		if _, _, err := s.Commit(b.Context(), kv.Txn{Then: []kv.Op{kv.Put(key, []byte("value"))}}); err != nil {
			b.Fatal(err)
		}
	}
}
