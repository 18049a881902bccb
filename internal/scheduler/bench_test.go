package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/store"
)

// bench is pipelines with real runners and stores, and workers that answer at once: what is left is what
// scheduling costs.
type bench struct {
	b     *testing.B
	store *store.Store
	ctx   context.Context
	group *errgroup.Group
	stop  context.CancelFunc
	ses   *kv.Session
	jobs  int // of each item

	mu    sync.Mutex
	asked map[change.Key]time.Time
	waits []time.Duration // from event to first dispatch

	closed  atomic.Bool // executors take nothing
	queued  atomic.Int64
	ended   atomic.Int64
	commits atomic.Int64
	written atomic.Int64 // bytes
}

// counted counts what is written.
type counted struct {
	kv.Store
	x *bench
}

func (c counted) Commit(ctx context.Context, t kv.Txn) (bool, int64, error) {
	c.x.commits.Add(1)
	for _, o := range t.Then {
		c.x.written.Add(int64(len(o.Key) + len(o.Value)))
	}
	return c.Store.Commit(ctx, t)
}

func benchAddr(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func openBenchStore(b *testing.B, where string) kv.Store {
	ctx := b.Context()
	start := func(c etcd.EmbedConfig) *etcd.Member {
		c.Dir = filepath.Join(b.TempDir(), "etcd")
		m, err := etcd.Start(ctx, c)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = m.Close() })
		return m
	}
	switch where {
	case "memory":
		m := memkv.New(memkv.Config{Retain: 1000})
		b.Cleanup(func() { _ = m.Close() })
		return m
	case "embedded":
		return start(etcd.EmbedConfig{}).Store()
	}
	first := start(etcd.EmbedConfig{Name: "a", ClientAddr: benchAddr(b), PeerAddr: benchAddr(b)})
	ends := []string{first.ClientAddr()}
	for _, name := range []string{"b", "c"} {
		m := start(etcd.EmbedConfig{Name: name, ClientAddr: benchAddr(b), PeerAddr: benchAddr(b), Join: ends})
		ends = append(ends, m.ClientAddr())
	}
	s, err := etcd.Dial(ctx, etcd.DialConfig{Endpoints: ends})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func newBench(b *testing.B, where string, pipelines, jobs, executors int) *bench {
	x := &bench{b: b, jobs: jobs, asked: map[change.Key]time.Time{}}
	ctx, stop := context.WithCancel(b.Context())
	x.stop = stop
	var err error
	if x.store, err = store.Open(ctx, store.Config{KV: counted{openBenchStore(b, where), x}}); err != nil {
		b.Fatal(err)
	}
	if x.ses, err = kv.NewSession(ctx, kv.SessionConfig{Store: x.store.KV(), TTL: 30 * time.Second}); err != nil {
		b.Fatal(err)
	}
	x.group, x.ctx = errgroup.WithContext(ctx)
	x.group.Go(func() error { return x.ses.Run(x.ctx) })
	for i := range pipelines {
		x.pipeline(fmt.Sprint("p", i))
	}
	x.answer(store.KindMerge, "merger", func(t *store.Task) (pipeline.Input, error) {
		var e pipeline.Merge
		err := t.Decode(x.ctx, &e)
		return &pipeline.Merged{Item: e.Item, Buildset: e.Buildset, Result: &pipeline.MergeResult{RepoState: "state"}}, err
	})
	x.answer(store.KindConfigure, "scheduler", func(t *store.Task) (pipeline.Input, error) {
		var e pipeline.Configure
		err := t.Decode(x.ctx, &e)
		return &pipeline.Configured{Item: e.Item, Buildset: e.Buildset, Layout: e.Ahead, Graph: x.graph(e.Changes)}, err
	})
	x.answer(store.KindRecord, "history", func(*store.Task) (pipeline.Input, error) { return nil, nil })
	for i := range executors {
		x.answer(store.KindBuild, fmt.Sprint("executor", i), x.build)
	}
	b.Cleanup(func() { stop(); _ = x.group.Wait() })
	return x
}

