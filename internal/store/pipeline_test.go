package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// sizes notes what the transactions wrote, by key.
type sizes struct {
	kv.Store
	puts    map[string]int
	deletes int
}

func (z *sizes) Commit(ctx context.Context, t kv.Txn) (bool, int64, error) {
	for _, o := range t.Then {
		if o.Kind == kv.OpPut {
			z.puts[o.Key] = len(o.Value)
		} else {
			z.deletes++
		}
	}
	return z.Store.Commit(ctx, t)
}

// written gives what was written since it was asked last: how many records below a prefix, and how many bytes.
func (z *sizes) written(prefix string) (records, bytes int) {
	for k, n := range z.puts {
		if strings.HasPrefix(k, prefix) {
			records++
			bytes += n
		}
	}
	clear(z.puts)
	return records, bytes
}

var likePipelines = cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(pipeline.State{}, pipeline.Item{}, pipeline.Queue{})}

// writer has a pipeline that one owner after the other writes.
type writer struct {
	t   interface{ Fatalf(string, ...any) }
	ctx context.Context
	s   *store.Store
	f   store.Fence
	p   *store.Pipeline
	n   int
}

func (w *writer) open() {
	p, err := w.s.OpenPipeline(w.ctx, w.f, "t", "gate")
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.p = p
}

// enqueue puts a new item, with a plan of so many operations, at a place of a queue.
func (w *writer) enqueue(q *pipeline.Queue, at, operations int) pipeline.ItemID {
	w.n++
	id := pipeline.ItemID(fmt.Sprintf("item-%d", w.n))
	c := &change.Change{Kind: change.KindChange, Number: fmt.Sprint(w.n), Patchset: "1"}
	bs := &pipeline.Buildset{ID: pipeline.BuildsetID(id), Graph: &job.Graph{Jobs: []*job.Job{{ID: "a", Name: "a"}}}, Jobs: map[job.ID]*pipeline.JobState{}}
	for i := range operations {
		bs.Operations = append(bs.Operations, &pipeline.MergeOp{Branch: fmt.Sprint("branch", i)})
	}
	w.p.State.Changes[c.Key()] = c
	w.p.State.Items[id] = &pipeline.Item{ID: id, Live: true, Changes: []change.Key{c.Key()}, Buildset: bs}
	q.Items = slices.Insert(q.Items, at, id)
	return id
}

func (w *writer) commit(touched ...pipeline.ItemID) {
	if err := w.p.Commit(w.ctx, touched, nil, nil, nil); err != nil {
		w.t.Fatalf("commit: %v", err)
	}
}

// same says that a reader sees what the owner has in memory.
func (w *writer) same() {
	got, _, err := w.s.LoadPipeline(w.ctx, "t", "gate")
	if err != nil {
		w.t.Fatalf("load: %v", err)
	}
	if d := cmp.Diff(w.p.State, got, likePipelines); d != "" {
		w.t.Fatalf("read back otherwise (-want +got):\n%s", d)
	}
}

