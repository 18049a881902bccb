package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/kv"
)

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
