package web

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// locks are those that pipelines of the tenant share, and those that somebody still holds.
func (s *Server) locks(r *request) (any, error) {
	sem, _, err := s.Store.Semaphores(r.Context(), r.tenant)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	all := map[string]*api.Lock{}
	lock := func(name string) *api.Lock {
		if all[name] == nil {
			all[name] = &api.Lock{Name: name, Pipelines: []api.LockUse{}, Waiting: []api.LockParty{}, Past: []api.LockHeld{}, Now: now}
		}
		return all[name]
	}
	states := map[string]*pipeline.State{}
	for _, st := range s.feeds.all(r.tenant) {
		states[st.Settings.Name] = st
		if l := st.Settings.Lock; l != nil {
			out := lock(l.Name)
			out.Ageing = l.Ageing
			out.Pipelines = append(out.Pipelines, api.LockUse{Pipeline: st.Settings.Name, Precedence: cmp.Or(l.Precedence, "normal")})
		}
	}
	for name, l := range sem.Locks {
		if all[name] == nil && l.Holder == nil && len(l.Waiting) == 0 {
			continue // of another time
		}
		out := lock(name)
		out.Use = l.Use(now)
		for _, h := range l.Past {
			out.Past = append(out.Past, api.LockHeld{Pipeline: h.Pipeline, From: h.From, To: h.To})
		}
		for _, w := range l.Order(now) {
			out.Waiting = append(out.Waiting, s.party(r, states, w))
		}
		if h := l.Holder; h != nil {
			p := s.party(r, states, pipeline.Waiter{Pipeline: h.Pipeline, Item: h.Item, Buildset: h.Buildset, Since: h.Since})
			out.Holder = &p
		}
	}
	list := slices.SortedFunc(maps.Values(all), func(a, b *api.Lock) int { return strings.Compare(a.Name, b.Name) })
	for _, l := range list {
		slices.SortFunc(l.Pipelines, func(a, b api.LockUse) int { return strings.Compare(a.Pipeline, b.Pipeline) })
	}
	return append([]*api.Lock{}, list...), nil
}

// party tells of a buildset what its pipeline knows.
func (s *Server) party(r *request, states map[string]*pipeline.State, w pipeline.Waiter) api.LockParty {
	out := api.LockParty{Pipeline: w.Pipeline, Item: string(w.Item), Buildset: string(w.Buildset), Precedence: w.Precedence, Since: w.Since, Refs: []api.Ref{}}
	st := states[w.Pipeline]
	if st == nil || st.Items[w.Item] == nil {
		return out
	}
	it := st.Items[w.Item]
	for _, k := range it.Changes {
		out.Refs = append(out.Refs, convertRef(st.Changes[k], k))
	}
	usual, err := s.feeds.estimates.of(r.Context(), r.tenant, st)
	if err != nil {
		s.Log.Warn("no estimates", "tenant", r.tenant, "pipeline", w.Pipeline, "error", err)
	}
	out.Ends = newPlan(convertJobs(it.Buildset, st.Changes, usual)).ends(s.Now())
	return out
}
