package simulate

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/store"
)

// follower is a reader, as a web is: it hears of what changed, now and then so late that the store has forgotten it.
type follower struct {
	rev     int64
	mirrors map[string]*store.Mirror
}

// follow lets the follower hear of everything up to now.
func (w *world) follow() {
	r, err := w.kv.Range(w.ctx, kv.Query{Key: "/meta/format", KeysOnly: true})
	if err != nil {
		w.fail("read the revision: %v", err)
		return
	}
	f := &w.reader
	if f.mirrors != nil && f.rev < r.Rev {
		enough := errors.New("enough")
		err := w.kv.Watch(w.ctx, "/", f.rev+1, func(b kv.Batch) error {
			for _, c := range b.Changes {
				if pipe, ok := written(c.Key); ok {
					f.mirrors[pipe].Hear(c)
				}
			}
			if f.rev = b.Rev; b.Rev >= r.Rev {
				return enough
			}
			return nil
		})
		switch {
		case errors.Is(err, kv.ErrCompacted):
			w.faults["forgotten"]++
			f.mirrors = nil
		case !errors.Is(err, enough):
			w.fail("watch: %v", err)
			return
		}
	}
	if f.mirrors == nil {
		f.rev, f.mirrors = r.Rev, map[string]*store.Mirror{}
		for _, pipe := range pipes {
			f.mirrors[pipe] = w.outside.Mirror(tenant, pipe)
		}
	}
}

// compare holds what the follower sees against what is written.
func (w *world) compare() {
	w.follow()
	for _, pipe := range pipes {
		is, _, err := w.outside.LoadPipeline(w.ctx, tenant, pipe)
		if err != nil {
			w.fail("read %s: %v", pipe, err)
			return
		}
		seen, err := w.reader.mirrors[pipe].State(w.ctx)
		if err != nil {
			w.fail("follow %s: %v", pipe, err)
			return
		}
		a, aerr := json.Marshal(is)
		b, berr := json.Marshal(seen)
		if aerr != nil || berr != nil || !bytes.Equal(a, b) {
			w.fail("the follower sees %s as\n%s\nand it is\n%s", pipe, b, a)
		}
	}
}
