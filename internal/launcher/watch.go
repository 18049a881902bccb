package launcher

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/store"
)

// watch asks a provider from time to time what it has.
func (l *Launcher) watch(ctx context.Context, p provider.Provider) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.cfg.ListEvery):
		}
		in, err := list(ctx, p)
		if err != nil {
			if ctx.Err() == nil {
				l.log.Warn("provider does not tell what it has", "provider", p.Name(), "err", err)
			}
			continue
		}
		l.say(ctx, in)
	}
}

func list(ctx context.Context, p provider.Provider) (*node.Listed, error) {
	in := &node.Listed{Provider: p.Name(), Asked: time.Now()}
	all, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		in.Instances = append(in.Instances, i.ID)
	}
	return in, nil
}

// sweep finds nodes that are kept for nothing: in use by a build that is over, because its executor
// vanished; held for a hold request that was deleted. What is found twice in a row is taken back: an
// executor may be about to say what becomes of its nodes.
func (l *Launcher) sweep(ctx context.Context) error {
	suspects := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.cfg.ListEvery):
		}
		found, err := l.abandoned(ctx)
		if err != nil {
			if ctx.Err() == nil {
				l.log.Warn("nodes cannot be looked through", "err", err)
			}
			continue
		}
		for id := range found {
			if suspects[id] {
				l.log.Info("node was left in use or held for nothing", "node", id)
				l.say(ctx, &node.Abandoned{Node: id})
			}
		}
		suspects = found
		if err := l.forgetHolds(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("hold requests cannot be looked through", "err", err)
		}
	}
}

// expiredFor is how long a hold request that was used up can still be looked at.
const expiredFor = 24 * time.Hour

// forgetHolds removes hold requests that were used up long ago and for which no node is kept.
func (l *Launcher) forgetHolds(ctx context.Context) error {
	holds := store.Records[node.HoldRequest](l.st, node.HoldRecords)
	all, err := holds.List(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	nodes, err := store.Records[node.Node](l.st, node.Records).List(ctx)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, n := range nodes {
		kept[n.Value.HoldID] = true
	}
	for _, r := range all {
		h := r.Value
		if h.Expired.IsZero() || time.Since(h.Expired) < expiredFor || kept[h.ID] {
			continue
		}
		if err := holds.Delete(ctx, r.Name, r.Mod); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}

// abandoned lists the nodes of ours that are kept for something that is not there.
func (l *Launcher) abandoned(ctx context.Context) (map[string]bool, error) {
	all, err := store.Records[node.Node](l.st, node.Records).List(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, r := range all {
		n := r.Value
		if l.providers[n.Provider] == nil {
			continue
		}
		var key string
		switch {
		case n.State == node.InUse && n.Build != "":
			key = store.RequestPrefix(store.KindBuild) + url.PathEscape(n.Build)
		case n.State == node.Hold && n.HoldID != "":
			key = node.HoldRecords + n.HoldID
		default:
			continue
		}
		if _, there, err := kv.Get(ctx, l.st.KV(), key); err != nil {
			return nil, err
		} else if !there {
			found[n.ID] = true
		}
	}
	return found, nil
}
