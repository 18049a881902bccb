package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// PipelinePrefix is where the records of one pipeline are: steps, head, change/<hash>, item/<id>, plan/<item>,
// queue/<id>.
func PipelinePrefix(tenant, pipe string) string {
	return "/pipeline/" + seg(tenant) + "/" + seg(pipe) + "/"
}

// head is a pipeline's state without its items and changes. Settings and Tenant, which are large and
// change only with a layout, are a blob; Queues are here in format 1 only.
type head struct {
	Config   string            `json:"config"`
	Queues   []*pipeline.Queue `json:"queues,omitempty"`
	Failures int               `json:"failures,omitempty"`
	Disabled bool              `json:"disabled,omitempty"`
	Paused   string            `json:"paused,omitempty"`

	Estimates   map[string]time.Duration `json:"estimates,omitempty"`
	Parallel    int                      `json:"parallel,omitempty"`
	SteppedBack string                   `json:"stepped_back,omitempty"`

	Stopping map[pipeline.BuildID]pipeline.Stopping `json:"stopping,omitempty"`
}

// config is what head.Config names.
type config struct {
	Settings pipeline.Settings `json:"settings"`
	Tenant   pipeline.Tenant   `json:"tenant"`
}

// Pipeline is a pipeline that this process owns: its state in memory, and what of it is written down.
// It belongs to one goroutine.
type Pipeline struct {
	Tenant, Name string
	State        *pipeline.State

	s      *Store
	fence  Fence
	format int // in which it is written
	raw
	changes map[change.Key]*change.Change
	items   map[pipeline.ItemID]bool
}

// raw is what is known of the records of a pipeline beside its state.
type raw struct {
	rev    int64
	head   written
	config string
	graphs map[*job.Graph]string
	plans  map[pipeline.ItemID]written // those that are records of their own
	places places
	// steps is the revision of the record that every commit writes: one whose outcome was unknown, and
	// that arrives after the state was read again, meets it or is met by it.
	steps int64
}

// OpenPipeline reads a pipeline for its owner, who works under the fence. A pipeline that was never
// written is empty.
func (s *Store) OpenPipeline(ctx context.Context, f Fence, tenant, name string) (*Pipeline, error) {
	p := &Pipeline{Tenant: tenant, Name: name, s: s, fence: f}
	if err := s.finish(ctx, f, p.redoKey()); err != nil {
		return nil, fmt.Errorf("open pipeline %s/%s: %w", tenant, name, err)
	}
	var err error
	if p.format, err = s.Writes(ctx); err != nil {
		return nil, fmt.Errorf("open pipeline %s/%s: %w", tenant, name, err)
	}
	if p.State, p.raw, err = s.readPipeline(ctx, tenant, name); err != nil {
		return nil, err
	}
	st := p.State
	p.items = map[pipeline.ItemID]bool{}
	p.changes = map[change.Key]*change.Change{}
	for k, c := range st.Changes {
		p.changes[k] = c
	}
	for id := range st.Items {
		p.items[id] = true
	}
	return p, nil
}

func (p *Pipeline) redoKey() string {
	return "/redo/pipeline/" + seg(p.Tenant) + "/" + seg(p.Name)
}

// Configured says that the state's settings or tenant changed and must be written with the next Commit.
func (p *Pipeline) Configured() { p.config = "" }

// Commit writes what the steps since the last commit changed (the touched items, the queues, the changes
// known), together with ops: the consumed inputs, requests for the effects. shared are writes of what
// others write, too (semaphores), which go through only under cmps. On any error the state in memory is
// worth nothing: open the pipeline again.
func (p *Pipeline) Commit(ctx context.Context, touched []pipeline.ItemID, ops []kv.Op, cmps []kv.Cmp, shared []kv.Op) error {
	own, err := p.ops(ctx, touched)
	if err != nil {
		return fmt.Errorf("commit pipeline %s/%s: %w", p.Tenant, p.Name, err)
	}
	if len(own)+len(ops)+len(shared) == 0 {
		return nil
	}
	key := PipelinePrefix(p.Tenant, p.Name) + "steps"
	p.steps, err = p.s.commit(ctx, p.fence, p.redoKey(), append(own, ops...),
		append(cmps, kv.Unchanged(key, p.steps)), append(shared, kv.Put(key, nil)))
	if err != nil {
		return fmt.Errorf("commit pipeline %s/%s: %w", p.Tenant, p.Name, err)
	}
	return nil
}

