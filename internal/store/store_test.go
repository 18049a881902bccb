package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// The compressor makes its channels when it is first used: here, and not in the bubble of some test.
func TestMain(m *testing.M) {
	mem := memkv.New(memkv.Config{})
	s, err := store.Open(context.Background(), store.Config{KV: mem})
	if err == nil {
		_, err = s.PutBlob(context.Background(), []byte("any"))
	}
	if err := errors.Join(err, mem.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func open(t *testing.T) (context.Context, *store.Store) {
	t.Helper()
	m := memkv.New(memkv.Config{})
	t.Cleanup(func() { _ = m.Close() })
	s, err := store.Open(t.Context(), store.Config{KV: m})
	if err != nil {
		t.Fatal(err)
	}
	return t.Context(), s
}

func session(t *testing.T, ctx context.Context, s *store.Store) *kv.Session {
	t.Helper()
	ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: s.KV(), TTL: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = ses.Run(ctx) }()
	return ses
}

func TestOpenRefusesNewerData(t *testing.T) {
	ctx, s := open(t)
	if _, err := s.Write(ctx, store.Fence{}, kv.Put("/meta/format", []byte("99"))); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(ctx, store.Config{KV: s.KV()})
	if !errors.Is(err, store.ErrFormat) {
		t.Fatalf("got %v, want ErrFormat", err)
	}
}

func TestBlobs(t *testing.T) {
	ctx, s := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 3<<20) // random, so that compression does not save it from being split
	for i := range big {
		big[i] = byte(r.Uint32())
	}
	for _, data := range [][]byte{{}, []byte("hello"), bytes.Repeat([]byte("x"), 2<<20), big} {
		name, err := s.PutBlob(ctx, data)
		if err != nil {
			t.Fatalf("put %d bytes: %v", len(data), err)
		}
		again, err := s.PutBlob(ctx, data)
		if err != nil || again != name {
			t.Errorf("put again: %q, %v, want the name %q", again, err, name)
		}
		got, err := s.Blob(ctx, name)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("read back %d bytes, %v, want %d", len(got), err, len(data))
		}
	}
	if _, err := s.Blob(ctx, "nothing"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown blob: %v, want ErrNotFound", err)
	}
}

func state(n int) *pipeline.State {
	st := &pipeline.State{
		Settings: pipeline.Settings{Name: "gate", Manager: pipeline.Dependent},
		Tenant:   pipeline.Tenant{Name: "t"},
		Queues:   []*pipeline.Queue{{Name: "q", Window: 20}},
		Items:    map[pipeline.ItemID]*pipeline.Item{},
		Changes:  map[change.Key]*change.Change{},
	}
	graph := &job.Graph{Jobs: []*job.Job{{ID: "a", Name: "a", Voting: true}}}
	for i := range n {
		id := pipeline.ItemID(fmt.Sprintf("item-%05d", i))
		c := &change.Change{Kind: change.KindChange, Number: fmt.Sprint(i), Patchset: "1", Files: []string{}}
		st.Changes[c.Key()] = c
		st.Queues[0].Items = append(st.Queues[0].Items, id)
		st.Items[id] = &pipeline.Item{ID: id, Live: true, Changes: []change.Key{c.Key()},
			Buildset: &pipeline.Buildset{ID: pipeline.BuildsetID(id), Graph: graph}}
	}
	return st
}

// A pipeline is read back as it was written, whether it fits one transaction or not, and shares the graph
// of its items.
func TestPipelineRoundTrip(t *testing.T) {
	for _, n := range []int{3, 1200} {
		ctx, s := open(t)
		ses := session(t, ctx, s)
		f, ok, err := s.Own(ctx, ses, "w", "me")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		p, err := s.OpenPipeline(ctx, f, "t", "gate")
		if err != nil {
			t.Fatal(err)
		}
		want := state(n)
		p.State = want
		var ids []pipeline.ItemID
		for id := range want.Items {
			ids = append(ids, id)
		}
		if err := p.Commit(ctx, ids, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.LoadPipeline(ctx, "t", "gate")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, likePipelines); d != "" {
			t.Fatalf("%d items: read back otherwise (-want +got):\n%s", n, d)
		}
		first := got.Items["item-00000"].Buildset.Graph
		if got.Items["item-00001"].Buildset.Graph != first {
			t.Error("equal graphs are not shared")
		}
	}
}

func TestFormerOwnerWritesNothing(t *testing.T) {
	ctx, s := open(t)
	ses := session(t, ctx, s)
	f, _, err := s.Own(ctx, ses, "w", "old")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.OpenPipeline(ctx, f, "t", "gate")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Disown(ctx, f); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Own(ctx, ses, "w", "new"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	for _, n := range []int{3, 1200} {
		p.State = state(n)
		if err := p.Commit(ctx, nil, nil, nil, nil); !errors.Is(err, store.ErrFenced) {
			t.Errorf("%d items: the former owner's commit gave %v, want ErrFenced", n, err)
		}
	}
	got, _, err := s.LoadPipeline(ctx, "t", "gate")
	if err != nil || len(got.Items) != 0 || len(got.Queues) != 0 {
		t.Errorf("the former owner changed something: %d items, %v", len(got.Items), err)
	}
}

func TestEventsKeepTheirOrder(t *testing.T) {
	ctx, s := open(t)
	for i := range 20 {
		if err := s.AppendEvent(ctx, []string{"one", "two"}, event.Event{ID: fmt.Sprint(i), Comment: string(bytes.Repeat([]byte("x"), i*20<<10))}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.KV().Range(ctx, kv.Query{Prefix: store.EventPrefix("one")})
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]string{}
	for _, e := range r.KVs {
		ev, err := s.Event(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		got[e.Create] = ev.ID
	}
	if len(got) != 20 {
		t.Fatalf("%d events, want 20", len(got))
	}
}

func TestChosenMovesOnlyTheShareOfWhoLeaves(t *testing.T) {
	members := []string{"a", "b", "c"}
	moved, counts := 0, map[string]int{}
	for i := range 3000 {
		w := fmt.Sprint("pipeline t p", i)
		was := store.Chosen(w, members)
		counts[was]++
		if now := store.Chosen(w, []string{"a", "b"}); now != was {
			moved++
			if was != "c" {
				t.Fatalf("%s moved from %s, who stays", w, was)
			}
		}
	}
	if moved != counts["c"] {
		t.Errorf("%d moved, c had %d", moved, counts["c"])
	}
	for m, n := range counts {
		if n < 800 || n > 1200 {
			t.Errorf("%s has %d of 3000", m, n)
		}
	}
}
