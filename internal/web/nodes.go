package web

import (
	"cmp"
	"net/http"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/store"
)

// nodes are those that this tenant uses, and those that nobody does yet.
func (s *Server) nodes(r *request) (any, error) {
	list, err := s.nodeRecords().List(r.Context())
	if err != nil {
		return nil, err
	}
	out := []api.Node{}
	for _, rec := range list {
		if n := rec.Value; n.Tenant == "" || n.Tenant == r.tenant {
			out = append(out, wireNode(&n))
		}
	}
	return out, nil
}

func wireNode(n *node.Node) api.Node {
	out := api.Node{ID: n.ID, UUID: n.ID, Type: []string{n.Label}, Label: n.Label, Connection: cmp.Or(n.Connection, "ssh"), External: n.External, Provider: n.Provider,
		State: string(n.State), StateTime: *seconds(n.Since), Comment: cmp.Or(n.HoldReason, n.Error), Made: *seconds(n.Made),
		Tenant: n.Tenant, Project: n.Project, Job: n.Job, Build: n.Build, Request: n.Request, Hold: n.HoldID,
		Host: n.Host, Port: n.Port, User: n.User, Features: n.Features}
	if !n.HoldUntil.IsZero() {
		out.HoldUntil = seconds(n.HoldUntil)
	}
	return out
}

// ownNode finds a node that this tenant uses or that nobody does; another's is not there.
func (s *Server) ownNode(r *request) (*node.Node, error) {
	rec, err := s.nodeRecords().Get(r.Context(), r.vars["id"])
	if isNotFound(err) || (err == nil && rec.Value.Tenant != "" && rec.Value.Tenant != r.tenant) {
		return nil, missing("tenant %s uses no node %q", r.tenant, r.vars["id"])
	}
	return &rec.Value, err
}

// changeNode alters the record of a node that this tenant uses or nobody does; the launcher that has it follows.
func (s *Server) changeNode(r *request, id string, change func(*node.Node) error) error {
	return s.nodeRecords().Change(r.Context(), id, func(n *node.Node, exists bool) (bool, error) {
		if !exists || n.Tenant != "" && n.Tenant != r.tenant { // it may have been given to another one meanwhile
			return false, missing("tenant %s uses no node %q", r.tenant, id)
		}
		return true, change(n)
	})
}

func (s *Server) node(r *request) (any, error) {
	n, err := s.ownNode(r)
	if err != nil {
		return nil, err
	}
	return wireNode(n), nil
}

// holdNode keeps a node for people: at once where it is ready or used, and when its build ends where one
// uses it.
func (s *Server) holdNode(w http.ResponseWriter, r *request) error {
	var q api.NodeHoldRequest
	if err := r.decode(w, &q); err != nil {
		return err
	}
	switch {
	case q.Reason == "":
		return badRequest("reason is missing: say what the node is kept for, and by whom")
	case q.Expiration < 0:
		return badRequest("node_hold_expiration is 0 or more seconds")
	}
	n, err := s.ownNode(r)
	if err != nil {
		return err
	}
	if err := s.audited(r, "node-hold", map[string]any{"node": n.ID, "reason": q.Reason, "expiration": q.Expiration}); err != nil {
		return err
	}
	err = s.changeNode(r, n.ID, func(n *node.Node) error {
		switch n.State {
		case node.Ready, node.InUse, node.Used, node.Hold:
		default:
			return badRequest("node %s is %s: only a node that is ready, in use or used can be held", n.ID, n.State)
		}
		if n.State == node.Ready && n.Request != "" {
			return badRequest("node %s is about to be used by job %s: hold it when that runs", n.ID, n.Job)
		}
		now := s.Now().UTC()
		n.State, n.Since, n.HoldID, n.HoldReason, n.HoldUntil = node.Hold, now, "", q.Reason, time.Time{}
		n.Tenant = r.tenant
		if q.Expiration > 0 {
			n.HoldUntil = now.Add(time.Duration(q.Expiration) * time.Second)
		}
		return nil
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, true)
	return nil
}

// deleteNode gives a node up: it is deleted, or looked at and used again where its label keeps it. A node
// that a build uses is only with force.
func (s *Server) deleteNode(w http.ResponseWriter, r *request) error {
	n, err := s.ownNode(r)
	if err != nil {
		return err
	}
	force := r.URL.Query().Get("force") == "true"
	if err := s.audited(r, "node-delete", map[string]any{"node": n.ID, "force": force}); err != nil {
		return err
	}
	err = s.changeNode(r, n.ID, func(n *node.Node) error {
		if n.State == node.InUse && !force {
			return badRequest("node %s is used by build %s, which would fail; delete it with force all the same", n.ID, n.Build)
		}
		if n.State != node.Deleting {
			n.State, n.Since = node.Used, s.Now().UTC()
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// nodeKey is the public key that nodes must let in, as a line of authorized_keys.
func (s *Server) nodeKey(w http.ResponseWriter, r *request) error {
	k, err := s.sshKeyOfNodes(r)
	if err != nil {
		return err
	}
	text(w, k.Public+"\n")
	return nil
}

func (s *Server) sshKeyOfNodes(r *request) (node.SSHKey, error) {
	prefix, name := node.KeyRecord[:len("/key/")], node.KeyRecord[len("/key/"):]
	rec, err := store.Records[node.SSHKey](s.Store, prefix).Get(r.Context(), name)
	if isNotFound(err) {
		err = missing("there is no key for nodes: no launcher has run yet")
	}
	return rec.Value, err
}
