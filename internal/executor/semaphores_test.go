package executor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

func TestSemaphoresOfPlaybooks(t *testing.T) {
	st, _ := openStore(t)
	local := &localSemaphores{}
	for name, s := range map[string]Semaphores{"store": StoreSemaphores{Store: st, Poll: 10 * time.Millisecond}, "local": local} {
		t.Run(name, func(t *testing.T) {
			defined := map[string]pipeline.Semaphore{"two": {Max: 2}, "all": {Max: 1, Global: true}}
			holder := func(build string) pipeline.Holder {
				return pipeline.Holder{Tenant: "t", Pipeline: "check", Buildset: pipeline.BuildsetID(build), Job: "j"}
			}
			take := func(patience time.Duration, build string, names ...string) (func(), error) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				return s.Acquire(ctx, holder(build), defined, names)
			}
			must := func(build string, names ...string) func() {
				t.Helper()
				release, err := take(time.Minute, build, names...)
				if err != nil {
					t.Fatalf("%s cannot have %v: %v", build, names, err)
				}
				return release
			}
			mustNot := func(build string, names ...string) {
				t.Helper()
				if _, err := take(100*time.Millisecond, build, names...); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("%s has %v, or another error: %v", build, names, err)
				}
			}
			a := must("a", "two", "undefined")
			b := must("b", "two")
			mustNot("c", "two")
			mustNot("c", "undefined", "all")
			must("d", "all")() // all or none: c kept nothing
			a()
			a() // twice does no harm
			c := must("c", "two", "undefined", "all")
			mustNot("e", "all")
			b()
			c()
			must("e", "two", "all", "undefined")()
		})
	}
	for _, tenant := range []string{"t", ""} {
		sem, _, err := st.Semaphores(t.Context(), tenant)
		if err != nil || len(sem.Holders) > 0 {
			t.Errorf("left in the record of %q: %v %v", tenant, sem.Holders, err)
		}
	}
}

// What a playbook lets go, jobs that wait in pipelines come to know of; of a global semaphore in all tenants. What it
// costs does not grow with what the pipelines have.
func TestReleasedSemaphoresWakePipelines(t *testing.T) {
	for name, defined := range map[string]map[string]pipeline.Semaphore{"own": nil, "global": {"s": {Max: 1, Global: true}}} {
		t.Run(name, func(t *testing.T) {
			base, _ := openStore(t)
			var kvs readCounted
			kvs.Store = base.KV()
			st, err := store.Open(t.Context(), store.Config{KV: &kvs})
			if err != nil {
				t.Fatal(err)
			}
			records := store.Records[tenant.Record](st, tenant.RecordPrefix)
			for _, of := range []string{"t", "another/one"} {
				ops := []kv.Op{records.Op(of, tenant.Record{Name: of, Pipelines: []string{"gate way"}})}
				for i := range 100 {
					ops = append(ops, kv.Put(fmt.Sprintf("%sitem/%d", store.PipelinePrefix(of, "gate way"), i), []byte("{}")))
				}
				if _, err := st.Write(t.Context(), store.Fence{}, ops...); err != nil {
					t.Fatal(err)
				}
			}
			release, err := StoreSemaphores{Store: st}.Acquire(t.Context(), pipeline.Holder{Tenant: "t", Pipeline: "check"}, defined, []string{"s"})
			if err != nil {
				t.Fatal(err)
			}
			kvs.keys, kvs.commits = 0, 0
			release()
			if kvs.keys > 10 || kvs.commits != 1 {
				t.Errorf("a release read %d keys and made %d transactions", kvs.keys, kvs.commits)
			}
			for of, want := range map[string]int{"t": 1, "another/one": len(defined)} {
				r, err := st.KV().Range(t.Context(), kv.Query{Prefix: store.InboxPrefix(of, "gate way")})
				if err != nil || len(r.KVs) != want {
					t.Fatalf("%s: %d inputs, %v", of, len(r.KVs), err)
				}
				for _, e := range r.KVs {
					if in, err := st.Input(t.Context(), e); err != nil {
						t.Error(err)
					} else if _, ok := in.(*pipeline.Wake); !ok {
						t.Errorf("%T", in)
					}
				}
			}
		})
	}
}

// readCounted counts what is read and written.
type readCounted struct {
	kv.Store
	keys, commits int
}

func (c *readCounted) Range(ctx context.Context, q kv.Query) (*kv.Result, error) {
	r, err := c.Store.Range(ctx, q)
	if err == nil {
		c.keys += len(r.KVs)
	}
	return r, err
}

func (c *readCounted) Commit(ctx context.Context, t kv.Txn) (bool, int64, error) {
	c.commits++
	return c.Store.Commit(ctx, t)
}
