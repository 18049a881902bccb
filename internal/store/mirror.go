package store

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Mirror is a pipeline for a reader who hears of every change to its records: what did not change is neither read nor
// decoded again. It belongs to one goroutine.
type Mirror struct {
	s            *Store
	tenant, name string
	in           *reading // nil: nothing is known
	heard        []kv.Change
	known        map[string]change.Key // changes by the names of their records
}

// Mirror begins to mirror a pipeline. Whoever has it must hear of all that happens from then on.
func (s *Store) Mirror(tenant, name string) *Mirror {
	return &Mirror{s: s, tenant: tenant, name: name}
}

// Hear tells of a change to one of the pipeline's records, in the order in which they happened.
func (m *Mirror) Hear(c kv.Change) {
	if m.in != nil {
		m.heard = append(m.heard, c)
	}
}

// State is the pipeline as far as it was heard of, and as of now at the first time. It is a new one each time, with what
// did not change in common with the last one, and must not be changed. After an error all is read again.
func (m *Mirror) State(ctx context.Context) (*pipeline.State, error) {
	heard := m.heard
	m.heard = nil
	if m.in == nil {
		in, err := m.s.readRecords(ctx, m.tenant, m.name)
		if err != nil {
			return nil, err
		}
		m.in, m.known, heard = in, map[string]change.Key{}, nil
		for k := range in.st.Changes {
			m.known[hashName(string(k))] = k
		}
		return m.state(), nil
	}
	prefix := PipelinePrefix(m.tenant, m.name)
	last := map[string]int{} // several changes to a record are one
	for i, c := range heard {
		last[c.Key] = i
	}
	for i, c := range heard {
		if c.Mod <= m.in.rev || last[c.Key] != i {
			continue
		}
		if err := m.take(ctx, strings.TrimPrefix(c.Key, prefix), c); err != nil {
			m.in = nil
			return nil, fmt.Errorf("read %s: %w", c.Key, err)
		}
	}
	m.forget()
	return m.state(), nil
}

// take takes in that one record is another one now, or gone.
func (m *Mirror) take(ctx context.Context, part string, c kv.Change) error {
	kind, name, _ := strings.Cut(part, "/")
	if kind == "steps" {
		return nil
	}
	if !c.Deleted {
		value, err := m.s.takeBack(ctx, c.Value)
		if err != nil {
			return err
		}
		if kind != "change" {
			return m.in.part(ctx, m.s, part, value)
		}
		ch, err := m.in.change(value)
		if err == nil {
			m.known[name] = ch.Key()
		}
		return err
	}
	return m.in.drop(kind, name, m.known)
}

// drop takes in that a record is gone. known are the changes by the names of their records.
func (in *reading) drop(kind, name string, known map[string]change.Key) error {
	switch kind {
	case "head":
		in.st.Settings, in.st.Queues, in.config = pipeline.Settings{}, nil, ""
	case "item":
		delete(in.st.Items, pipeline.ItemID(name))
		delete(in.items, pipeline.ItemID(name))
	case "plan":
		delete(in.plans, pipeline.ItemID(name))
		delete(in.apart, pipeline.ItemID(name))
	case "queue":
		id, err := strconv.ParseInt(name, 36, 64)
		delete(in.queues, id)
		return err
	case "change":
		delete(in.st.Changes, known[name])
		delete(known, name)
	}
	return nil
}

// forget drops job graphs of items that are gone, now and then.
func (m *Mirror) forget() {
	if len(m.in.byName) < 2*len(m.in.st.Items)+64 {
		return
	}
	used := map[*job.Graph]bool{}
	for _, it := range m.in.st.Items {
		if it.Buildset != nil {
			used[it.Buildset.Graph] = true
		}
	}
	maps.DeleteFunc(m.in.byName, func(_ string, g *job.Graph) bool { return !used[g] })
	maps.DeleteFunc(m.in.graphs, func(g *job.Graph, _ string) bool { return !used[g] })
}

// state puts what is known together. Items and queues are copies: whoever works with a state keeps things in them.
func (m *Mirror) state() *pipeline.State {
	st := *m.in.st
	st.Changes = maps.Clone(st.Changes)
	st.Items = make(map[pipeline.ItemID]*pipeline.Item, len(m.in.st.Items))
	for id, it := range m.in.st.Items {
		c := *it
		if it.Buildset != nil {
			bs := *it.Buildset
			if pl := m.in.apart[id]; pl != nil {
				pl.into(&bs)
			}
			c.Buildset = &bs
		}
		st.Items[id] = &c
	}
	if st.Queues != nil {
		queues := st.Queues
		st.Queues = make([]*pipeline.Queue, len(queues))
		for i, q := range queues {
			c := *q
			st.Queues[i] = &c
		}
		return &st
	}
	queues := make(map[int64]queueRecord, len(m.in.queues))
	for id, q := range m.in.queues {
		c := *q.Queue
		queues[id] = queueRecord{&c, q.Order}
	}
	restored(&st, queues, m.in.items)
	return &st
}
