package executor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
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
			take := func(build string, names ...string) (func(), error) {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				return s.Acquire(ctx, holder(build), defined, names)
			}
			must := func(build string, names ...string) func() {
				t.Helper()
				release, err := take(build, names...)
				if err != nil {
					t.Fatalf("%s cannot have %v: %v", build, names, err)
				}
				return release
			}
			mustNot := func(build string, names ...string) {
				t.Helper()
				if _, err := take(build, names...); !errors.Is(err, context.DeadlineExceeded) {
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

// What a playbook lets go, jobs that wait in pipelines come to know of; of a global semaphore in all tenants.
func TestReleasedSemaphoresWakePipelines(t *testing.T) {
	for name, defined := range map[string]map[string]pipeline.Semaphore{"own": nil, "global": {"s": {Max: 1, Global: true}}} {
		t.Run(name, func(t *testing.T) {
			st, _ := openStore(t)
			for _, tenant := range []string{"t", "another/one"} {
				if _, err := st.Write(t.Context(), store.Fence{}, kv.Put(store.PipelinePrefix(tenant, "gate way")+"head", []byte("{}"))); err != nil {
					t.Fatal(err)
				}
			}
			release, err := StoreSemaphores{Store: st}.Acquire(t.Context(), pipeline.Holder{Tenant: "t", Pipeline: "check"}, defined, []string{"s"})
			if err != nil {
				t.Fatal(err)
			}
			release()
			for tenant, want := range map[string]int{"t": 1, "another/one": len(defined)} {
				r, err := st.KV().Range(t.Context(), kv.Query{Prefix: store.InboxPrefix(tenant, "gate way")})
				if err != nil || len(r.KVs) != want {
					t.Fatalf("%s: %d inputs, %v", tenant, len(r.KVs), err)
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
