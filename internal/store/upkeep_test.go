package store_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

func fresh(t *testing.T) (*store.Store, *memkv.Store) {
	t.Helper()
	m := memkv.New(memkv.Config{})
	t.Cleanup(func() { _ = m.Close() })
	s, err := store.Open(t.Context(), store.Config{KV: m})
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

func write(t *testing.T, s *store.Store, ops ...kv.Op) {
	t.Helper()
	if _, err := s.Write(t.Context(), store.Fence{}, ops...); err != nil {
		t.Fatal(err)
	}
}

// What no record names goes after the time of grace; what is named, also by a blob that is named, stays, and
// so does what was put once more meanwhile.
func TestSweep(t *testing.T) {
	s, _ := fresh(t)
	ctx := t.Context()
	put := func(text string) string {
		t.Helper()
		name, err := s.PutBlob(ctx, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	inner := put("inner")
	outer := put("names " + inner)
	lost, again, large := put("lost"), put("again"), put(strings.Repeat("large ", 1)+string(random(1<<20)))
	write(t, s, kv.Put("/tenant/t", []byte(`{"sources":"`+outer+`"}`)), kv.Put("/reply/old", nil), kv.Put("/signal/build/gone/cancel", nil),
		kv.Put("/signal/build/there/cancel", nil), kv.Put("/request/build/there", []byte(`{}`)))
	now := time.Unix(0, 0)
	w := &store.Sweeper{Store: s, Grace: time.Hour, Now: func() time.Time { return now }}
	sweep := func() store.Swept {
		t.Helper()
		got, err := w.Sweep(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := sweep(); got.Blobs != 5 || got.Removed != 0 {
		t.Errorf("first sweep: %+v", got)
	}
	now = now.Add(2 * time.Hour)
	put("again") // somebody is about to name it
	if got := sweep(); got.Removed != 4 {
		t.Errorf("second sweep: %+v, want 4 removed: two blobs, a reply and a signal", got)
	}
	for name, want := range map[string]bool{inner: true, outer: true, again: true, lost: false, large: false} {
		if _, err := s.Blob(ctx, name); (err == nil) != want {
			t.Errorf("blob %s: %v, want it there: %v", name, err, want)
		}
	}
	if put("lost") != lost {
		t.Error("a blob that was swept has another name")
	}
	if _, err := s.Blob(ctx, lost); err != nil {
		t.Errorf("a blob that was swept and put again: %v", err)
	}
	r, err := s.KV().Range(ctx, kv.Query{Prefix: "/signal/"})
	if err != nil || len(r.KVs) != 1 {
		t.Errorf("signals %v, %v; want that to the request that is there", r.KVs, err)
	}
}

// Layouts that nothing refers to go, with what they were made from; those that a pipeline, an input or another layout
// that stays refers to, stay, and so does one that was recorded once more meanwhile.
func TestLayoutsAreSwept(t *testing.T) {
	s, m := fresh(t)
	ctx := t.Context()
	id := func(c string) string { return strings.Repeat(c, 64) }
	put := func(text string) string {
		t.Helper()
		name, err := s.PutBlob(ctx, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	record := func(id, field, names string) {
		write(t, s, kv.Put(store.LayoutPrefix+"t/"+id, []byte(`{"`+field+`":"`+names+`"}`)))
	}
	kept, lost := put("sources of the present one"), put("sources of an old one")
	record(id("a"), "sources", kept) // the present one
	record(id("b"), "base", id("a")) // an item's
	record(id("c"), "sources", lost) // nobody's
	record(id("d"), "base", id("c")) // nobody's, and the only one to refer to c
	record(id("e"), "sources", kept) // about to be referred to
	record(id("f"), "sources", kept) // in a large input
	large := put(`"` + id("f") + `"`)
	write(t, s, kv.Put("/tenant/t", []byte(`{"layout":"`+id("a")+`"}`)), kv.Put("/inbox/t/gate/1", []byte(`{"body":{"layout":"`+id("b")+`"}}`)),
		kv.Put("/inbox/t/gate/2", []byte(`{"blob":"`+large+`"}`)))
	now := time.Unix(0, 0)
	w := &store.Sweeper{Store: s, Grace: time.Hour, Now: func() time.Time { return now }}
	for range 2 {
		if _, err := w.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Hour)
		record(id("e"), "sources", kept)
	}
	for c, want := range map[string]bool{"a": true, "b": true, "c": false, "d": false, "e": true, "f": true} {
		if _, there, err := kv.Get(ctx, m, store.LayoutPrefix+"t/"+id(c)); there != want || err != nil {
			t.Errorf("layout %s is there: %v, %v; want %v", c, there, err, want)
		}
	}
	if _, err := w.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{kept: true, lost: false} {
		if _, err := s.Blob(ctx, name); (err == nil) != want {
			t.Errorf("sources %s: %v, want them there: %v", name, err, want)
		}
	}
}

// A check tells layouts that nothing refers to, which is nothing wrong, and removes them when no scheduler is
// there; and pipelines whose layout is missing, which is.
func TestLayoutsAreChecked(t *testing.T) {
	s, m := fresh(t)
	ctx := t.Context()
	unused := store.LayoutPrefix + "t/" + strings.Repeat("a", 64)
	write(t, s, kv.Put(unused, []byte(`{}`)))
	lease, err := m.Grant(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, kv.PutLease("/member/scheduler/s", []byte(`{"id":"s","role":"scheduler"}`), lease))
	p, err := s.OpenPipeline(ctx, store.Fence{}, "t", "gate")
	if err != nil {
		t.Fatal(err)
	}
	p.State.Tenant.Layout = strings.Repeat("b", 64)
	p.Configured()
	if err := p.Commit(ctx, nil, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	look := func() (kinds []string) {
		t.Helper()
		all, err := s.Check(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Routine != (f.Kind == "unused-layout") {
				t.Errorf("routine is %v: %+v", f.Routine, f)
			}
			kinds = append(kinds, f.Kind)
		}
		if _, err := s.Repair(ctx, all); err != nil {
			t.Fatal(err)
		}
		return kinds
	}
	both := []string{"unused-layout", "missing-layout"}
	if got := look(); !slices.Equal(got, both) {
		t.Errorf("found %v, want %v", got, both)
	}
	if err := m.Revoke(ctx, lease); err != nil {
		t.Fatal(err)
	}
	if got := look(); !slices.Equal(got, both) {
		t.Errorf("found %v, want %v: a scheduler was there, which may have needed it", got, both)
	}
	if got := look(); !slices.Equal(got, both[1:]) {
		t.Errorf("after the repair: %v", got)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// A dump has everything but what belongs to living processes, and fills an empty store only.
func TestDumpAndRestore(t *testing.T) {
	from, m := fresh(t)
	ctx := t.Context()
	lease, err := m.Grant(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	name, err := from.PutBlob(ctx, random(3<<20))
	if err != nil {
		t.Fatal(err)
	}
	write(t, from, kv.Put("/tenant/t", []byte("x")), kv.PutLease("/member/scheduler/a", []byte("{}"), lease))
	var dump bytes.Buffer
	n, err := from.Dump(ctx, &dump)
	if err != nil {
		t.Fatal(err)
	}
	text := dump.Bytes()
	to, _ := fresh(t)
	if got, err := to.Restore(ctx, bytes.NewReader(text)); err != nil || got != n {
		t.Fatalf("Restore = %d, %v; dumped were %d", got, err, n)
	}
	if b, err := to.Blob(ctx, name); err != nil || !bytes.Equal(b, random(3<<20)) {
		t.Errorf("the blob after a restore: %d bytes, %v", len(b), err)
	}
	if _, found, err := kv.Get(ctx, to.KV(), "/member/scheduler/a"); found || err != nil {
		t.Errorf("a member came with the dump: %v, %v", found, err)
	}
	if _, err := to.Restore(ctx, bytes.NewReader(text)); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("into a store that is not empty: %v", err)
	}
	other, _ := fresh(t)
	if _, err := other.Restore(ctx, strings.NewReader("no dump")); err == nil {
		t.Error("garbage was taken for a dump")
	}
	if _, err := other.Restore(ctx, bytes.NewReader(text[:len(text)/2])); err == nil {
		t.Error("half a dump was taken for one")
	}
}

// What leaked is found with its name, and mended when asked to; what is in order is not touched.
func TestCheckAndRepair(t *testing.T) {
	s, m := fresh(t)
	ctx := t.Context()
	lease, err := m.Grant(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.Check(ctx); err != nil || len(all) != 0 {
		t.Fatalf("an empty store: %v, %v", all, err)
	}
	write(t, s,
		store.SemaphoreOp("t", &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{"fleet": {{Tenant: "t", Pipeline: "gate", Buildset: "b", Job: "deploy"}}}}),
		kv.Put("/request/build/lost", []byte(`{"kind":"build","id":"lost","tenant":"t","pipeline":"gate"}`)),
		kv.PutLease("/claim/owner/tenant%20t", []byte("ghost"), lease),
		kv.Put("/signal/build/nobody/cancel", nil),
		kv.Put("/node/n1", []byte(`{"id":"n1","label":"small","provider":"p","state":"ready","request":"r"}`)),
		kv.Put("/dead/inbox/t/gate/1", []byte("?")),
	)
	for component, ago := range map[string]time.Duration{"down for repair": 24 * time.Hour, "scrapped": 300 * 24 * time.Hour} {
		if err := s.Pause(ctx, "executor", component, &store.Pause{Since: time.Now().Add(-ago)}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, f := range all {
		kinds[f.Kind] = f.Text
	}
	for kind, words := range map[string]string{"leaked-semaphore": "fleet", "orphaned-request": "lost", "orphaned-claim": "ghost", "orphaned-signal": "", "leaked-node": "n1", "set-aside": "", "paused-and-gone": ""} {
		if text, ok := kinds[kind]; !ok || !strings.Contains(text, words) {
			t.Errorf("%s: found %q", kind, text)
		}
	}
	if n, err := s.Repair(ctx, all); err != nil || n != 6 {
		t.Errorf("Repair = %d, %v; want 6", n, err)
	}
	sem, _, err := s.Semaphores(ctx, "t")
	if err != nil || len(sem.Holders) != 0 {
		t.Errorf("semaphores after the repair: %v, %v", sem, err)
	}
	all, err = s.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		// Workers do the rest: they end the request and take the node back.
		if f.Kind != "orphaned-request" && f.Kind != "set-aside" && !strings.Contains(f.Text, "down for repair") {
			t.Errorf("after the repair: %+v", f)
		}
	}
}

// The format goes up when the last process that only knew the older one is gone; after that, it cannot join.
func TestRollingUpgrade(t *testing.T) {
	m := memkv.New(memkv.Config{})
	t.Cleanup(func() { _ = m.Close() })
	ctx := t.Context()
	open := func(format int) *store.Store {
		t.Helper()
		s, err := store.Open(ctx, store.Config{KV: m, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	join := func(s *store.Store, id string) *kv.Session {
		t.Helper()
		ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: m, TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Join(ctx, ses, store.Member{ID: id, Role: "scheduler"}); err != nil {
			t.Fatal(err)
		}
		return ses
	}
	older := open(1)
	last := join(older, "old")
	newer := open(2)
	join(newer, "new")
	if raised, err := newer.Raise(ctx); raised || err != nil {
		t.Fatalf("Raise while an older process is there = %v, %v", raised, err)
	}
	if f, err := newer.Writes(ctx); f != 1 || err != nil {
		t.Errorf("the format is %d, %v; want 1", f, err)
	}
	if err := m.Revoke(ctx, last.Lease()); err != nil {
		t.Fatal(err)
	}
	if raised, err := newer.Raise(ctx); !raised || err != nil {
		t.Fatalf("Raise when the last older process is gone = %v, %v", raised, err)
	}
	if f, err := newer.Writes(ctx); f != 2 || err != nil {
		t.Errorf("the format is %d, %v; want 2", f, err)
	}
	if err := older.Join(ctx, last, store.Member{ID: "old", Role: "scheduler"}); !errors.Is(err, store.ErrFormat) {
		t.Errorf("an older process joins: %v", err)
	}
	if _, err := store.Open(ctx, store.Config{KV: m, Format: 1}); !errors.Is(err, store.ErrFormat) {
		t.Errorf("an older process opens the store: %v", err)
	}
}
