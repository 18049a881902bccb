package web

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// explain says why a change, a ref or an item is where it is, in every pipeline of the tenant.
func (s *Server) explain(r *request) (any, error) {
	of := r.URL.Query().Get("of")
	if of == "" {
		return nil, badRequest("say with of= which change, ref or item is meant")
	}
	sem, err := holders(r.Context(), s.Store, r.tenant)
	if err != nil {
		return nil, err
	}
	states := s.feeds.all(r.tenant)
	slices.SortFunc(states, func(a, b *pipeline.State) int {
		return cmp.Or(position(&a.Settings)-position(&b.Settings), strings.Compare(a.Settings.Name, b.Settings.Name))
	})
	out := &api.Explained{Items: []api.ExplainedItem{}}
	var about *change.Change
	var absent []*pipeline.State
	for _, st := range states {
		found := false
		for _, q := range st.Queues {
			for _, id := range q.Items {
				it := st.Items[id]
				c := meant(st, it, of)
				if c == nil {
					continue
				}
				found = found || it.Live
				about = cmp.Or(about, c)
				x, err := s.explainItem(r, st, it, sem)
				if err != nil {
					return nil, err
				}
				out.Items = append(out.Items, x)
			}
		}
		for _, c := range st.Changes {
			if about == nil && is(c, of) {
				about = c
			}
		}
		if !found {
			absent = append(absent, st)
		}
	}
	if about == nil {
		return nil, missing("no pipeline of tenant %s knows of %s", r.tenant, of)
	}
	for _, st := range absent {
		if about.IsChange() && !slices.ContainsFunc(out.Items, func(x api.ExplainedItem) bool { return x.Item == of }) {
			why := cmp.Or(pipeline.Refusal(st, about, s.Now(), false), "Nothing keeps it out: no event that triggers this pipeline has come for it, or it has left already.")
			out.Elsewhere = append(out.Elsewhere, api.ExplainedAbsence{Pipeline: st.Settings.Name, Why: why})
		}
	}
	return out, nil
}

// meant is the change of the item that the words name; nil: another item is meant.
func meant(st *pipeline.State, it *pipeline.Item, of string) *change.Change {
	for _, k := range it.Changes {
		if c := st.Changes[k]; c != nil && (string(it.ID) == of || is(c, of)) {
			return c
		}
	}
	return nil
}

func is(c *change.Change, of string) bool {
	if c.IsChange() {
		return c.Number == of || c.ID() == of || c.Commit == of || c.URL == of
	}
	return c.Ref == of || c.NewRev == of || c.Branch == of
}

func (s *Server) explainItem(r *request, st *pipeline.State, it *pipeline.Item, sem *pipeline.Semaphores) (api.ExplainedItem, error) {
	e := pipeline.Explain(st, sem, it.ID)
	out := api.ExplainedItem{Item: string(it.ID), Pipeline: st.Settings.Name, Refs: []api.Ref{}, Why: e.Why, Jobs: []api.ExplainedJob{}}
	for _, k := range it.Changes {
		out.Refs = append(out.Refs, convertRef(st.Changes[k], k))
	}
	jobs := convertJobs(it.Buildset, st.Changes, func(string, string) time.Duration { return 0 })
	out.State = itemState(st, it, jobs)
	runs := map[string]bool{}
	for i, j := range e.Jobs {
		runs[j.Name] = true
		out.Jobs = append(out.Jobs, api.ExplainedJob{Name: j.Name, State: jobs[i].State, Why: j.Why})
	}
	if s.Layouts == nil || it.Layout == "" || !it.Live || it.Buildset.Graph == nil {
		return out, nil
	}
	left, err := s.Layouts.LeftOut(r.Context(), r.tenant, it.Layout, st.Settings.Name, pipeline.Changes(st, it), it.Event)
	if err != nil && !isNotFound(err) {
		return out, err
	}
	out.LeftOut = slices.DeleteFunc(left, func(j api.ExplainedJob) bool { return runs[j.Name] })
	return out, nil
}

// holders are those of a tenant's semaphores and of the global ones.
func holders(ctx context.Context, st *store.Store, tenant string) (*pipeline.Semaphores, error) {
	own, _, err := st.Semaphores(ctx, tenant)
	if err != nil {
		return nil, err
	}
	global, _, err := st.Semaphores(ctx, "")
	if err != nil {
		return nil, err
	}
	out := &pipeline.Semaphores{Holders: map[string][]pipeline.Holder{}, Locks: own.Locks}
	maps.Copy(out.Holders, global.Holders)
	maps.Copy(out.Holders, own.Holders)
	return out, nil
}