// Queues and items come, move and go, owners change, the format is raised: what is read is what was there.
func TestPipelineRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := memkv.New(memkv.Config{})
		defer m.Close()
		w := &writer{t: t, ctx: context.Background()}
		openStore := func(format int) {
			var err error
			if w.s, err = store.Open(w.ctx, store.Config{KV: m, Format: format}); err != nil {
				t.Fatalf("open: %v", err)
			}
		}
		openStore(1)
		w.open()
		st := func() *pipeline.State { return w.p.State }
		queue := func() *pipeline.Queue {
			if len(st().Queues) == 0 {
				return nil
			}
			return rapid.SampledFrom(st().Queues).Draw(t, "queue")
		}
		var touched []pipeline.ItemID
		item := func() (pipeline.ItemID, *pipeline.Queue) {
			q := queue()
			if q == nil || len(q.Items) == 0 {
				return "", nil
			}
			return rapid.SampledFrom(q.Items).Draw(t, "item"), q
		}
		takeOut := func(q *pipeline.Queue, id pipeline.ItemID) {
			q.Items = slices.DeleteFunc(slices.Clone(q.Items), func(x pipeline.ItemID) bool { return x == id })
		}
		t.Repeat(map[string]func(*rapid.T){
			"enqueue": func(t *rapid.T) {
				if q := queue(); q != nil {
					at := rapid.IntRange(0, len(q.Items)).Draw(t, "at")
					touched = append(touched, w.enqueue(q, at, rapid.IntRange(0, 6).Draw(t, "operations")))
				}
			},
			"dequeue": func(*rapid.T) {
				if id, q := item(); q != nil {
					takeOut(q, id)
					delete(st().Changes, st().Items[id].Changes[0])
					delete(st().Items, id)
					touched = append(touched, id)
				}
			},
			"move": func(t *rapid.T) { // nobody says that the item was touched
				if id, q := item(); q != nil {
					takeOut(q, id)
					to := queue()
					to.Items = slices.Insert(slices.Clone(to.Items), rapid.IntRange(0, len(to.Items)).Draw(t, "at"), id)
				}
			},
			"stand in no queue": func(*rapid.T) {
				if id, q := item(); q != nil {
					takeOut(q, id)
				}
			},
			"queue goes": func(*rapid.T) {
				gone := queue()
				w.p.State.Queues = slices.DeleteFunc(slices.Clone(st().Queues), func(q *pipeline.Queue) bool { return q == gone })
			},
			"change": func(t *rapid.T) {
				if id, q := item(); q != nil {
					bs := st().Items[id].Buildset
					bs.Jobs = map[job.ID]*pipeline.JobState{"a": {Tries: rapid.IntRange(0, 9).Draw(t, "tries")}}
					if rapid.Bool().Draw(t, "merged") {
						bs.Merge = &pipeline.MergeResult{RepoState: fmt.Sprint(w.n), Commits: make([]pipeline.Commit, rapid.IntRange(0, 5).Draw(t, "commits"))}
					}
					touched = append(touched, id)
				}
			},
			"queue": func(t *rapid.T) {
				q := &pipeline.Queue{Name: fmt.Sprint("q", len(st().Queues)), Projects: []string{"a", "b"}, Window: 3}
				w.p.State.Queues = slices.Insert(slices.Clone(st().Queues), rapid.IntRange(0, len(st().Queues)).Draw(t, "at"), q)
			},
			"window": func(t *rapid.T) {
				if q := queue(); q != nil {
					q.Window = rapid.IntRange(0, 20).Draw(t, "window")
				}
			},
			"shuffle": func(t *rapid.T) {
				st().Queues = rapid.Permutation(st().Queues).Draw(t, "order")
			},
			"empty queue goes": func(*rapid.T) {
				st().Queues = slices.DeleteFunc(slices.Clone(st().Queues), func(q *pipeline.Queue) bool { return len(q.Items) == 0 })
			},
			"reconfigure": func(*rapid.T) { // all queues are made anew
				for i, q := range st().Queues {
					st().Queues[i] = &pipeline.Queue{Name: q.Name, Projects: q.Projects, Window: q.Window, Items: q.Items}
				}
			},
			"commit": func(*rapid.T) { w.commit(touched...); touched = nil; w.same() },
			"another owner": func(*rapid.T) {
				w.commit(touched...)
				touched = nil
				before := w.p.State
				w.open()
				if d := cmp.Diff(before, w.p.State, likePipelines); d != "" {
					t.Fatalf("the next owner reads otherwise (-want +got):\n%s", d)
				}
			},
			"format 2": func(*rapid.T) {
				openStore(2)
				if err := w.s.Join(w.ctx, noLease{}, store.Member{ID: "me", Role: "scheduler"}); err != nil {
					t.Fatalf("join: %v", err)
				}
				if _, err := w.s.Raise(w.ctx); err != nil {
					t.Fatalf("raise: %v", err)
				}
			},
		})
		w.commit(touched...)
		w.same()
	})
}