func (x *bench) graph(changes []*change.Change) *job.Graph {
	g := &job.Graph{}
	for i := range x.jobs {
		name := fmt.Sprint("job", i)
		g.Jobs = append(g.Jobs, &job.Job{ID: job.ID(name), Name: name, Voting: true, Attempts: 1, Refs: []change.Key{changes[0].Key()}})
	}
	return g
}

func (x *bench) answer(kind, owner string, fn func(*store.Task) (pipeline.Input, error)) {
	slots := func(busy int) int {
		if kind == store.KindBuild && x.closed.Load() {
			return 0
		}
		return 32 - busy
	}
	x.group.Go(func() error {
		return store.Serve(x.ctx, x.store, store.ServeConfig{Kind: kind, Session: x.ses, Owner: owner, Slots: slots},
			func(ctx context.Context, t *store.Task) error {
				in, err := fn(t)
				if err != nil {
					return err
				}
				if in == nil {
					return t.Done(ctx)
				}
				return t.Done(ctx, in)
			})
	})
}

func (x *bench) build(t *store.Task) (pipeline.Input, error) {
	var e pipeline.Start
	if err := t.Decode(x.ctx, &e); err != nil {
		return nil, err
	}
	x.mu.Lock()
	if at, ok := x.asked[e.Own[0]]; ok {
		x.waits = append(x.waits, time.Since(at))
		delete(x.asked, e.Own[0])
	}
	x.mu.Unlock()
	x.ended.Add(1)
	return &pipeline.BuildEnded{Build: e.Build, Result: pipeline.Success, At: time.Now()}, nil
}

var benchProject = change.Project{Connection: "forge", Host: "forge.example.com", Name: "project"}

func (x *bench) pipeline(name string) {
	f, ok, err := x.store.Own(x.ctx, x.ses, "pipeline t "+name, "scheduler")
	if err != nil || !ok {
		x.b.Fatal(ok, err)
	}
	r := &scheduler.Runner{Store: x.store, Log: slog.New(slog.DiscardHandler), Tenant: "t", Name: name, Fence: f,
		Others: func(context.Context, bool) ([]scheduler.Place, error) { return nil, nil },
		Stepped: func(_, _ string, effects []pipeline.Effect) {
			for _, e := range effects {
				if _, ok := e.(*pipeline.Start); ok {
					x.queued.Add(1)
				}
			}
		}}
	x.group.Go(func() error { return r.Run(x.ctx) })
	x.send(name, &pipeline.Reconfigure{
		Settings: pipeline.Settings{Name: name, Manager: pipeline.Independent, AllowOtherConnections: true},
		Tenant: pipeline.Tenant{Name: "t", Layout: "L", Projects: map[string]pipeline.Project{
			benchProject.Canonical(): {Project: benchProject, InPipeline: true, MergeMode: "merge", DefaultBranch: "main"}}},
	})
}

func (x *bench) send(pipe string, in pipeline.Input) {
	if err := x.store.Send(x.ctx, "t", pipe, in); err != nil && x.ctx.Err() == nil {
		x.b.Error(err)
	}
}

// enqueue gives a pipeline a change, as an event does.
func (x *bench) enqueue(pipe string, n int) {
	c := &change.Change{Kind: change.KindChange, Project: benchProject, Branch: "main", Number: strconv.Itoa(n), Patchset: "1",
		Files: []string{"README"}, Open: true, Current: true}
	x.mu.Lock()
	x.asked[c.Key()] = time.Now()
	x.mu.Unlock()
	x.send(pipe, &pipeline.Trigger{Event: event.Event{ID: fmt.Sprint(n), Type: "patchset-created", Project: benchProject}, Key: c.Key(), Changes: []*change.Change{c}, Match: true})
}

