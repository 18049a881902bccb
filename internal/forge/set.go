package forge

import (
	"context"
	"fmt"

	"github.com/gozer-ci/gozer/internal/change"
)

// Set is the connections of a process, in the order of the configuration, which is the order in which a
// URL is offered to them.
type Set struct {
	all []Forge
}

// NewSet makes the set; two connections of one name are refused.
func NewSet(all ...Forge) (*Set, error) {
	seen := map[string]bool{}
	for _, f := range all {
		if seen[f.Name()] {
			return nil, fmt.Errorf("two connections have the name %q", f.Name())
		}
		seen[f.Name()] = true
	}
	return &Set{all}, nil
}

// All lists the connections in order.
func (s *Set) All() []Forge { return s.all }

// For finds a connection by name; nil where there is none.
func (s *Set) For(name string) Forge {
	for _, f := range s.all {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// Project makes the project of a connection whole. ok is false where there is no such connection.
func (s *Set) Project(connection, name string) (change.Project, bool) {
	f := s.For(connection)
	if f == nil {
		return change.Project{}, false
	}
	return change.Project{Connection: connection, Host: f.Host(), Name: name}, true
}

// Remote tells from where a project is fetched. ErrNotFound where its connection does not exist.
func (s *Set) Remote(p change.Project) (Remote, error) {
	f := s.For(p.Connection)
	if f == nil {
		return Remote{}, fmt.Errorf("connection %q of project %s: %w", p.Connection, p.Name, ErrNotFound)
	}
	return f.Remote(p), nil
}

// Read reads the change behind a key. ErrNotFound where there is none.
func (s *Set) Read(ctx context.Context, k change.Key) (*change.Change, error) {
	conn, name, number, patchset, ok := k.Parts()
	if !ok {
		return nil, fmt.Errorf("key %q names no change: %w", k, ErrNotFound)
	}
	f := s.For(conn)
	if f == nil {
		return nil, fmt.Errorf("read %s: connection %q: %w", k, conn, ErrNotFound)
	}
	p := change.Project{Connection: conn, Host: f.Host(), Name: name}
	return f.Change(ctx, p, number, patchset)
}

// Resolve finds the change behind a URL at the first connection that knows it; nil where none does.
func (s *Set) Resolve(ctx context.Context, url string) (*change.Change, error) {
	for _, f := range s.all {
		c, ok, err := f.Resolve(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("resolve %s at %s: %w", url, f.Name(), err)
		}
		if ok {
			return c, nil
		}
	}
	return nil, nil
}
