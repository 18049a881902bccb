package store

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// From format 2 on, the order of queues and of their items is not one list in one record, which would grow with
// the pipeline: each queue and each item has a number, and those numbers grow from front to back. What comes, goes
// or moves writes its own record only.

// queueRecord is a queue without its items.
type queueRecord struct {
	Queue *pipeline.Queue `json:"queue"`
	Order int64           `json:"order,omitempty"`
}

// place is where an item stands: in which queue (0: in none), and its number there.
type place struct {
	Queue int64 `json:"queue,omitempty"`
	Order int64 `json:"order,omitempty"`
}

// keptQueue is a queue as it was written last.
type keptQueue struct {
	id, order int64
	bare      *pipeline.Queue
	items     []pipeline.ItemID
}

// bare is a copy of a queue without its items.
func bare(q *pipeline.Queue) *pipeline.Queue {
	return &pipeline.Queue{Name: q.Name, Branch: q.Branch, Projects: slices.Clone(q.Projects), Dynamic: q.Dynamic, Window: q.Window}
}

// places remembers what was written of the order.
type places struct {
	last   int64 // the greatest id of a queue
	queues map[*pipeline.Queue]*keptQueue
	items  map[pipeline.ItemID]place
}

func newPlaces() places {
	return places{queues: map[*pipeline.Queue]*keptQueue{}, items: map[pipeline.ItemID]place{}}
}

// arrange brings the numbers up to date. It returns the writes of queues, and the items whose records must be
// written because they stand elsewhere now.
func (p *places) arrange(prefix string, queues []*pipeline.Queue) (ops []kv.Op, moved []pipeline.ItemID) {
	had, kept := make([]int64, len(queues)), make([]*keptQueue, len(queues))
	for i, q := range queues {
		if kept[i] = p.queues[q]; kept[i] == nil {
			p.last++
			kept[i] = &keptQueue{id: p.last, order: unplaced}
			p.queues[q] = kept[i]
		}
		had[i] = kept[i].order
	}
	for i, order := range ordered(had) {
		q, k := queues[i], kept[i]
		if !slices.Equal(k.items, q.Items) {
			moved = append(moved, p.left(k.id, k.items, q.Items)...)
			moved = append(moved, p.line(k.id, q.Items)...)
			k.items = slices.Clone(q.Items)
		}
		if k.order != order || !alike(k.bare, q) {
			k.order, k.bare = order, bare(q)
			ops = append(ops, kv.Put(queueKey(prefix, k.id), encode(queueRecord{k.bare, order})))
		}
	}
	if len(p.queues) > len(queues) {
		there := map[*pipeline.Queue]bool{}
		for _, q := range queues {
			there[q] = true
		}
		for q, k := range p.queues {
			if !there[q] {
				delete(p.queues, q)
				ops = append(ops, kv.Delete(queueKey(prefix, k.id)))
				moved = append(moved, p.left(k.id, k.items, nil)...)
			}
		}
	}
	return ops, moved
}

// left takes their places from the items that a queue had and has not any more, and tells which those are.
func (p *places) left(queue int64, had, has []pipeline.ItemID) (gone []pipeline.ItemID) {
	there := make(map[pipeline.ItemID]bool, len(has))
	for _, id := range has {
		there[id] = true
	}
	for _, id := range had {
		if !there[id] && p.items[id].Queue == queue {
			delete(p.items, id)
			gone = append(gone, id)
		}
	}
	return gone
}

// line gives the items of one queue their places, and tells which have new ones.
func (p *places) line(queue int64, items []pipeline.ItemID) (moved []pipeline.ItemID) {
	had := make([]int64, len(items))
	for i, id := range items {
		if had[i] = unplaced; p.items[id].Queue == queue {
			had[i] = p.items[id].Order
		}
	}
	for i, order := range ordered(had) {
		if order != had[i] {
			p.items[items[i]] = place{queue, order}
			moved = append(moved, items[i])
		}
	}
	return moved
}

// alike tells whether two queues are the same but for their items.
func alike(a, b *pipeline.Queue) bool {
	return a.Name == b.Name && a.Branch == b.Branch && a.Dynamic == b.Dynamic && a.Window == b.Window && slices.Equal(a.Projects, b.Projects)
}

const (
	// unplaced is the number of what has none yet.
	unplaced = math.MinInt64
	// spacing leaves room between two numbers for what comes in between.
	spacing = 1 << 32
)

// ordered gives growing numbers to a sequence of things that had others, and changes as few as it can.
func ordered(had []int64) []int64 {
	if settled(had) {
		return had
	}
	now := slices.Clone(had)
	keep := growing(had)
	for i := 0; i < len(now); i++ {
		if keep[i] {
			continue
		}
		first := i
		for i+1 < len(now) && !keep[i+1] {
			i++
		}
		n := int64(i - first + 1)
		from, step := int64(0), int64(spacing) // what a sequence begins with
		switch behind, ahead := i+1 < len(now), first > 0; {
		case behind && ahead:
			from = now[first-1]
			step = (now[i+1] - from) / (n + 1)
		case behind:
			from = now[i+1] - (n+1)*spacing
		case ahead:
			from = now[first-1]
		}
		if step == 0 || from < -math.MaxInt64/2 || from > math.MaxInt64/2 {
			return ordered(slices.Repeat([]int64{unplaced}, len(had)))
		}
		for j := range n {
			now[first+int(j)] = from + (j+1)*step
		}
	}
	return now
}

// settled tells whether all have numbers, and those grow.
func settled(had []int64) bool {
	for i, n := range had {
		if n == unplaced || i > 0 && n <= had[i-1] {
			return false
		}
	}
	return true
}

// growing tells which of the numbers belong to a longest sequence that grows.
func growing(had []int64) []bool {
	keep := make([]bool, len(had))
	var ends []int // by length less one: where the sequence with the least end ends
	before := make([]int, len(had))
	for i, n := range had {
		if n == unplaced {
			continue
		}
		at, _ := slices.BinarySearchFunc(ends, n, func(e int, n int64) int { return cmp.Compare(had[e], n) })
		if before[i] = -1; at > 0 {
			before[i] = ends[at-1]
		}
		if at == len(ends) {
			ends = append(ends, i)
		} else {
			ends[at] = i
		}
	}
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = before[i] {
			keep[i] = true
		}
	}
	return keep
}

// restored puts the queues of a state that was read back into their order, and the items into theirs.
func restored(st *pipeline.State, queues map[int64]queueRecord, items map[pipeline.ItemID]place) places {
	p := newPlaces()
	for _, id := range slices.SortedFunc(maps.Keys(items), func(a, b pipeline.ItemID) int {
		return cmp.Or(cmp.Compare(items[a].Order, items[b].Order), cmp.Compare(a, b))
	}) {
		if q := queues[items[id].Queue].Queue; q != nil {
			q.Items = append(q.Items, id)
			p.items[id] = items[id]
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(queues), func(a, b int64) int {
		return cmp.Or(cmp.Compare(queues[a].Order, queues[b].Order), cmp.Compare(a, b))
	}) {
		q := queues[id].Queue
		st.Queues = append(st.Queues, q)
		p.queues[q] = &keptQueue{id: id, order: queues[id].Order, bare: bare(q), items: slices.Clone(q.Items)}
		p.last = max(p.last, id)
	}
	return p
}
