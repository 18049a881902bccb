package web

import (
	"fmt"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/history"
)

// graph shows a buildset's jobs in time: from its pipeline while it is there, else from the history.
func (s *Server) graph(r *request) (any, error) {
	id := r.vars["uuid"]
	if f := s.feeds.of(r.tenant); f != nil {
		for _, it := range f.snapshot(s.Now()).Items {
			if it.Buildset == id {
				g := api.Graph{Buildset: id, Tenant: r.tenant, Pipeline: it.Pipeline, Refs: it.Refs, Live: true, Jobs: slices.Clone(it.Jobs), EdgesKnown: true}
				return s.timed(g)
			}
		}
	}
	set, err := s.History.Buildset(r.Context(), r.tenant, id)
	if err != nil {
		return nil, err
	}
	builds, err := s.allBuilds(r.Context(), r.tenant, id)
	if err != nil {
		return nil, err
	}
	g := api.Graph{Buildset: id, Tenant: r.tenant, Pipeline: set.Pipeline, Result: set.Result, Refs: []api.Ref{}, Jobs: []api.Job{}}
	for _, ref := range set.Refs {
		g.Refs = append(g.Refs, pastRef(&ref))
	}
	names := map[string]bool{}
	g.EdgesKnown = len(builds) > 0
	for i := len(builds) - 1; i >= 0; i-- {
		b := &builds[i]
		if !b.Final {
			continue
		}
		j := pastJob(b)
		g.EdgesKnown = g.EdgesKnown && b.Edges != nil
		if names[j.ID] { // the job ran once for each change of a cycle
			j.ID += " " + b.Ref.Key
		}
		names[j.ID] = true
		g.Jobs = append(g.Jobs, j)
	}
	return s.timed(g)
}

// timed adds what timeline says.
func (s *Server) timed(g api.Graph) (any, error) {
	g.Now = s.Now()
	if err := newPlan(g.Jobs).analyse(&g); err != nil {
		return nil, fmt.Errorf("lay out buildset %s in time: %w", g.Buildset, err)
	}
	return g, nil
}

func pastRef(r *history.Ref) api.Ref {
	id := r.Ref
	switch {
	case r.Change != "":
		id = r.Change + "," + r.Patchset
	case r.NewRev != "":
		id = r.NewRev
	}
	return api.Ref{Key: r.Key, ID: id, Project: r.Project, Canonical: r.Canonical, Branch: r.Branch, Ref: r.Ref, URL: r.URL}
}

func pastJob(b *history.Build) api.Job {
	j := api.Job{ID: b.Job, Name: b.Job, Voting: b.Voting, State: "failure", Result: b.Result, Build: b.UUID, Tries: b.Attempt, Waiting: b.Waited,
		Detail: b.Detail, Queued: b.Queued, Started: b.Started, Ended: b.Ended, LogURL: b.LogURL}
	switch b.Result {
	case "SUCCESS":
		j.State = "success"
	case "SKIPPED":
		j.State = "skipped"
	case "CANCELED":
		j.State = "canceled"
	}
	if j.Started.IsZero() {
		j.Ended = time.Time{} // it never ran, and takes no place in the chart
	}
	if b.Edges != nil {
		j.ID, j.Semaphores = string(b.Edges.ID), b.Edges.Semaphores
		for _, d := range b.Edges.Dependencies {
			j.Depends = append(j.Depends, api.Edge{Job: string(d.Job), Soft: d.Soft})
		}
	}
	return j
}
