package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// answerTime bounds how long a request waits for the scheduler that owns the tenant.
const answerTime = 20 * time.Second

// operate has the owner of the tenant carry an operator's wish out, in its turn among all other events, and
// answers with what it says.
func (s *Server) operate(w http.ResponseWriter, r *request, action string, what audit, e event.Event) error {
	e.ID, e.Driver, e.Connection, e.Tenant, e.User = uuid.NewString(), "operator", "operator", r.tenant, r.who
	e.At, e.Received = s.Now(), s.Now()
	if err := s.audited(r, action, what); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	if err := s.Store.Ask(ctx, r.tenant, e); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, true)
	return nil
}

// named takes a change (number,patchset) or a ref into an event: exactly one of them.
func named(e *event.Event, id, ref string) error {
	switch {
	case (id == "") == (ref == ""):
		return badRequest("name a change or a ref, and not both")
	case id != "":
		var ok bool
		if e.Number, e.Patchset, ok = strings.Cut(id, ","); !ok || e.Number == "" || e.Patchset == "" {
			return badRequest("change %q is not of the form number,patchset", id)
		}
	default:
		e.Ref = ref
		if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
			e.Branch = branch
		}
	}
	return nil
}

func (s *Server) enqueue(w http.ResponseWriter, r *request) error {
	var q api.EnqueueRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	e := event.Event{Type: event.OperatorEnqueue, Project: change.Project{Name: r.vars["project"]}, Pipeline: q.Pipeline, Forced: true,
		OldRev: q.OldRev, NewRev: q.NewRev}
	if err := named(&e, q.Change, q.Ref); err != nil {
		return err
	}
	return s.operate(w, r, "enqueue", audit{"project": r.vars["project"], "pipeline": q.Pipeline, "change": q.Change, "ref": q.Ref, "oldrev": q.OldRev, "newrev": q.NewRev}, e)
}

func (s *Server) dequeue(w http.ResponseWriter, r *request) error {
	var q api.DequeueRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	e := event.Event{Type: event.OperatorDequeue, Project: change.Project{Name: r.vars["project"]}, Pipeline: q.Pipeline}
	if err := named(&e, q.Change, q.Ref); err != nil {
		return err
	}
	return s.operate(w, r, "dequeue", audit{"project": r.vars["project"], "pipeline": q.Pipeline, "change": q.Change, "ref": q.Ref}, e)
}

func (s *Server) promote(w http.ResponseWriter, r *request) error {
	var q api.PromoteRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	if len(q.Changes) == 0 {
		return badRequest("no changes to promote")
	}
	return s.operate(w, r, "promote", audit{"pipeline": q.Pipeline, "changes": strings.Join(q.Changes, " ")},
		event.Event{Type: event.OperatorPromote, Pipeline: q.Pipeline, Order: q.Changes})
}

func (s *Server) pause(w http.ResponseWriter, r *request) error {
	var q api.PauseRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	reason, action := strings.TrimSpace(q.Reason), "pause"
	if reason == "" {
		action = "resume"
	}
	return s.operate(w, r, action, audit{"pipeline": q.Pipeline, "reason": reason}, event.Event{Type: event.OperatorPause, Pipeline: q.Pipeline, Comment: reason})
}

func (s *Server) reconfigure(w http.ResponseWriter, r *request) error {
	var q api.ReconfigureRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	switch q.How {
	case "full", "smart", "tenant":
	default:
		return badRequest("how is full, smart or tenant, not %q", q.How)
	}
	return s.operate(w, r, "reconfigure", audit{"how": q.How}, event.Event{Type: event.OperatorReconfigure, Action: q.How})
}

// projectOf finds a project of the tenant by its name or canonical name.
func projectOf(st *pipeline.State, name string) (change.Project, error) {
	for canonical, p := range st.Tenant.Projects {
		if canonical == name || p.Project.Name == name {
			return p.Project, nil
		}
	}
	return change.Project{}, missing("there is no project %q", name)
}