type noLease struct{}

func (noLease) Lease() kv.LeaseID { return 0 }

// A pipeline of format 1 with a long queue is written anew by its first owner in format 2, whatever it weighs.
func TestLongPipelineOfFormerFormat(t *testing.T) {
	const items = 1500
	m := memkv.New(memkv.Config{})
	defer m.Close()
	w := &writer{t: t, ctx: t.Context()}
	var err error
	if w.s, err = store.Open(w.ctx, store.Config{KV: m, Format: 1}); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.p.State.Queues = []*pipeline.Queue{{Name: "integrated"}, {Name: "empty"}}
	for range items {
		w.enqueue(w.p.State.Queues[0], len(w.p.State.Queues[0].Items), 5)
	}
	w.commit(slices.Collect(maps.Keys(w.p.State.Items))...)
	w.same()

	z := &sizes{Store: m, puts: map[string]int{}}
	if w.s, err = store.Open(w.ctx, store.Config{KV: z}); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Join(w.ctx, noLease{}, store.Member{ID: "me", Role: "scheduler"}); err != nil {
		t.Fatal(err)
	}
	if raised, err := w.s.Raise(w.ctx); err != nil || !raised {
		t.Fatal(raised, err)
	}
	before := w.p.State
	w.open()
	if d := cmp.Diff(before, w.p.State, likePipelines); d != "" {
		t.Fatalf("read otherwise (-want +got):\n%s", d)
	}
	w.commit(w.p.State.Queues[0].Items[0])
	w.same()
	if n, _ := z.written(store.PipelinePrefix("t", "gate") + "item/"); n != items {
		t.Errorf("%d items were written anew, want all %d", n, items)
	}
	w.open()
	w.commit(w.p.State.Queues[0].Items[0])
	if n, _ := z.written(store.PipelinePrefix("t", "gate")); n != 2 {
		t.Errorf("news about an item wrote %d records, want its own and that of the steps", n)
	}
}

// A write costs by what changed, however long the pipeline is: in one long queue, and in as many queues as items.
func TestLongPipeline(t *testing.T) {
	const items = 1000
	for _, shape := range []string{"one queue", "a queue each"} {
		t.Run(shape, func(t *testing.T) {
			z := &sizes{Store: memkv.New(memkv.Config{}), puts: map[string]int{}}
			w := &writer{t: t, ctx: t.Context()}
			var err error
			if w.s, err = store.Open(w.ctx, store.Config{KV: z}); err != nil {
				t.Fatal(err)
			}
			w.open()
			var q *pipeline.Queue
			add := func() pipeline.ItemID {
				if q == nil || shape != "one queue" {
					q = &pipeline.Queue{Name: "q", Projects: []string{"forge.example.com/project"}, Dynamic: true}
					w.p.State.Queues = append(w.p.State.Queues, q)
				}
				return w.enqueue(q, len(q.Items), 1)
			}
			for range items {
				add()
			}
			w.commit(slices.Collect(maps.Keys(w.p.State.Items))...)
			w.same()
			z.written("")

			w.commit(add())
			if n, bytes := z.written(""); n > 6 || bytes > 2000 {
				t.Errorf("one more item wrote %d records of %d bytes", n, bytes)
			}
			// The first one goes.
			first := w.p.State.Queues[0].Items[0]
			if shape == "one queue" {
				q.Items = q.Items[1:]
			} else {
				w.p.State.Queues = w.p.State.Queues[1:]
			}
			delete(w.p.State.Changes, w.p.State.Items[first].Changes[0])
			delete(w.p.State.Items, first)
			w.commit(first)
			if n, bytes := z.written(""); n > 2 || bytes > 1000 {
				t.Errorf("one item less wrote %d records of %d bytes", n, bytes)
			}
			// The last one is promoted.
			if shape == "one queue" {
				q.Items = append([]pipeline.ItemID{q.Items[len(q.Items)-1]}, q.Items[:len(q.Items)-1]...)
			} else {
				w.p.State.Queues = append([]*pipeline.Queue{q}, w.p.State.Queues[:len(w.p.State.Queues)-1]...)
			}
			w.commit()
			if n, bytes := z.written(""); n > 2 || bytes > 1000 {
				t.Errorf("a promotion wrote %d records of %d bytes", n, bytes)
			}
			w.same()
			r, err := z.Range(w.ctx, kv.Query{Prefix: store.PipelinePrefix("t", "gate")})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range r.KVs {
				if len(e.Value) > 4096 {
					t.Errorf("%s has %d bytes", e.Key, len(e.Value))
				}
			}
		})
	}
}

