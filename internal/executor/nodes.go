package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// StoreNodes are the nodes in the store's records, which the launcher follows.
type StoreNodes struct {
	Store *store.Store
	// HoldDefault is how long nodes are held where a hold request does not say, and HoldMax the bound of
	// what it can say; 0 is no bound.
	HoldDefault, HoldMax time.Duration
}

var _ Nodes = StoreNodes{}

// ErrNodeLost: a node is not there any more for the build that it was allocated to.
var ErrNodeLost = errors.New("lost to the build")

func (n StoreNodes) records() *store.Collection[node.Node] {
	return store.Records[node.Node](n.Store, node.Records)
}

// Use marks the nodes as in use by the build. It is no error if they are so already.
func (n StoreNodes) Use(ctx context.Context, ids []string, build pipeline.BuildID) ([]node.Node, error) {
	var out []node.Node
	for _, id := range ids {
		var got node.Node
		err := n.records().Change(ctx, id, func(v *node.Node, exists bool) (bool, error) {
			switch {
			case !exists:
				return false, fmt.Errorf("node %s is gone: %w", id, ErrNodeLost)
			case v.State == node.InUse && v.Build == string(build):
			case v.State != node.Ready:
				return true, fmt.Errorf("node %s is %s: %w", id, v.State, ErrNodeLost)
			default:
				v.State, v.Since, v.Build = node.InUse, time.Now(), string(build)
			}
			got = *v
			return true, nil
		})
		if err != nil {
			return nil, errors.Join(err, n.Release(ctx, ids[:len(out)], build, Release{Used: true}))
		}
		out = append(out, got)
	}
	return out, nil
}

// Release gives back those of the nodes that the build uses; others are somebody else's by now.
func (n StoreNodes) Release(ctx context.Context, ids []string, build pipeline.BuildID, how Release) error {
	var errs []error
	for _, id := range ids {
		err := n.records().Change(ctx, id, func(v *node.Node, exists bool) (bool, error) {
			if !exists {
				return false, nil
			}
			if v.State != node.InUse || v.Build != string(build) {
				return true, nil
			}
			v.State, v.Since = node.Used, time.Now()
			if !how.Used {
				v.State, v.Build = node.Ready, ""
			}
			if h := how.Hold; h != nil {
				v.State, v.HoldID, v.HoldReason, v.HoldUntil = node.Hold, h.ID, h.Reason, h.Until
			}
			return true, nil
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Hold finds the hold request that a failed build falls under, counts the build, and says how long its
// nodes stay. It is meant for Config.Hold.
func (n StoreNodes) Hold(ctx context.Context, s *pipeline.Start, tenant, _ string, end *pipeline.BuildEnded) *Hold {
	switch end.Result {
	case pipeline.Failure, pipeline.PostFailure, pipeline.TimedOut, pipeline.RetryLimit:
	default:
		return nil
	}
	requests := store.Records[node.HoldRequest](n.Store, node.HoldRecords)
	all, err := requests.List(ctx)
	if err != nil || len(all) == 0 {
		return nil // nodes are not worth a build that does not end
	}
	list := make([]node.HoldRequest, len(all))
	names := map[string]string{}
	for i, r := range all {
		list[i], names[r.Value.ID] = r.Value, r.Name
	}
	for _, c := range s.Changes {
		if len(s.Refs) == 0 || c.Key() != s.Refs[0] {
			continue
		}
		best := node.ChooseHold(list, tenant, c.Project.Canonical(), s.Job.Name, c.Ref)
		if best == nil {
			return nil
		}
		return n.count(ctx, requests, names[best.ID])
	}
	return nil
}

// count takes one of the builds that a request is good for; nil where others were faster.
func (n StoreNodes) count(ctx context.Context, requests *store.Collection[node.HoldRequest], name string) *Hold {
	var out *Hold
	now := time.Now()
	err := requests.Change(ctx, name, func(h *node.HoldRequest, exists bool) (bool, error) {
		out = nil
		if !exists || h.Count >= h.Max {
			return exists, nil
		}
		if h.Count++; h.Count == h.Max {
			h.Expired = now
		}
		out = &Hold{ID: h.ID, Reason: h.Reason, Until: h.HoldUntil(now, n.HoldDefault, n.HoldMax)}
		return true, nil
	})
	if err != nil {
		return nil
	}
	return out
}
