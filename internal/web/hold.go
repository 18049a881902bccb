package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/store"
)

func (s *Server) holdRequests() *store.Collection[node.HoldRequest] {
	return store.Records[node.HoldRequest](s.Store, node.HoldRecords)
}

func (s *Server) nodeRecords() *store.Collection[node.Node] {
	return store.Records[node.Node](s.Store, node.Records)
}

// autohold writes a hold request down; executors read it when a build fails. As in Zuul the answer is
// true; where the request can be read is in the Location header.
func (s *Server) autohold(w http.ResponseWriter, r *request) error {
	var q api.AutoholdRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	switch {
	case q.Job == "":
		return badRequest("job is missing")
	case q.Reason == "":
		return badRequest("reason is missing: say what the nodes are kept for, and by whom")
	case q.Change != "" && q.Ref != "":
		return badRequest("name a change or a ref, not both")
	case q.Count < 0 || q.Expiration < 0:
		return badRequest("count and node_hold_expiration are 0 or more")
	}
	p, err := s.anyProject(r.tenant, r.vars["project"])
	if err != nil {
		return err
	}
	h := node.HoldRequest{ID: "h" + randomID(), Tenant: r.tenant, Project: p.Canonical(), Job: q.Job, RefFilter: ".*", Max: max(q.Count, 1),
		Reason: q.Reason, NodeExpiration: time.Duration(q.Expiration) * time.Second, Made: s.Now().UTC()}
	switch {
	case q.Ref != "":
		h.RefFilter = regexp.QuoteMeta(q.Ref)
	case q.Change != "":
		if h.RefFilter, err = s.changeRefs(p, q.Change); err != nil {
			return err
		}
	}
	if err := s.audited(r, "autohold", h); err != nil {
		return err
	}
	if _, err := s.holdRequests().Put(r.Context(), h.ID, h, 0); err != nil {
		return err
	}
	w.Header().Set("Location", fmt.Sprintf("%s/api/tenant/%s/autohold/%s", s.Public, r.tenant, h.ID))
	writeJSON(w, http.StatusOK, true)
	return nil
}

func randomID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// anyProject finds a project of the tenant in whatever pipeline.
func (s *Server) anyProject(tenant, name string) (change.Project, error) {
	for _, st := range s.feeds.all(tenant) {
		if p, err := projectOf(st, name); err == nil {
			return p, nil
		}
	}
	return change.Project{}, missing("tenant %s has no project %q", tenant, name)
}

// changeRefs is the filter for the refs of all patch sets of a change ("number" or "number,patchset"), as
// the forge of the project names them.
func (s *Server) changeRefs(p change.Project, id string) (string, error) {
	n, _, _ := strings.Cut(id, ",")
	number, err := strconv.Atoi(n)
	if err != nil || number <= 0 {
		return "", badRequest("change %q is no number", id)
	}
	driver := ""
	for _, c := range s.Connections {
		if c.Name == p.Connection {
			driver = c.Driver
		}
	}
	switch driver {
	case "github", "gitea", "pagure":
		return fmt.Sprintf("refs/pull/%d/head", number), nil
	case "gitlab":
		return fmt.Sprintf("refs/merge-requests/%d/head", number), nil
	}
	return fmt.Sprintf("refs/changes/%02d/%d/.*", number%100, number), nil
}

// wireHold tells of a hold request in Zuul's words.
func wireHold(h *node.HoldRequest, held []node.Node) api.Autohold {
	out := api.Autohold{ID: h.ID, Tenant: h.Tenant, Project: h.Project, Job: h.Job, RefFilter: h.RefFilter, MaxCount: h.Max,
		CurrentCount: h.Count, Reason: h.Reason, NodeExpiration: int(h.NodeExpiration.Seconds()), Nodes: []api.Held{}}
	if !h.Expired.IsZero() {
		out.Expired = seconds(h.Expired)
	}
	for _, n := range held {
		if n.HoldID != h.ID {
			continue
		}
		i := slices.IndexFunc(out.Nodes, func(x api.Held) bool { return x.Build == n.Build })
		if i < 0 {
			i = len(out.Nodes)
			out.Nodes = append(out.Nodes, api.Held{Build: n.Build})
		}
		out.Nodes[i].Nodes = append(out.Nodes[i].Nodes, n.ID)
	}
	return out
}

// held are the nodes that are kept for people.
func (s *Server) held(ctx context.Context) ([]node.Node, error) {
	all, err := s.nodeRecords().List(ctx)
	var out []node.Node
	for _, r := range all {
		if r.Value.State == node.Hold {
			out = append(out, r.Value)
		}
	}
	return out, err
}

func (s *Server) listHolds(ctx context.Context, keep func(*node.HoldRequest) bool) ([]api.Autohold, error) {
	list, err := s.holdRequests().List(ctx)
	if err != nil {
		return nil, err
	}
	held, err := s.held(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b store.Record[node.HoldRequest]) int { return a.Value.Made.Compare(b.Value.Made) })
	out := []api.Autohold{}
	for i := range list {
		if h := &list[i].Value; keep(h) {
			out = append(out, wireHold(h, held))
		}
	}
	return out, nil
}

func (s *Server) holds(r *request) (any, error) {
	return s.listHolds(r.Context(), func(h *node.HoldRequest) bool { return h.Tenant == r.tenant })
}

func (s *Server) projectHolds(r *request) (any, error) {
	p := r.vars["project"]
	return s.listHolds(r.Context(), func(h *node.HoldRequest) bool {
		return h.Tenant == r.tenant && (h.Project == p || strings.HasSuffix(h.Project, "/"+p))
	})
}

func (s *Server) readHold(r *request) (store.Record[node.HoldRequest], error) {
	rec, err := s.holdRequests().Get(r.Context(), r.vars["id"])
	if isNotFound(err) || (err == nil && rec.Value.Tenant != r.tenant) {
		err = missing("tenant %s has no hold %q", r.tenant, r.vars["id"])
	}
	return rec, err
}

func (s *Server) hold(r *request) (any, error) {
	rec, err := s.readHold(r)
	if err != nil {
		return nil, err
	}
	held, err := s.held(r.Context())
	return wireHold(&rec.Value, held), err
}

// dropHold ends a hold request, and gives back the nodes that are kept for it.
func (s *Server) dropHold(w http.ResponseWriter, r *request) error {
	rec, err := s.readHold(r)
	if err != nil {
		return err
	}
	if err := s.audited(r, "autohold-delete", rec.Value.ID); err != nil {
		return err
	}
	err = s.holdRequests().Delete(r.Context(), rec.Name, rec.Mod)
	if err != nil && !isNotFound(err) {
		return err
	}
	held, err := s.held(r.Context())
	if err != nil {
		return err
	}
	for _, n := range held {
		if n.HoldID != rec.Value.ID {
			continue
		}
		if err := s.changeNode(r, n.ID, func(n *node.Node) error {
			if n.State == node.Hold {
				n.State, n.Since = node.Used, s.Now().UTC()
			}
			return nil
		}); err != nil && !isNotFound(err) {
			return err // whoever looks through held nodes finds those that are left
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