// What the builds of a buildset have in common is kept once, and is there when a request is decoded.
func TestBuildsShare(t *testing.T) {
	for format, want := range map[int]int{1: 0, 2: 1} {
		m := memkv.New(memkv.Config{})
		defer m.Close()
		s, err := store.Open(t.Context(), store.Config{KV: m, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		var effects []pipeline.Effect
		var starts []*pipeline.Start
		for i := range 20 {
			e := &pipeline.Start{Buildset: "bs", Build: pipeline.BuildID(fmt.Sprint("build-", i)), Job: &job.Job{Name: fmt.Sprint("job-", i)},
				Merge: &pipeline.MergeResult{RepoState: "state"}}
			for n := range 50 {
				e.Changes = append(e.Changes, &change.Change{Number: fmt.Sprint(n), Message: strings.Repeat("words ", 100)})
				e.Operations = append(e.Operations, &pipeline.MergeOp{Number: fmt.Sprint(n)})
			}
			starts, effects = append(starts, e), append(effects, e)
		}
		ops, _, err := s.EffectOps(t.Context(), "t", "gate", time.Unix(0, 0), effects)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(t.Context(), store.Fence{}, ops...); err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, o := range ops {
			bytes += len(o.Value)
		}
		if format == 2 && bytes > 20_000 {
			t.Errorf("20 requests have %d bytes", bytes)
		}
		blobs, err := m.Range(t.Context(), kv.Query{Prefix: "/blob/"})
		if err != nil || len(blobs.KVs) != want {
			t.Errorf("format %d: %d blobs, %v, want %d", format, len(blobs.KVs), err, want)
		}
		all, err := store.Records[store.Request](s, store.RequestPrefix(store.KindBuild)).List(t.Context())
		if err != nil || len(all) != len(starts) {
			t.Fatal(len(all), err)
		}
		for _, r := range all {
			task, err := s.Take(t.Context(), noLease{}, "me", r)
			if err != nil || task == nil {
				t.Fatal(task, err)
			}
			var got pipeline.Start
			if err := task.Decode(t.Context(), &got); err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(starts, func(e *pipeline.Start) bool { return e.Build == got.Build })
			if d := cmp.Diff(starts[i], &got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("format %d: decoded otherwise (-want +got):\n%s", format, d)
			}
		}
	}
}

// However many hold a semaphore, who does fits a value, and is read back.
func TestManyHolders(t *testing.T) {
	ctx, s := open(t)
	for _, holders := range []int{1, 6000} {
		want := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}}
		for range holders {
			want.Holders["limit"] = append(want.Holders["limit"], pipeline.Holder{Tenant: "tenant", Pipeline: "gate",
				Item: pipeline.ItemID(store.NewID()), Buildset: pipeline.BuildsetID(store.NewID()), Job: "a-job-with-a-name"})
		}
		if _, err := s.Write(ctx, store.Fence{}, store.SemaphoreOp("t", want)); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Semaphores(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d holders: read back otherwise (-want +got):\n%s", holders, d)
		}
	}
}
