package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

const auditPrefix = "/audit/"

// Audit is the record of something that an operator did.
type Audit struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Tenant string    `json:"tenant"`
	Action string    `json:"action"`
	What   any       `json:"what"`
}

// audited writes down who does what, before it is done.
func (s *Server) audited(r *request, action string, what any) error {
	now := s.Now().UTC()
	a := Audit{At: now, Who: r.who, Tenant: r.tenant, Action: action, What: what}
	name := fmt.Sprintf("%s-%s", now.Format("20060102T150405.000"), uuid.NewString())
	if _, err := store.Records[Audit](s.Store, auditPrefix).Put(r.Context(), name, a, 0); err != nil {
		return err
	}
	s.Log.Info("operator", "who", a.Who, "tenant", a.Tenant, "action", action, "what", what)
	return nil
}

// pipe is a pipeline that an operator named.
func (s *Server) pipe(r *request, name string) (*pipeline.State, error) {
	if st := s.feeds.state(r.tenant, name); st != nil {
		return st, nil
	}
	return nil, missing("pipeline %s", name)
}

// projectOf finds a project of the tenant by its name or canonical name.
func projectOf(st *pipeline.State, name string) (change.Project, error) {
	for canonical, p := range st.Tenant.Projects {
		if canonical == name || p.Project.Name == name {
			return p.Project, nil
		}
	}
	return change.Project{}, missing("project %s", name)
}

// enqueued finds the key of a change or ref in a pipeline.
func enqueued(st *pipeline.State, project, id, ref string) (change.Key, error) {
	for _, it := range st.Items {
		for _, k := range it.Changes {
			c := st.Changes[k]
			if c == nil || (project != "" && c.Project.Name != project && c.Project.Canonical() != project) {
				continue
			}
			if (id != "" && c.IsChange() && c.ID() == id) || (ref != "" && !c.IsChange() && c.Ref == ref) {
				return k, nil
			}
		}
	}
	return "", missing("%s%s of %s in pipeline %s", id, ref, project, st.Settings.Name)
}

func (s *Server) enqueue(w http.ResponseWriter, r *request) error {
	var q api.EnqueueRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	st, err := s.pipe(r, q.Pipeline)
	if err != nil {
		return err
	}
	p, err := projectOf(st, r.vars["project"])
	if err != nil {
		return err
	}
	e := event.Event{ID: uuid.NewString(), Connection: p.Connection, Driver: "operator", Type: event.OperatorEnqueue, Project: p, Received: s.Now(),
		Tenant: r.tenant, Pipeline: q.Pipeline, Forced: true, User: r.who}
	switch {
	case (q.Change == "") == (q.Ref == ""):
		return badRequest("name a change or a ref, and not both")
	case q.Change != "":
		var ok bool
		if e.Number, e.Patchset, ok = strings.Cut(q.Change, ","); !ok {
			return badRequest("change %q is not of the form number,patchset", q.Change)
		}
	default:
		e.Ref, e.OldRev, e.NewRev = q.Ref, q.OldRev, q.NewRev
		e.Branch, _ = strings.CutPrefix(q.Ref, "refs/heads/")
		if e.Branch == q.Ref {
			e.Branch = ""
		}
	}
	if err := s.audited(r, "enqueue", q); err != nil {
		return err
	}
	if err := s.Store.AppendEvent(r.Context(), []string{r.tenant}, e); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, true)
	return nil
}

func (s *Server) dequeue(w http.ResponseWriter, r *request) error {
	var q api.DequeueRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	if (q.Change == "") == (q.Ref == "") {
		return badRequest("name a change or a ref, and not both")
	}
	st, err := s.pipe(r, q.Pipeline)
	if err != nil {
		return err
	}
	k, err := enqueued(st, r.vars["project"], q.Change, q.Ref)
	if err != nil {
		return err
	}
	return s.order(w, r, "dequeue", q.Pipeline, q, &pipeline.Dequeue{Key: k})
}

func (s *Server) promote(w http.ResponseWriter, r *request) error {
	var q api.PromoteRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	st, err := s.pipe(r, q.Pipeline)
	if err != nil {
		return err
	}
	if len(q.Changes) == 0 {
		return badRequest("no changes to promote")
	}
	in := &pipeline.Promote{}
	for _, id := range q.Changes {
		k, err := enqueued(st, "", id, "")
		if err != nil {
			return err
		}
		in.Keys = append(in.Keys, k)
	}
	for _, c := range st.Changes {
		in.Changes = append(in.Changes, c)
	}
	return s.order(w, r, "promote", q.Pipeline, q, in)
}

func (s *Server) pause(w http.ResponseWriter, r *request) error {
	var q api.PauseRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	if _, err := s.pipe(r, q.Pipeline); err != nil {
		return err
	}
	return s.order(w, r, "pause", q.Pipeline, q, &pipeline.Pause{Reason: q.Reason})
}

// order writes an operator's wish into the pipeline's inbox.
func (s *Server) order(w http.ResponseWriter, r *request, action, pipe string, what any, in pipeline.Input) error {
	if err := s.audited(r, action, what); err != nil {
		return err
	}
	if err := s.Store.Send(r.Context(), r.tenant, pipe, in); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, true)
	return nil
}
