package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

func put(t *testing.T, ctx context.Context, s *store.Store, r store.Request) {
	t.Helper()
	op, err := s.RequestOp(ctx, r, map[string]int{"n": 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(ctx, store.Fence{}, op); err != nil {
		t.Fatal(err)
	}
}

// Requests are taken by priority and then age, done once, and their outcome is in the inbox.
func TestServeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		for i, prio := range []int{200, 100, 200, 100} {
			put(t, ctx, s, store.Request{Kind: "k", ID: fmt.Sprint(i), Priority: prio, Tenant: "t", Pipeline: "p"})
		}
		ctx, cancel := context.WithCancel(ctx)
		ses := session(t, ctx, s)
		var order []string
		done := make(chan error)
		go func() {
			done <- store.Serve(ctx, s, store.ServeConfig{Kind: "k", Session: ses, Owner: "me", Slots: func(busy int) int { return 1 - busy }},
				func(ctx context.Context, task *store.Task) error {
					order = append(order, task.Request.ID)
					return task.Done(ctx, &pipeline.Wake{})
				})
		}()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"1", "3", "0", "2"}, order); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
		r, err := s.KV().Range(ctx, kv.Query{Prefix: store.InboxPrefix("t", "p")})
		if err != nil || len(r.KVs) != 4 {
			t.Errorf("%d outcomes in the inbox, %v, want 4", len(r.KVs), err)
		}
		for _, prefix := range []string{"/request/", "/claim/", "/signal/"} {
			r, err := s.KV().Range(ctx, kv.Query{Prefix: prefix})
			if err != nil || len(r.KVs) != 0 {
				t.Errorf("%d keys are left below %s (%v)", len(r.KVs), prefix, err)
			}
		}
		cancel()
		<-done
	})
}

// Requests about the same are served one after the other, by whichever worker; others overtake them.
func TestServeBySubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		ctx, cancel := context.WithCancel(ctx)
		for _, r := range []store.Request{
			{ID: "a1", Subjects: []string{"a"}},
			{ID: "ab", Subjects: []string{"a", "b"}},
			{ID: "b1", Subjects: []string{"b"}},
			{ID: "c1", Subjects: []string{"c"}},
			{ID: "none"},
		} {
			r.Kind = "k"
			put(t, ctx, s, r)
		}
		var mu sync.Mutex
		var ended []string
		done := make(chan error, 2)
		for _, owner := range []string{"one", "two"} {
			ses := session(t, ctx, s)
			go func() {
				done <- store.Serve(ctx, s, store.ServeConfig{Kind: "k", Session: ses, Owner: owner, Slots: func(busy int) int { return 4 - busy }},
					func(ctx context.Context, task *store.Task) error {
						if len(task.Request.Subjects) > 0 && task.Request.Subjects[0] == "a" {
							time.Sleep(5 * time.Second)
						}
						mu.Lock()
						ended = append(ended, task.Request.ID)
						mu.Unlock()
						return task.Done(ctx)
					})
			}()
		}
		time.Sleep(time.Minute)
		mu.Lock()
		slices.Sort(ended[:min(2, len(ended))])
		if d := cmp.Diff([]string{"c1", "none", "a1", "ab", "b1"}, ended); d != "" {
			t.Errorf("order of ends (-want +got):\n%s", d)
		}
		mu.Unlock()
		cancel()
		<-done
		<-done
	})
}

// A question is answered when what was asked for before it is done, not before, and not after what came later.
func TestServeAfterAnotherKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ses := session(t, ctx, s)
		put(t, ctx, s, store.Request{Kind: "write", ID: "before"})
		put(t, ctx, s, store.Request{Kind: "ask", ID: "question"})
		put(t, ctx, s, store.Request{Kind: "write", ID: "later"})
		var order []string
		go func() {
			_ = store.Serve(ctx, s, store.ServeConfig{Kind: "write", Session: ses, Owner: "a"}, func(ctx context.Context, task *store.Task) error {
				if task.Request.ID == "later" {
					<-ctx.Done()
					return ctx.Err()
				}
				time.Sleep(5 * time.Second)
				order = append(order, task.Request.ID)
				return task.Done(ctx)
			})
		}()
		go func() {
			_ = store.Serve(ctx, s, store.ServeConfig{Kind: "ask", Session: ses, Owner: "a"}, func(ctx context.Context, task *store.Task) error {
				if err := task.After(ctx, "write"); err != nil {
					return err
				}
				order = append(order, task.Request.ID)
				return task.Done(ctx)
			})
		}()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"before", "question"}, order); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
	})
}

