package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/store"
)

// auditKept is how many records of a tenant are kept: the newest.
const auditKept = 2000

// audit is what a record says of what was wished: words to words; empty ones are left out.
type audit map[string]string

// audits are a tenant's records, by time.
func (s *Server) audits(tenant string) *store.Collection[api.Audit] {
	return store.Records[api.Audit](s.Store, "/audit/"+url.PathEscape(tenant)+"/")
}

// audited writes down who does what, before it is done. What came of it is added when the request ends.
func (s *Server) audited(r *request, action string, what any) error {
	if words, ok := what.(audit); ok {
		for k, v := range words {
			if v == "" {
				delete(words, k)
			}
		}
	}
	now := s.Now().UTC()
	r.audit = &api.Audit{At: now, Who: r.who, Tenant: r.tenant, Action: action, What: what}
	r.auditName = fmt.Sprintf("%s-%s", now.Format("20060102T150405.000000"), uuid.NewString())
	rec, err := s.audits(r.tenant).Put(r.Context(), r.auditName, *r.audit, 0)
	if err != nil {
		return err
	}
	r.auditMod = rec
	s.Log.Info("operator", "who", r.who, "tenant", r.tenant, "action", action, "what", what)
	return s.forgetAudits(r.Context(), r.tenant)
}

// concluded adds what came of it.
func (s *Server) concluded(r *request, err error) {
	if r.audit == nil {
		return
	}
	r.audit.Outcome = "done"
	if err != nil {
		r.audit.Outcome = err.Error()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTime)
	defer cancel()
	if _, perr := s.audits(r.tenant).Put(ctx, r.auditName, *r.audit, r.auditMod); perr != nil {
		s.Log.Error("the outcome of an operator's action is not in its record", "who", r.who, "action", r.audit.Action, "outcome", r.audit.Outcome, "error", perr)
	}
}

// forgetAudits keeps the newest.
func (s *Server) forgetAudits(ctx context.Context, tenant string) error {
	list, err := s.audits(tenant).List(ctx)
	if err != nil {
		return err
	}
	for i := 0; i < len(list)-auditKept; i++ {
		if err := s.audits(tenant).Delete(ctx, list[i].Name, list[i].Mod); err != nil && !isNotFound(err) {
			return err
		}
	}
	return nil
}

// listAudits tells what operators did, the newest first.
func (s *Server) listAudits(w http.ResponseWriter, r *request) error {
	limit := 100
	if v := r.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return badRequest("limit %q is no number above 0", v)
		}
		limit = n
	}
	list, err := s.audits(r.tenant).List(r.Context())
	if err != nil {
		return err
	}
	out := []api.Audit{}
	for _, rec := range list {
		out = append(out, rec.Value)
	}
	slices.SortStableFunc(out, func(a, b api.Audit) int { return b.At.Compare(a.At) })
	writeJSON(w, http.StatusOK, out[:min(limit, len(out))])
	return nil
}
