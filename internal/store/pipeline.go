package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// PipelinePrefix is where the records of one pipeline are: steps, head, item/<id>, change/<hash>.
func PipelinePrefix(tenant, pipe string) string {
	return "/pipeline/" + seg(tenant) + "/" + seg(pipe) + "/"
}

// SemaphoreKey is the record of who holds which of a tenant's semaphores; with an empty tenant, of the
// global ones.
func SemaphoreKey(tenant string) string { return "/semaphore/" + seg(tenant) + "/holders" }

// head is a pipeline's state without its items and changes. Settings and Tenant, which are large and
// change only with a layout, are a blob.
type head struct {
	Config   string            `json:"config"`
	Queues   []*pipeline.Queue `json:"queues"`
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

// itemRecord is an item with its job graph set aside as a blob, which a reset of the queue shares.
type itemRecord struct {
	Item  *pipeline.Item `json:"item"`
	Graph string         `json:"graph,omitempty"`
}

// Pipeline is a pipeline that this process owns: its state in memory, and what of it is written down.
// It belongs to one goroutine.
type Pipeline struct {
	Tenant, Name string
	State        *pipeline.State

	s       *Store
	fence   Fence
	head    []byte
	config  string
	graphs  map[*job.Graph]string
	changes map[change.Key]*change.Change
	items   map[pipeline.ItemID]bool
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
	st, raw, err := s.readPipeline(ctx, tenant, name, 0)
	if err != nil {
		return nil, err
	}
	p.State, p.head, p.config, p.steps = st, raw.head, raw.config, raw.steps
	p.graphs, p.items = raw.graphs, map[pipeline.ItemID]bool{}
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
	done := map[pipeline.ItemID]bool{}
	for _, id := range touched {
		if done[id] {
			continue
		}
		done[id] = true
		it := p.State.Items[id]
		if it == nil {
			if p.items[id] {
				delete(p.items, id)
				ops = append(ops, kv.Delete(prefix+"item/"+string(id)))
			}
			continue
		}
		b, err := p.item(ctx, it)
		if err != nil {
			return nil, err
		}
		p.items[id] = true
		if b, err = p.s.setAside(ctx, b); err != nil {
			return nil, err
		}
		ops = append(ops, kv.Put(prefix+"item/"+string(id), b))
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
	h := encode(head{Config: p.config, Queues: st.Queues, Failures: st.Failures, Disabled: st.Disabled, Paused: st.Paused,
		Estimates: st.Estimates, Parallel: st.Parallel, SteppedBack: st.SteppedBack, Stopping: st.Stopping})
	if !bytes.Equal(h, p.head) {
		p.head = h
		ops = append(ops, kv.Put(prefix+"head", h))
	}
	return ops, nil
}

// item encodes an item with its graph as a blob. The graph is never changed once it is there, so its
// identity in memory stands for its content.
func (p *Pipeline) item(ctx context.Context, it *pipeline.Item) ([]byte, error) {
	rec := itemRecord{Item: it}
	if it.Buildset != nil && it.Buildset.Graph != nil {
		g := it.Buildset.Graph
		name, ok := p.graphs[g]
		if !ok {
			var err error
			if name, err = p.s.PutJSON(ctx, g); err != nil {
				return nil, err
			}
			p.graphs[g] = name
			p.forget()
		}
		copied, bs := *it, *it.Buildset
		bs.Graph = nil
		copied.Buildset = &bs
		rec = itemRecord{&copied, name}
	}
	return encode(rec), nil
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

// spilled stands for a record that is too large for a value: the last of a long queue has the operations of all
// ahead, and people write messages of any length.
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

func hashName(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

// LoadPipeline reads the whole state of a pipeline as it was at one revision, which is returned: for
// readers who own nothing. rev 0 is now.
func (s *Store) LoadPipeline(ctx context.Context, tenant, name string) (*pipeline.State, int64, error) {
	st, raw, err := s.readPipeline(ctx, tenant, name, 0)
	if err != nil {
		return nil, 0, err
	}
	return st, raw.rev, nil
}

// AtRest tells whether nothing is under way for a pipeline: it has no item, nothing waits in its inbox, and
// no worker was asked for anything whose outcome would come there.
func (s *Store) AtRest(ctx context.Context, tenant, name string) (bool, error) {
	for _, prefix := range []string{PipelinePrefix(tenant, name) + "item/", InboxPrefix(tenant, name)} {
		r, err := s.kv.Range(ctx, kv.Query{Prefix: prefix, KeysOnly: true, Limit: 1})
		if err != nil || len(r.KVs) > 0 {
			return false, err
		}
	}
	for _, kind := range []string{KindMerge, KindRepoState, KindConfigure, KindRefetch, KindRequeue, KindArtifacts, KindEstimates, KindNodes, KindBuild, KindHazards, KindReport} {
		all, err := Records[Request](s, RequestPrefix(kind)).List(ctx)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(all, func(r Record[Request]) bool { return r.Value.Tenant == tenant && r.Value.Pipeline == name }) {
			return false, nil
		}
	}
	return true, nil
}

// Concerns tells whether news about a change may concern a pipeline: it has an item about it or about one that
// needs it, or inputs wait that may bring one. It may know changes that no item needs any more.
func (s *Store) Concerns(ctx context.Context, tenant, name string, k change.Key) (bool, error) {
	// The inbox first: what left it before is in the records by now.
	r, err := s.kv.Range(ctx, kv.Query{Prefix: InboxPrefix(tenant, name), KeysOnly: true, Limit: 1})
	if err != nil || len(r.KVs) > 0 {
		return err == nil, err
	}
	_, ok, err := kv.Get(ctx, s.kv, PipelinePrefix(tenant, name)+"change/"+hashName(string(k)))
	if err != nil {
		return false, fmt.Errorf("look for %s in pipeline %s/%s: %w", k, tenant, name, err)
	}
	return ok, nil
}

type rawPipeline struct {
	rev    int64
	steps  int64
	head   []byte
	config string
	graphs map[*job.Graph]string
}

func (s *Store) readPipeline(ctx context.Context, tenant, name string, rev int64) (*pipeline.State, rawPipeline, error) {
	st := &pipeline.State{Items: map[pipeline.ItemID]*pipeline.Item{}, Changes: map[change.Key]*change.Change{}}
	raw := rawPipeline{graphs: map[*job.Graph]string{}}
	prefix := PipelinePrefix(tenant, name)
	r, err := s.kv.Range(ctx, kv.Query{Prefix: prefix, Rev: rev})
	if err != nil {
		return nil, raw, fmt.Errorf("read pipeline %s/%s: %w", tenant, name, err)
	}
	raw.rev = r.Rev
	byName := map[string]*job.Graph{}
	for _, e := range r.KVs {
		if e.Key == prefix+"steps" {
			raw.steps = e.Mod
			continue
		}
		if err := s.readPart(ctx, st, &raw, byName, strings.TrimPrefix(e.Key, prefix), e.Value); err != nil {
			return nil, raw, fmt.Errorf("read %s: %w", e.Key, err)
		}
	}
	return st, raw, nil
}

func (s *Store) readPart(ctx context.Context, st *pipeline.State, raw *rawPipeline, graphs map[string]*job.Graph, part string, value []byte) error {
	value, err := s.takeBack(ctx, value)
	if err != nil {
		return err
	}
	switch {
	case part == "head":
		var h head
		if err := json.Unmarshal(value, &h); err != nil {
			return err
		}
		var c config
		if err := s.JSON(ctx, h.Config, &c); err != nil {
			return err
		}
		st.Settings, st.Tenant = c.Settings, c.Tenant
		st.Queues, st.Failures, st.Disabled, st.Paused = h.Queues, h.Failures, h.Disabled, h.Paused
		st.Estimates, st.Parallel, st.SteppedBack, st.Stopping = h.Estimates, h.Parallel, h.SteppedBack, h.Stopping
		raw.head, raw.config = value, h.Config
	case strings.HasPrefix(part, "item/"):
		var rec itemRecord
		if err := json.Unmarshal(value, &rec); err != nil {
			return err
		}
		if rec.Graph != "" {
			g := graphs[rec.Graph]
			if g == nil {
				g = new(job.Graph)
				if err := s.JSON(ctx, rec.Graph, g); err != nil {
					return err
				}
				graphs[rec.Graph] = g
				raw.graphs[g] = rec.Graph
			}
			rec.Item.Buildset.Graph = g
		}
		st.Items[rec.Item.ID] = rec.Item
	case strings.HasPrefix(part, "change/"):
		c := new(change.Change)
		if err := json.Unmarshal(value, c); err != nil {
			return err
		}
		st.Changes[c.Key()] = c
	}
	return nil
}

// Pipelines are the names of a tenant's pipelines that have a state.
func (s *Store) Pipelines(ctx context.Context, tenant string) ([]string, error) {
	all, err := s.PipelinesOf(ctx, tenant)
	return all[tenant], err
}

// PipelinesOf are the names of the pipelines that have a state, by tenant; an empty tenant is all of them.
func (s *Store) PipelinesOf(ctx context.Context, tenant string) (map[string][]string, error) {
	prefix := "/pipeline/"
	if tenant != "" {
		prefix += seg(tenant) + "/"
	}
	r, err := s.kv.Range(ctx, kv.Query{Prefix: prefix, KeysOnly: true})
	if err != nil {
		return nil, fmt.Errorf("list the pipelines of %q: %w", tenant, err)
	}
	out := map[string][]string{}
	for _, e := range r.KVs {
		parts := strings.SplitN(strings.TrimPrefix(e.Key, "/pipeline/"), "/", 3)
		if len(parts) < 3 || parts[2] != "head" {
			continue
		}
		t, terr := url.PathUnescape(parts[0])
		p, perr := url.PathUnescape(parts[1])
		if terr == nil && perr == nil {
			out[t] = append(out[t], p)
		}
	}
	return out, nil
}

// Semaphores reads who holds what in a tenant (empty: the global ones), with the revision to compare.
func (s *Store) Semaphores(ctx context.Context, tenant string) (*pipeline.Semaphores, int64, error) {
	e, _, err := kv.Get(ctx, s.kv, SemaphoreKey(tenant))
	if err != nil {
		return nil, 0, err
	}
	sem, err := DecodeSemaphores(e)
	return sem, e.Mod, err
}

// DecodeSemaphores reads the value of a SemaphoreKey; of one that is not there, that nobody holds anything.
func DecodeSemaphores(e kv.KV) (*pipeline.Semaphores, error) {
	sem := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}}
	if len(e.Value) == 0 {
		return sem, nil
	}
	if err := json.Unmarshal(e.Value, sem); err != nil {
		return nil, fmt.Errorf("decode %s: %w", e.Key, err)
	}
	return sem, nil
}

// SemaphoreOp is the write of a tenant's semaphores, as part of a transaction.
func SemaphoreOp(tenant string, sem *pipeline.Semaphores) kv.Op {
	return kv.Put(SemaphoreKey(tenant), encode(sem))
}
