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
	// Tenant, Project, Job and Build use it or, held, used it last.
	Tenant  string `json:"tenant,omitempty"`
	Project string `json:"project,omitempty"`
	Job     string `json:"job,omitempty"`
	Build   string `json:"build,omitempty"`
	// HoldID is the hold request that keeps it, HoldReason and HoldUntil of a held node.
	HoldID     string    `json:"hold_id,omitempty"`
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
	// HangUp: Ansible works on a terminal, so that what it runs ends when its connection does.
	HangUp bool `json:"hang_up,omitempty"`
	// Cloud, Region and Zone are what the inventory's nodepool variable tells; Properties go there too.
	Cloud      string            `json:"cloud,omitempty"`
	Region     string            `json:"region,omitempty"`
	Zone       string            `json:"zone,omitempty"`
	HostID     string            `json:"host_id,omitempty"`
	Slot       int               `json:"slot,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	// ExecutorZone: builds on it are for the executors of that zone.
	ExecutorZone string `json:"executor_zone,omitempty"`
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
	// Chosen is the provider that is tried; Attempts counts how often it failed, and Error is what went
	// wrong last, there or before.
	Chosen   string `json:"chosen,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
	Error    string `json:"error,omitempty"`
	// Declined lists providers that cannot.
	Declined []string `json:"declined,omitempty"`
}

// Label is a kind of node that a provider offers.
type Label struct {
	Name string `json:"name"`
	// Max bounds the nodes of this label at one time; 0 is no bound. MinReady are kept ready.
	Max      int `json:"max,omitempty"`
	MinReady int `json:"min_ready,omitempty"`
	// MaxReadyAge is how old a ready node of this label that nobody asked for may get; 0 is what the
	// launcher's Limits say. MaxAge bounds the whole life of such a node; 0 is no bound.
	MaxReadyAge time.Duration `json:"max_ready_age,omitempty"`
	MaxAge      time.Duration `json:"max_age,omitempty"`
	// Reused nodes go back to ready after a build instead of being deleted (static hosts).
	Reused bool `json:"reused,omitempty"`
	// Features that nodes of this label have from the first playbook on (fips).
	Features []string `json:"features,omitempty"`
}

// SSHKey is the key pair with which executors reach nodes, as it is kept in the store under KeyRecord.
// The private part is PEM, the public one a line of authorized_keys. It is a secret: only launchers and
// executors read it.
type SSHKey struct {
	Private string `json:"private"`
	Public  string `json:"public"`
}

// KeyRecord is where the SSHKey is kept; Records is the prefix of the records of nodes, HoldRecords that
// of hold requests.
const (
	KeyRecord   = "/key/node-ssh"
	Records     = "/node/"
	HoldRecords = "/hold/"
)
