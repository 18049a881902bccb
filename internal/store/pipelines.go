package store

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/kv"
)

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
