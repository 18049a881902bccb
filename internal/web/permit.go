package web

import (
	"context"
	"errors"
	"fmt"

	"github.com/gozer-ci/gozer/internal/auth"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// permit refuses tenants that do not exist and people who may not.
func (s *Server) permit(r *request, rt *route) error {
	if r.tenant != "" {
		if err := s.knownTenant(r.Context(), r.tenant); err != nil {
			return err
		}
	}
	build, ofBuild := r.vars["uuid"]
	switch {
	case rt.admin:
		return s.permitAdmin(r)
	case rt.open:
		return nil
	case ofBuild && r.tenant == "":
		return s.permitBuild(r, build)
	}
	return s.permitReading(r, r.tenant)
}

func (s *Server) permitAdmin(r *request) error {
	id, err := s.Auth.Who(r.Request)
	if err != nil {
		return err
	}
	switch ok, err := s.Auth.Admin(r.Context(), id, r.tenant); {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: %s is no admin of tenant %s", auth.ErrForbidden, id.Name, r.tenant)
	}
	r.who = id.Name
	return nil
}

// permitReading lets those read of tenants ("": of the API as a whole) whom all of them let.
func (s *Server) permitReading(r *request, tenants ...string) error {
	for _, t := range tenants {
		if public, err := s.Auth.Public(r.Context(), t); err != nil || public {
			if err != nil {
				return err
			}
			continue
		}
		id, err := s.Auth.Who(r.Request)
		if err != nil {
			return err
		}
		switch ok, err := s.Auth.Reads(r.Context(), id, t); {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("%w: %s may not read here", auth.ErrForbidden, id.Name)
		}
		r.private = true
	}
	return nil
}

// permitBuild is about a build of which only the number is known. One of which nobody knows yet whose it is may be
// that of any tenant.
func (s *Server) permitBuild(r *request, build string) error {
	names, err := s.tenantNames(r.Context())
	if err != nil {
		return err
	}
	var closed []string
	for _, t := range names {
		public, err := s.Auth.Public(r.Context(), t)
		if err != nil {
			return err
		}
		if !public {
			closed = append(closed, t)
		}
	}
	if len(closed) == 0 {
		return nil
	}
	for _, t := range names {
		if has, err := s.hasBuild(r.Context(), t, build); err != nil {
			return err
		} else if has {
			return s.permitReading(r, t)
		}
	}
	return s.permitReading(r, closed...)
}

// hasBuild tells whether a build is, or was, one of the tenant.
func (s *Server) hasBuild(ctx context.Context, tenant, build string) (bool, error) {
	for _, st := range s.feeds.all(tenant) {
		for _, it := range st.Items {
			if runs(it.Buildset, build) {
				return true, nil
			}
		}
	}
	_, err := s.History.Build(ctx, tenant, build)
	if errors.Is(err, history.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func runs(set *pipeline.Buildset, build string) bool {
	if set == nil {
		return false
	}
	for _, j := range set.Jobs {
		if j.Build != nil && string(j.Build.ID) == build {
			return true
		}
	}
	return false
}