// A worker that vanishes loses its claim; a Once request is then handed out as lost, never run again.
func TestServeOnceAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		put(t, ctx, s, store.Request{Kind: "k", ID: "1", Tenant: "t", Pipeline: "p"})
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		crash, stop := context.WithCancel(ctx)
		first := session(t, crash, s)
		began := make(chan struct{})
		go func() {
			_ = store.Serve(ctx, s, store.ServeConfig{Kind: "k", Session: first, Owner: "a", Once: true},
				func(ctx context.Context, task *store.Task) error { close(began); <-ctx.Done(); return ctx.Err() })
		}()
		<-began
		stop() // no keepalive any more
		var lost []bool
		ses := session(t, ctx, s)
		go func() {
			_ = store.Serve(ctx, s, store.ServeConfig{Kind: "k", Session: ses, Owner: "b", Once: true},
				func(ctx context.Context, task *store.Task) error {
					lost = append(lost, task.Lost)
					return task.Done(ctx)
				})
		}()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if d := cmp.Diff([]bool{true}, lost); d != "" {
			t.Errorf("the request was handed out as lost (-want +got):\n%s", d)
		}
	})
}

func TestServeCancelAndRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ses := session(t, ctx, s)
		put(t, ctx, s, store.Request{Kind: "k", ID: "cancelled"})
		put(t, ctx, s, store.Request{Kind: "k", ID: "fails"})
		var cause error
		tries := 0
		go func() {
			_ = store.Serve(ctx, s, store.ServeConfig{Kind: "k", Session: ses, Owner: "a"},
				func(ctx context.Context, task *store.Task) error {
					if task.Request.ID == "fails" {
						if tries++; tries < 3 {
							return errors.New("not yet")
						}
						return task.Done(ctx)
					}
					<-ctx.Done()
					cause = context.Cause(ctx)
					return task.Done(ctx)
				})
		}()
		time.Sleep(time.Second)
		if _, err := s.Write(ctx, store.Fence{}, store.SignalOp("k", "cancelled", store.SignalCancel, "")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !errors.Is(cause, store.ErrCancelled) {
			t.Errorf("the handler's context ended with %v, want ErrCancelled", cause)
		}
		if tries != 3 {
			t.Errorf("%d tries, want 3", tries)
		}
	})
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := open(t)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ses := session(t, ctx, s)
		go func() {
			_ = store.Serve(ctx, s, store.ServeConfig{Kind: "sum", Session: ses, Owner: "a"},
				func(ctx context.Context, task *store.Task) error {
					var in []int
					if err := task.Decode(ctx, &in); err != nil {
						return err
					}
					if len(in) == 0 {
						return task.Reply(ctx, nil, "nothing to add")
					}
					sum := 0
					for _, n := range in {
						sum += n
					}
					return task.Reply(ctx, sum, "")
				})
		}()
		var sum int
		if err := s.Call(ctx, "sum", 0, []int{1, 2, 3}, &sum); err != nil || sum != 6 {
			t.Errorf("got %d, %v, want 6", sum, err)
		}
		if err := s.Call(ctx, "sum", 0, []int{}, &sum); err == nil || err.Error() != "nothing to add" {
			t.Errorf("got error %v, want the answerer's words", err)
		}
		cancelled, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if err := s.Call(cancelled, "nobody", 0, 1, &sum); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want the deadline", err)
		}
		for _, prefix := range []string{"/request/", "/reply/"} {
			r, err := s.KV().Range(ctx, kv.Query{Prefix: prefix})
			if err != nil || len(r.KVs) != 0 {
				t.Errorf("%d keys are left below %s (%v)", len(r.KVs), prefix, err)
			}
		}
	})
}
