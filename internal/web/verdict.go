package web

import (
	"context"
	"errors"
	"slices"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/joblog"
)

// fine are results of builds about which there is nothing to explain.
var fine = []string{"SUCCESS", "SKIPPED", "CANCELED", ""}

// explainBuild says why a finished build failed, from what the executor said, the log and the history.
func (s *Server) explainBuild(r *request) (any, error) {
	b, err := s.History.Build(r.Context(), r.tenant, r.vars["uuid"])
	if err != nil {
		return nil, err
	}
	out := &api.ExplainedBuild{Build: wireBuild(b), Detail: b.Detail}
	if slices.Contains(fine, b.Result) {
		return out, nil
	}
	if out.Failure, err = s.failureOf(r.Context(), b.UUID); err != nil {
		return nil, err
	}
	n, err := s.History.Novelty(r.Context(), r.tenant, b)
	if err != nil {
		return nil, err
	}
	out.New, out.Novelty = n.New, n.String()
	if n.LastSuccess != nil {
		last := wireBuild(n.LastSuccess)
		out.LastSuccess = &last
	}
	return out, nil
}

// failureOf finds the task that failed in a log that is still kept.
func (s *Server) failureOf(ctx context.Context, build string) (*api.BuildFailure, error) {
	log, err := s.Logs.Open(ctx, build)
	if errors.Is(err, joblog.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer log.Close()
	f, err := log.Failure(ctx)
	if err != nil || f == nil {
		return nil, err
	}
	return &api.BuildFailure{Playbook: f.Playbook, Task: f.Task, Host: f.Host, Line: f.Line, Lines: append([]string{}, f.Lines...)}, nil
}
