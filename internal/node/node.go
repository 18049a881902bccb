// Package node is the life of test nodes as plain data and pure functions: nodes and their states, and
// requests for them. Making and deleting nodes is the business of providers; deciding when, that of the
// launcher, by the rules here. See semantics 8.4.
package node

import (
	"time"

	"github.com/gozer-ci/gozer/internal/job"
)

// State of a node.
type State string

// The states of a node, in the order of its life. Failed is an end on the way up; Hold keeps a used
// node for people.
const (
	Building State = "building"
	Testing  State = "testing"
	Ready    State = "ready"
	InUse    State = "in-use"
	Used     State = "used"
	Hold     State = "hold"
	Deleting State = "deleting"
	Failed   State = "failed"
)

// Node is one machine, from the wish for it to its deletion.
type Node struct {
	ID       string `json:"id"`
	Label    string `json:"label"`
	Provider string `json:"provider"`
	// External is the provider's own name for it; empty until it is known.
	External string `json:"external,omitempty"`
	State    State  `json:"state"`
	// Since is when State was entered; Made, when the node was first wished for.
	Since time.Time `json:"since"`
	Made  time.Time `json:"made"`
	// Request is the request that it is allocated to; empty: free.
	Request string `json:"request,omitempty"`
	// Tenant and Build use it or, held, used it last.
	Tenant string `json:"tenant,omitempty"`
	Build  string `json:"build,omitempty"`
	// HoldReason and HoldUntil of a held node.
	HoldReason string    `json:"hold_reason,omitempty"`
	HoldUntil  time.Time `json:"hold_until,omitzero"`
	// Attempts to make it so far; Error is what went wrong last.
	Attempts int    `json:"attempts,omitempty"`
	Error    string `json:"error,omitempty"`

	Access
}

// Access is how to reach a node.
type Access struct {
	// Connection is Ansible's: ssh (default), kubectl...
	Connection string `json:"connection,omitempty"`
	Host       string `json:"host,omitempty"`
	Port       int    `json:"port,omitempty"`
	User       string `json:"user,omitempty"`
	// HostKeys in known_hosts form without the host ("ssh-ed25519 AAAA..."); the connection is refused
	// if the node shows another.
	HostKeys []string `json:"host_keys,omitempty"`
	Python   string   `json:"python,omitempty"`
	Shell    string   `json:"shell,omitempty"`
	// Cloud, Region and Zone are what the inventory's nodepool variable tells; Properties go there too.
	Cloud      string            `json:"cloud,omitempty"`
	Region     string            `json:"region,omitempty"`
	Zone       string            `json:"zone,omitempty"`
	HostID     string            `json:"host_id,omitempty"`
	Slot       int               `json:"slot,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	// Features that the node was verified to have (fips).
	Features []string `json:"features,omitempty"`
}

// Request is one wish for the nodes of one job: all of them from one provider.
type Request struct {
	ID      string      `json:"id"`
	Tenant  string      `json:"tenant"`
	Project string      `json:"project"`
	Job     string      `json:"job"`
	Nodeset job.Nodeset `json:"nodeset"`
	// Priority: smaller first; Relative orders within one priority.
	Priority int       `json:"priority"`
	Relative int       `json:"relative"`
	Provider string    `json:"provider,omitempty"`
	Made     time.Time `json:"made"`
	// Declined lists providers that cannot.
	Declined []string `json:"declined,omitempty"`
}
