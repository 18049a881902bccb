package kv_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
)

// flaky is a store whose keepalives can be made to fail, or to take time on the way there or back.
type flaky struct {
	kv.Store
	down        atomic.Bool
	there, back atomic.Int64 // nanoseconds
}

func (f *flaky) KeepAlive(ctx context.Context, l kv.LeaseID) (time.Duration, error) {
	time.Sleep(time.Duration(f.there.Load()))
	if f.down.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	left, err := f.Store.KeepAlive(ctx, l)
	time.Sleep(time.Duration(f.back.Load()))
	return left, err
}

// session starts a session of 6 s on a store of its own, with one key under its lease.
func session(t *testing.T) (f *flaky, s *kv.Session, run func(context.Context) <-chan error) {
	t.Helper()
	f = &flaky{Store: memkv.New(memkv.Config{})}
	s, err := kv.NewSession(t.Context(), kv.SessionConfig{Store: f, TTL: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Commit(t.Context(), kv.Txn{Then: []kv.Op{kv.PutLease("me", nil, s.Lease())}}); err != nil {
		t.Fatal(err)
	}
	return f, s, func(ctx context.Context) <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		return ended
	}
}

func present(t *testing.T, s kv.Store) bool {
	t.Helper()
	_, ok, err := kv.Get(context.Background(), s, "me")
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func isDone(s *kv.Session) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

func TestSessionKeepsAliveAndRevokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, run := session(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := run(ctx)
		time.Sleep(time.Hour)
		if !present(t, f) || isDone(s) || !s.Alive() {
			t.Fatalf("after an hour: present %v, done %v, alive %v", present(t, f), isDone(s), s.Alive())
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if present(t, f) || !isDone(s) || s.Alive() {
			t.Errorf("after Run: present %v, done %v, alive %v", present(t, f), isDone(s), s.Alive())
		}
	})
}

func TestSessionWithoutRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, _ := session(t)
		time.Sleep(6*time.Second - 1)
		if isDone(s) || !s.Alive() {
			t.Error("done before its time")
		}
		time.Sleep(1)
		if s.Alive() {
			t.Error("alive after its time")
		}
		synctest.Wait()
		if !isDone(s) {
			t.Error("not done after its time")
		}
	})
}

// TestSessionDoneBeforeLeaseEnds: nobody sees the lease gone while Done is still open, also where
// messages are slow in either direction.
func TestSessionDoneBeforeLeaseEnds(t *testing.T) {
	for _, slow := range []struct{ there, back time.Duration }{{0, 0}, {time.Second, 0}, {0, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			f, s, run := session(t)
			gone := make(chan time.Time, 1)
			go f.Watch(t.Context(), "me", 0, func(kv.Batch) error {
				gone <- time.Now()
				return errors.New("seen")
			})
			f.there.Store(int64(slow.there))
			f.back.Store(int64(slow.back))
			ended := run(t.Context())
			time.Sleep(20 * time.Second)
			f.down.Store(true)
			<-s.Done()
			done := time.Now()
			if err := <-ended; !errors.Is(err, kv.ErrSessionLost) {
				t.Errorf("%+v: Run = %v", slow, err)
			}
			if late := done.Sub(<-gone); late > 0 {
				t.Errorf("%+v: Done %v after the lease ended", slow, late)
			}
		})
	}
}

// TestSessionSurvivesOutage: failing keepalives are tried again, and soon, while there is time.
func TestSessionSurvivesOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, run := session(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := run(ctx)
		f.down.Store(true)
		time.Sleep(4 * time.Second)
		f.down.Store(false)
		time.Sleep(time.Minute)
		if isDone(s) || !present(t, f) {
			t.Errorf("an outage of 4 s ended a session of 6 s: done %v, present %v", isDone(s), present(t, f))
		}
		cancel()
		<-ended
	})
}

func TestSessionLeaseTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, run := session(t)
		ended := run(t.Context())
		if err := f.Revoke(t.Context(), s.Lease()); err != nil {
			t.Fatal(err)
		}
		err := <-ended
		if !errors.Is(err, kv.ErrSessionLost) || !errors.Is(err, kv.ErrLeaseNotFound) || !isDone(s) {
			t.Errorf("Run = %v, done %v", err, isDone(s))
		}
	})
}
