package executor

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/store"
)

// zones knows which builds are for whom: those on the nodes of a zone are for the executors of that zone, as
// long as there are any; all others for those without a zone, and those that take them, too.
type zones struct {
	mu        sync.Mutex
	nodes     map[string]string // zone by node
	executors map[string]string // zone by executor
	ready     int
	known     chan struct{} // closed when all that there is at first has been read
}

func newZones() *zones {
	return &zones{nodes: map[string]string{}, executors: map[string]string{}, known: make(chan struct{})}
}

// follow learns of nodes and executors until ctx ends.
func (z *zones) follow(ctx context.Context, s *store.Store) error {
	g, ctx := errgroup.WithContext(ctx)
	ready := func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		if z.ready++; z.ready == 2 {
			close(z.known)
		}
	}
	g.Go(func() error {
		return store.Records[node.Node](s, node.Records).Follow(ctx, ready, func(r store.Record[node.Node], gone bool) error {
			z.put(z.nodes, r.Name, r.Value.ExecutorZone, gone)
			return nil
		})
	})
	g.Go(func() error {
		return store.Records[store.Member](s, store.MemberPrefix("executor")).Follow(ctx, ready, func(r store.Record[store.Member], gone bool) error {
			z.put(z.executors, r.Name, r.Value.Zone, gone)
			return nil
		})
	})
	return g.Wait()
}

func (z *zones) put(of map[string]string, name, zone string, gone bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if of[name] = zone; gone {
		delete(of, name)
	}
}

// accepts tells whether a build is for an executor of the zone own; unzoned: it takes those of no zone, too. It is
// asked when known is closed.
func (z *zones) accepts(r *store.Request, own string, unzoned bool, look func(id string) (zone string)) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	want := ""
	for _, id := range r.Nodes {
		zone, known := z.nodes[id]
		if !known { // so new that we have not heard of it
			zone = look(id)
			z.nodes[id] = zone
		}
		if zone != "" {
			want = zone
		}
	}
	if want != "" {
		for _, zone := range z.executors {
			if zone == want {
				return own == want
			}
		}
	}
	return own == "" || unzoned
}

// zoneOf reads the zone of a node from the store.
func (x *Executor) zoneOf(ctx context.Context) func(id string) string {
	return func(id string) string {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		r, err := store.Records[node.Node](x.Store, node.Records).Get(ctx, id)
		if err != nil {
			return "" // whoever takes the build finds out
		}
		return r.Value.ExecutorZone
	}
}
