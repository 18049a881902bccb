package launcher

import (
	"context"
	"fmt"
	"net/url"
	"sync"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/store"
)

// OfferPrefix is where launchers tell, under their leases, what their providers offer.
const OfferPrefix = "/provider/"

// Offer is the record of a provider.
type Offer struct {
	Name     string       `json:"name"`
	Launcher string       `json:"launcher"`
	Labels   []node.Label `json:"labels"`
	MaxNodes int          `json:"max_nodes,omitempty"`
}

// offer writes the record of a provider.
func (l *Launcher) offer(ctx context.Context, p provider.Provider) error {
	o := Offer{Name: p.Name(), Launcher: l.cfg.ID, Labels: p.Labels(), MaxNodes: l.cfg.MaxNodes[p.Name()]}
	_, err := l.st.Write(ctx, l.fences[p.Name()], kv.PutLease(OfferPrefix+url.PathEscape(p.Name()), store.Encode(o), l.cfg.Session.Lease()))
	if err != nil {
		return fmt.Errorf("offer provider %s: %w", p.Name(), err)
	}
	return nil
}

// offers are those of all launchers.
type offers struct {
	mu    sync.Mutex
	ready bool
	have  map[string]Offer
}

func newOffers() *offers { return &offers{have: map[string]Offer{}} }

func (o *offers) follow(ctx context.Context, st *store.Store) error {
	ready := func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ready = true
	}
	return store.Records[Offer](st, OfferPrefix).Follow(ctx, ready, func(r store.Record[Offer], gone bool) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if gone {
			delete(o.have, r.Name)
		} else {
			o.have[r.Name] = r.Value
		}
		return nil
	})
}

// any tells whether somebody can serve a request; as long as that is not known, it is so.
func (o *offers) any(body *pipeline.RequestNodes) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.have {
		if can(f.Name, f.Labels, body) {
			return true
		}
	}
	return !o.ready
}
