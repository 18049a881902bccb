package store_test

import (
	"fmt"
	"testing"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// BenchmarkCommit: news about one item of a pipeline is written, in one long queue and in a queue for each item; and
// the pipeline is read by its next owner.
func BenchmarkCommit(b *testing.B) {
	for _, items := range []int{100, 10_000} {
		for _, shape := range []string{"one-queue", "queue-each"} {
			name := fmt.Sprintf("%s/items=%d", shape, items)
			b.Run(name, func(b *testing.B) {
				w, z := longPipeline(b, items, shape == "one-queue")
				z.written("")
				id := w.p.State.Queues[0].Items[0]
				for n := 0; b.Loop(); n++ {
					w.p.State.Items[id].Moved = n + 1
					w.commit(id)
				}
				_, bytes := z.written("")
				b.ReportMetric(float64(bytes), "written-B/op")
			})
			b.Run("open/"+name, func(b *testing.B) {
				w, _ := longPipeline(b, items, shape == "one-queue")
				for b.Loop() {
					w.open()
				}
			})
		}
	}
}

// BenchmarkFollow: a reader sees news about one item of a pipeline, as one that reads it whole, and as one that hears
// what changed.
func BenchmarkFollow(b *testing.B) {
	for _, items := range []int{100, 10_000} {
		w, _ := longPipeline(b, items, true)
		id := w.p.State.Queues[0].Items[0]
		news := func(b *testing.B) kv.Change {
			w.p.State.Items[id].Moved++
			w.commit(id)
			e, _, err := kv.Get(w.ctx, w.s.KV(), store.PipelinePrefix(w.p.Tenant, w.p.Name)+"item/"+string(id))
			if err != nil {
				b.Fatal(err)
			}
			return kv.Change{KV: e}
		}
		b.Run(fmt.Sprintf("whole/items=%d", items), func(b *testing.B) {
			for b.Loop() {
				news(b)
				if _, _, err := w.s.LoadPipeline(w.ctx, w.p.Tenant, w.p.Name); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("changes/items=%d", items), func(b *testing.B) {
			m := w.s.Mirror(w.p.Tenant, w.p.Name)
			if _, err := m.State(w.ctx); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				m.Hear(news(b))
				if _, err := m.State(w.ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// longPipeline is a pipeline with many items, each with a plan of some operations, as it is written.
func longPipeline(b *testing.B, items int, oneQueue bool) (*writer, *sizes) {
	m := memkv.New(memkv.Config{Retain: 100})
	b.Cleanup(func() { _ = m.Close() })
	z := &sizes{Store: kv.Store(m), puts: map[string]int{}}
	w := &writer{t: b, ctx: b.Context()}
	var err error
	if w.s, err = store.Open(w.ctx, store.Config{KV: z}); err != nil {
		b.Fatal(err)
	}
	w.open()
	var q *pipeline.Queue
	var all []pipeline.ItemID
	for range items {
		if q == nil || !oneQueue {
			q = &pipeline.Queue{Name: "q", Projects: []string{"forge.example.com/project"}, Dynamic: true}
			w.p.State.Queues = append(w.p.State.Queues, q)
		}
		all = append(all, w.enqueue(q, len(q.Items), 6))
	}
	w.commit(all...)
	return w, z
}
