// Package provider is the seam between Gozer and whatever makes test nodes: hosts that are there
// already (static), namespaces on this machine (sandbox), clouds. A driver makes, describes and deletes;
// the launcher decides.
//
// # Promises
//
//  1. Create is idempotent by Spec.ID: called again, after a crash or a lost answer, it describes the
//     instance that is there or goes on making it; there are never two instances with one ID.
//  2. An instance that Create returned is reachable as Access says, or Describe says why not yet.
//  3. Delete is idempotent; when it returns nil the instance is gone with its processes, mounts,
//     addresses and files.
//  4. List names every instance that this provider has made and not deleted, so that leaked ones are
//     found by comparison.
//  5. ErrQuota means "not now"; ErrImpossible, "never" (unknown label). Anything else: try again.
//
// # Life of an instance
//
// Create, Describe until it answers, use over SSH, Delete.
package provider

import (
	"context"
	"errors"

	"github.com/gozer-ci/gozer/internal/node"
)

// What Create may answer beside success.
var (
	ErrQuota      = errors.New("the provider has no room now")
	ErrImpossible = errors.New("the provider cannot make such a node")
	ErrNotFound   = errors.New("the provider knows no such instance")
)

// Provider makes nodes.
type Provider interface {
	Name() string
	// Labels that it can make, with how many of each at once (0: no bound).
	Labels() []Label
	Create(ctx context.Context, s Spec) (*Instance, error)
	Describe(ctx context.Context, id string) (*Instance, error)
	Delete(ctx context.Context, id string) error
	List(ctx context.Context) ([]Instance, error)
}

// Label is a kind of node that a provider offers.
type Label = node.Label

// Spec is what is to be made.
type Spec struct {
	ID    string
	Label string
	// Keys are public SSH keys (authorized_keys lines) that must be let in.
	Keys []string
}

// Instance is one machine as the provider sees it.
type Instance struct {
	ID    string
	Label string
	// Up: it runs and can be connected to.
	Up bool
	// Why it is not up, for people.
	Why string
	node.Access
}
