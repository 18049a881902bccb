package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// itemRecord is an item with its job graph set aside as a blob, which a reset of the queue shares.
type itemRecord struct {
	Item  *pipeline.Item `json:"item"`
	Graph string         `json:"graph,omitempty"`
	// From format 2 on: where it stands, and its plan; Apart: the plan is a record of its own.
	place
	Plan  *plan `json:"plan,omitempty"`
	Apart bool  `json:"apart,omitempty"`
}

// plan is what of a buildset is settled before its jobs run. That of the last of a long queue has the operations of
// all ahead, so it is not written again with every news about a job.
type plan struct {
	Operations []*pipeline.MergeOp     `json:"operations,omitempty"`
	Merge      *pipeline.MergeResult   `json:"merge,omitempty"`
	Files      map[change.Key][]string `json:"files,omitempty"`
}

// apart is from how many operations and commits on a plan is a record of its own.
const apart = 4

func (pl *plan) large() bool {
	n := len(pl.Operations) + len(pl.Files)
	if pl.Merge != nil {
		n += len(pl.Merge.Commits)
	}
	return n >= apart
}

// into puts the plan where it belongs.
func (pl *plan) into(bs *pipeline.Buildset) {
	bs.Operations, bs.Merge, bs.Files = pl.Operations, pl.Merge, pl.Files
}

// item encodes an item with its graph as a blob, and its plan, where that is a record of its own.
func (p *Pipeline) item(ctx context.Context, it *pipeline.Item) (item, apart []byte, err error) {
	rec := itemRecord{Item: it}
	if bs := it.Buildset; bs != nil {
		if rec.Graph, err = p.graph(ctx, bs.Graph); err != nil {
			return nil, nil, err
		}
		copied, bare := *it, *bs
		bare.Graph = nil
		if p.format >= 2 {
			pl := &plan{bs.Operations, bs.Merge, bs.Files}
			bare.Operations, bare.Merge, bare.Files = nil, nil, nil
			if rec.Apart = pl.large(); rec.Apart {
				apart = encode(pl)
			} else {
				rec.Plan = pl
			}
		}
		copied.Buildset = &bare
		rec.Item = &copied
	}
	if p.format >= 2 {
		rec.place = p.places.items[it.ID]
	}
	return encode(rec), apart, nil
}

// graph keeps a graph as a blob. It is never changed once it is there, so its identity in memory stands for its
// content.
func (p *Pipeline) graph(ctx context.Context, g *job.Graph) (name string, err error) {
	if g == nil {
		return "", nil
	}
	name, ok := p.graphs[g]
	if !ok {
		if name, err = p.s.PutJSON(ctx, g); err != nil {
			return "", err
		}
		p.graphs[g] = name
		p.forget()
	}
	return name, nil
}

// forget drops graphs of items that are gone, now and then.
func (p *Pipeline) forget() {
	if len(p.graphs) < 2*len(p.State.Items)+64 {
		return
	}
	used := map[*job.Graph]bool{}
	for _, it := range p.State.Items {
		if it.Buildset != nil {
			used[it.Buildset.Graph] = true
		}
	}
	for g := range p.graphs {
		if !used[g] {
			delete(p.graphs, g)
		}
	}
}

// written is a record as it was written last: what is known of it is enough to see that it changed.
type written [sha256.Size]byte

// spilled stands for a record that is too large for a value: people write messages of any length.
type spilled struct {
	Spilled string `json:"spilled"`
}

// setAside keeps a large record as a blob, and gives what stands for it.
func (s *Store) setAside(ctx context.Context, record []byte) ([]byte, error) {
	if len(record) < spill {
		return record, nil
	}
	name, err := s.PutBlob(ctx, record)
	if err != nil {
		return nil, err
	}
	return encode(spilled{name}), nil
}

// takeBack is the record that setAside was given.
func (s *Store) takeBack(ctx context.Context, value []byte) ([]byte, error) {
	if len(value) > 256 || !bytes.HasPrefix(value, []byte(`{"spilled":`)) {
		return value, nil
	}
	var x spilled
	if err := json.Unmarshal(value, &x); err != nil {
		return nil, err
	}
	return s.Blob(ctx, x.Spilled)
}
