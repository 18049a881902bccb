package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// maxObserved bounds what is read of one build, in bytes.
const maxObserved = 64 << 20

// races compares what the finished jobs of a buildset were seen to do.
func (s *Server) races(r *request) (any, error) {
	id := r.vars["uuid"]
	if _, err := s.History.Buildset(r.Context(), r.tenant, id); err != nil {
		return nil, err
	}
	builds, err := s.allBuilds(r.Context(), r.tenant, id)
	if err != nil {
		return nil, err
	}
	out := api.Races{Buildset: id, Observed: []string{}, Missing: []string{}, Races: []deps.Race{}}
	exclusive := s.exclusive(r.tenant)
	var ran []deps.Ran
	for i := range builds {
		b := &builds[i]
		if !b.Final || b.Edges == nil {
			continue
		}
		j := deps.Ran{Job: string(b.Edges.ID)}
		for _, d := range b.Edges.Dependencies {
			j.After = append(j.After, string(d.Job))
		}
		for _, n := range b.Edges.Semaphores {
			if exclusive(n) {
				j.Exclusive = append(j.Exclusive, n)
			}
		}
		if !b.Started.IsZero() {
			switch j.Observed, err = s.observed(r.Context(), b.UUID); {
			case errors.Is(err, joblog.ErrNotFound):
				out.Missing = append(out.Missing, j.Job)
			case err != nil:
				return nil, err
			default:
				out.Observed = append(out.Observed, j.Job)
			}
		}
		ran = append(ran, j)
	}
	out.Races = append(out.Races, deps.Races(ran)...)
	return out, nil
}

func (s *Server) observed(ctx context.Context, build string) (out []deps.Observed, err error) {
	f, err := s.Logs.Attached(ctx, build, deps.ObservedFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxObserved)).Decode(&out); err != nil {
		return nil, fmt.Errorf("read what build %s was seen to do: %w", build, err)
	}
	return out, nil
}

// exclusive tells which names of semaphores and resources only one job can hold at a time.
func (s *Server) exclusive(tenant string) func(string) bool {
	known := map[string]int{}
	for _, st := range s.feeds.all(tenant) {
		for name, sem := range st.Tenant.Semaphores {
			known[name] = sem.Max
		}
	}
	return func(name string) bool {
		n, ok := known[name]
		return !ok || n == 1 || strings.HasPrefix(name, pipeline.ResourcePrefix)
	}
}