func (p *Pipeline) ops(ctx context.Context, touched []pipeline.ItemID) ([]kv.Op, error) {
	prefix := PipelinePrefix(p.Tenant, p.Name)
	var ops []kv.Op
	if p.format >= 2 {
		queues, moved := p.places.arrange(prefix, p.State.Queues)
		ops, touched = queues, slices.Concat(touched, moved)
	}
	done := map[pipeline.ItemID]bool{}
	for _, id := range touched {
		if done[id] {
			continue
		}
		done[id] = true
		more, err := p.itemOps(ctx, prefix, id)
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	for k, c := range p.State.Changes {
		if p.changes[k] != c {
			b, err := p.s.setAside(ctx, encode(c))
			if err != nil {
				return nil, err
			}
			p.changes[k] = c
			ops = append(ops, kv.Put(prefix+"change/"+hashName(string(k)), b))
		}
	}
	for k := range p.changes {
		if len(p.changes) == len(p.State.Changes) {
			break // all that are there are known by now, so none is gone
		}
		if p.State.Changes[k] == nil {
			delete(p.changes, k)
			ops = append(ops, kv.Delete(prefix+"change/"+hashName(string(k))))
		}
	}
	if p.config == "" {
		name, err := p.s.PutJSON(ctx, config{p.State.Settings, p.State.Tenant})
		if err != nil {
			return nil, err
		}
		p.config = name
	}
	st := p.State
	h := head{Config: p.config, Failures: st.Failures, Disabled: st.Disabled, Paused: st.Paused,
		Estimates: st.Estimates, Parallel: st.Parallel, SteppedBack: st.SteppedBack, Stopping: st.Stopping}
	if p.format < 2 {
		h.Queues = st.Queues
	}
	b := encode(h)
	if sum := written(sha256.Sum256(b)); sum != p.head {
		p.head = sum
		b, err := p.s.setAside(ctx, b)
		if err != nil {
			return nil, err
		}
		ops = append(ops, kv.Put(prefix+"head", b))
	}
	return ops, nil
}

// itemOps are the writes for an item that was touched.
func (p *Pipeline) itemOps(ctx context.Context, prefix string, id pipeline.ItemID) (ops []kv.Op, err error) {
	it := p.State.Items[id]
	var item, apart []byte
	if it != nil {
		if item, apart, err = p.item(ctx, it); err != nil {
			return nil, err
		}
		if item, err = p.s.setAside(ctx, item); err != nil {
			return nil, err
		}
		ops = append(ops, kv.Put(itemKey(prefix, id), item))
		p.items[id] = true
	} else if p.items[id] {
		ops = append(ops, kv.Delete(itemKey(prefix, id)))
		delete(p.items, id)
		delete(p.places.items, id)
	}
	was, is := p.plans[id]
	switch now := written(sha256.Sum256(apart)); {
	case apart == nil && is:
		delete(p.plans, id)
		ops = append(ops, kv.Delete(planKey(prefix, id)))
	case apart != nil && now != was:
		p.plans[id] = now
		if apart, err = p.s.setAside(ctx, apart); err != nil {
			return nil, err
		}
		ops = append(ops, kv.Put(planKey(prefix, id), apart))
	}
	return ops, nil
}

func itemKey(prefix string, id pipeline.ItemID) string { return prefix + "item/" + string(id) }
func planKey(prefix string, id pipeline.ItemID) string { return prefix + "plan/" + string(id) }
func queueKey(prefix string, id int64) string          { return prefix + "queue/" + strconv.FormatInt(id, 36) }

func hashName(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

// LoadPipeline reads the whole state of a pipeline as it is at one revision, which is returned: for
// readers who own nothing.
func (s *Store) LoadPipeline(ctx context.Context, tenant, name string) (*pipeline.State, int64, error) {
	st, raw, err := s.readPipeline(ctx, tenant, name)
	if err != nil {
		return nil, 0, err
	}
	return st, raw.rev, nil
}

// reading is a pipeline that is being put together from its records.
type reading struct {
	raw
	st     *pipeline.State
	byName map[string]*job.Graph
	items  map[pipeline.ItemID]place
	apart  map[pipeline.ItemID]*plan
	queues map[int64]queueRecord
}

func (s *Store) readPipeline(ctx context.Context, tenant, name string) (*pipeline.State, raw, error) {
	in, err := s.readRecords(ctx, tenant, name)
	if err != nil {
		return nil, raw{}, err
	}
	for id, pl := range in.apart {
		// While a large commit is applied, readers may see one without the other.
		if it := in.st.Items[id]; it != nil && it.Buildset != nil {
			pl.into(it.Buildset)
		}
	}
	in.places = newPlaces()
	if in.st.Queues == nil {
		in.places = restored(in.st, in.queues, in.items)
	}
	return in.st, in.raw, nil
}

// readRecords reads the records of a pipeline as they are at one revision.
func (s *Store) readRecords(ctx context.Context, tenant, name string) (*reading, error) {
	prefix := PipelinePrefix(tenant, name)
	r, err := s.kv.Range(ctx, kv.Query{Prefix: prefix})
	if err != nil {
		return nil, fmt.Errorf("read pipeline %s/%s: %w", tenant, name, err)
	}
	in := &reading{
		raw:    raw{rev: r.Rev, graphs: map[*job.Graph]string{}, plans: map[pipeline.ItemID]written{}},
		st:     &pipeline.State{Items: map[pipeline.ItemID]*pipeline.Item{}, Changes: map[change.Key]*change.Change{}},
		byName: map[string]*job.Graph{}, items: map[pipeline.ItemID]place{}, apart: map[pipeline.ItemID]*plan{}, queues: map[int64]queueRecord{},
	}
	for _, e := range r.KVs {
		part := strings.TrimPrefix(e.Key, prefix)
		if part == "steps" {
			in.steps = e.Mod
			continue
		}
		value, err := s.takeBack(ctx, e.Value)
		if err == nil {
			err = in.part(ctx, s, part, value)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Key, err)
		}
	}
	return in, nil
}

// part takes in one record.
func (in *reading) part(ctx context.Context, s *Store, part string, value []byte) error {
	kind, name, _ := strings.Cut(part, "/")
	switch kind {
	case "head":
		var h head
		if err := json.Unmarshal(value, &h); err != nil {
			return err
		}
		st := in.st
		if in.config != h.Config {
			var c config
			if err := s.JSON(ctx, h.Config, &c); err != nil {
				return err
			}
			st.Settings, st.Tenant = c.Settings, c.Tenant
		}
		st.Queues, st.Failures, st.Disabled, st.Paused = h.Queues, h.Failures, h.Disabled, h.Paused
		st.Estimates, st.Parallel, st.SteppedBack, st.Stopping = h.Estimates, h.Parallel, h.SteppedBack, h.Stopping
		in.head, in.config = sha256.Sum256(value), h.Config
	case "item":
		return in.item(ctx, s, value)
	case "plan":
		pl := new(plan)
		in.plans[pipeline.ItemID(name)] = sha256.Sum256(value)
		in.apart[pipeline.ItemID(name)] = pl
		return json.Unmarshal(value, pl)
	case "queue":
		id, err := strconv.ParseInt(name, 36, 64)
		if err != nil {
			return err
		}
		var q queueRecord
		if err := json.Unmarshal(value, &q); err != nil {
			return err
		}
		in.queues[id] = q
	case "change":
		_, err := in.change(value)
		return err
	}
	return nil
}

func (in *reading) change(value []byte) (*change.Change, error) {
	c := new(change.Change)
	if err := json.Unmarshal(value, c); err != nil {
		return nil, err
	}
	in.st.Changes[c.Key()] = c
	return c, nil
}

func (in *reading) item(ctx context.Context, s *Store, value []byte) error {
	var rec itemRecord
	if err := json.Unmarshal(value, &rec); err != nil {
		return err
	}
	it := rec.Item
	if rec.Graph != "" {
		g := in.byName[rec.Graph]
		if g == nil {
			g = new(job.Graph)
			if err := s.JSON(ctx, rec.Graph, g); err != nil {
				return err
			}
			in.byName[rec.Graph] = g
			in.graphs[g] = rec.Graph
		}
		it.Buildset.Graph = g
	}
	if rec.Plan != nil {
		rec.Plan.into(it.Buildset)
	}
	delete(in.items, it.ID)
	if rec.place.Queue != 0 {
		in.items[it.ID] = rec.place
	}
	in.st.Items[it.ID] = it
	return nil
}