// wait waits until so many were counted.
func (x *bench) wait(what string, n *atomic.Int64, want int64) {
	x.b.Helper()
	for end := time.Now().Add(10 * time.Minute); n.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) || x.ctx.Err() != nil {
			x.b.Fatalf("%s: %d of %d in ten minutes", what, n.Load(), want)
		}
	}
}

// revision is the store's: how many entries its log has got, give or take those that wrote nothing.
func (x *bench) revision() int64 {
	r, err := x.store.KV().Range(x.ctx, kv.Query{Key: "/meta/format"})
	if err != nil {
		x.b.Fatal(err)
	}
	return r.Rev
}

// heap is the memory that is in use, without garbage.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// processor is the time that this process has spent on processors: what a figure is worth on a busy machine.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // only fails for wrong arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func percentile(d []time.Duration, p int) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*p/100)]
}

// BenchmarkDispatch: jobs of changes in 50 pipelines wait, 20 of each change; then eight executors take them and do
// nothing. What is measured begins when all wait, but for what is told of an item: its memory while its jobs wait,
// and all that is written from its event to its end.
func BenchmarkDispatch(b *testing.B) {
	for _, where := range []string{"memory", "embedded", "three"} {
		for _, queued := range []int{2000, 10000, 30000} {
			b.Run(fmt.Sprintf("%s/queued=%d", where, queued), func(b *testing.B) { benchDispatch(b, where, queued) })
		}
	}
}

func benchDispatch(b *testing.B, where string, queued int) {
	const pipelines, jobs = 50, 20
	items := queued / jobs
	x := newBench(b, where, pipelines, jobs, 8)
	x.closed.Store(true)
	time.Sleep(500 * time.Millisecond) // the layouts
	before, written := heap(), x.written.Load()
	for i := range items {
		x.enqueue(fmt.Sprint("p", i%pipelines), i+1)
	}
	x.wait("jobs wait", &x.queued, int64(queued))
	memory := heap() - before

	commits, revision := x.commits.Load(), x.revision()
	began, cpu := time.Now(), processor()
	x.closed.Store(false)
	x.wait("builds ended", &x.ended, int64(queued/2))
	half := time.Now()
	x.wait("builds ended", &x.ended, int64(queued))
	took := time.Since(began)

	per := func(n int64, of int) float64 { return float64(n) / float64(of) }
	b.ReportMetric(float64(queued)/took.Seconds(), "dispatches/s")
	b.ReportMetric(float64(queued)/2/half.Sub(began).Seconds(), "first-half/s")
	b.ReportMetric(float64(queued)/2/(took-half.Sub(began)).Seconds(), "second-half/s")
	b.ReportMetric(per((processor()-cpu).Microseconds(), queued), "CPU-µs/dispatch")
	b.ReportMetric(per(x.commits.Load()-commits, queued), "txns/dispatch")
	b.ReportMetric(per(x.revision()-revision, queued), "revisions/dispatch")
	b.ReportMetric(per(x.written.Load()-written, items), "written-B/item")
	b.ReportMetric(per(memory, items), "heap-B/item")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkEventToDispatch: 50 busy pipelines get 50 events a second, each with two jobs.
func BenchmarkEventToDispatch(b *testing.B) {
	for _, where := range []string{"memory", "embedded", "three"} {
		b.Run(where, func(b *testing.B) {
			const pipelines, events, jobs = 50, 300, 2
			x := newBench(b, where, pipelines, jobs, 2)
			time.Sleep(500 * time.Millisecond)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for i := range events {
				<-tick.C
				x.enqueue(fmt.Sprint("p", i%pipelines), i+1)
			}
			x.wait("builds ended", &x.ended, events*jobs)
			x.mu.Lock()
			defer x.mu.Unlock()
			b.ReportMetric(float64(percentile(x.waits, 50).Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(percentile(x.waits, 99).Microseconds())/1000, "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
